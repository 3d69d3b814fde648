//! The control API of a pod: requests that the other containers send to the broker on loopback, on the port of its git host.
//!
//! Every request is `POST` with itself as JSON to its path, and is answered by its answer as JSON, or by [`Refused`] and a
//! status that is no success. Nothing said here grants anything: the agent shares the network and may say the same, and what it
//! can bring about so is at most an earlier end, or a later one up to the deadline.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The most bytes of a request.
pub const MAX_REQUEST: usize = 1024;

/// A request to the broker.
pub trait Request: Serialize + DeserializeOwned {
    /// Where it is sent, with the version of the API.
    const PATH: &'static str;
    /// What it is answered.
    type Answer: Serialize + DeserializeOwned;
}

/// The answer to a request that tells, and asks nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// In a sentence.
    pub message: String,
}

/// Asks what the agent does with its model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelActivity {}

impl Request for ModelActivity {
    const PATH: &'static str = "/v1/model-activity";
    type Answer = ModelCalls;
}

/// Calls of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelCalls {
    /// How many were answered: each is a turn.
    pub turns: u64,
    /// How many are under way, held ones included.
    pub under_way: u64,
}

/// Tells that the agent wrote something, or that the clone goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alive {
    /// The bytes that the container has logged so far.
    pub logged_bytes: u64,
}

impl Request for Alive {
    const PATH: &'static str = "/v1/alive";
    type Answer = Heard;
}

/// Asks for the pod's ephemeral storage that the keeper cannot see: the broker's own and the agent's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnseenStorage {}

impl Request for UnseenStorage {
    const PATH: &'static str = "/v1/unseen-storage";
    type Answer = UsedStorage;
}

/// A part of the pod's ephemeral storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsedStorage {
    /// Bytes in use.
    pub bytes: u64,
}

/// Tells that a volume is about to exceed its limit: the broker ends the attempt before the kubelet evicts the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskFull {
    /// Which.
    pub volume: Volume,
    /// Bytes that it holds.
    pub used: u64,
}

impl Request for DiskFull {
    const PATH: &'static str = "/v1/disk-full";
    type Answer = Heard;
}

/// A volume of the pod that the agent can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Volume {
    /// The clone.
    Workspace,
    /// The agent's home.
    Home,
    /// The scratch space.
    Tmp,
    /// The keeper's repository.
    Keeper,
    /// The broker's repository.
    Broker,
    /// All of them and the logs, which together count against the pod's limit of ephemeral storage.
    Pod,
}

/// Tells what became of a checkpoint. Refused with 409 where the opposite was said a moment ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Why it could not be saved; none: it was.
    pub failure: Option<String>,
}

impl Request for Checkpoint {
    const PATH: &'static str = "/v1/checkpoint";
    type Answer = Heard;
}

/// Asks where the upstream keeps its beads, as far as its refs show that: a clone has only branches and tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeadStore {}

impl Request for BeadStore {
    const PATH: &'static str = "/v1/bead-store";
    type Answer = BeadStores;
}

/// The stores of beads that the upstream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeadStores {
    /// Whether it has the ref under which Dolt keeps a database.
    pub dolt: bool,
}

/// Asks the broker to read the remote again; it then serves what that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RereadRemote {}

impl Request for RereadRemote {
    const PATH: &'static str = "/v1/reread-remote";
    type Answer = Heard;
}
