//! The observed state of a polecat.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::{Amount, Share};
use crate::usage::Usage;

/// The observed state of a polecat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolecatStatus {
    /// Summary of the polecat's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<PolecatPhase>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The bead it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_bead: Option<String>,
    /// The branch it pushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The tip of the work branch on the remote, as the broker last read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The tip that the first attempt found: of the work branch if it existed, else of the base branch. The polecat is Done
    /// only if `head` differs from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The last snapshot of the work tree on the remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wip: Option<WipRefStatus>,
    /// The pod of the current or last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// Whether that pod's agent is running.
    #[serde(default)]
    pub pod_active: bool,
    /// When the state of the polecat itself last changed. Changes of its Rig or its spec alone do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity: Option<Time>,
    /// The effective agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The effective image of the agent's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_image: Option<String>,
    /// The model that answered; until one has, the requested model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_model: Option<String>,
    /// The effective repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The effective base branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    /// Token usage of all attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Cost of all attempts, such as `$0.1234`; unset if a model has no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// Cost of all attempts in millionths of a US dollar. It is deducted from the budget of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<i64>,
    /// Total budget granted to attempts that ended without the broker's final report; all of it counts as spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unaccounted: Option<Amount>,
    /// The last value of the annotation `gastown.io/retry-requested-at` that the operator acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_handled: Option<String>,
    /// The last attempts, at most ten, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"]))]
    pub attempts: Vec<Attempt>,
    /// The latest observations of the polecat's state.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Summary of a polecat's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PolecatPhase {
    /// No pod: there is no task, or `desiredState` is Idle.
    Idle,
    /// A pod is starting, at work, parked or stopping.
    Working,
    /// The work is on the remote branch. Terminal: it is not run again.
    Done,
    /// An attempt failed, or none can start; the condition Ready says why.
    Stuck,
    /// Ended for good.
    Terminated,
}

/// One run of the task, in one pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The attempt's number, counted from 1.
    pub number: i32,
    /// Number of consecutive automatic retries, including this attempt; unset if a user requested the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i32>,
    /// The UID of its pod, once it exists.
    #[serde(default, rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// When the operator recorded its start, before creating its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the operator recorded its outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How it ended; unset while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
    /// Why it ended; while `outcome` is unset, why the operator stops its pod. `kubectl gt explain` lists the reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Details of the reason, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The budget granted to it so far. If it ends without the broker's final report, all of this counts as spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Share>,
    /// The commit that it had pushed when its agent succeeded, if the remote could not be re-read afterwards. An automatic
    /// retry reads the remote first, and starts no agent if the work branch is still at this commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<String>,
    /// Its token usage; while it runs, as of the last grant of budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Its cost in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<i64>,
}

/// How the attempt ended; unset while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AttemptOutcome {
    /// Its commits are on the remote branch.
    Delivered,
    /// Its commits are not on the remote branch.
    Failed,
    /// It was stopped on request: Idle, Terminated or deleted.
    Stopped,
}

/// A snapshot of the work tree on the remote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WipRefStatus {
    /// The full name of the ref; `git fetch REPOSITORY NAME` fetches it.
    #[serde(rename = "ref")]
    pub name: String,
    /// The commit that the ref points at.
    pub sha: String,
    /// When the snapshot reached the remote.
    pub at: Time,
}
