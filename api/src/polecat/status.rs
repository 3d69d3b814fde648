//! What the operator found of a polecat.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::{Amount, Share};
use crate::usage::Usage;

/// What the operator found of a polecat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolecatStatus {
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<PolecatPhase>,
    /// The generation this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The bead it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_bead: Option<String>,
    /// The branch it pushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit on the remote branch, as the broker last re-read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The commit the first attempt found; Done means that `head` is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The last snapshot on the remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wip: Option<WipRefStatus>,
    /// The pod of the current or last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// Whether that pod's agent is running.
    #[serde(default)]
    pub pod_active: bool,
    /// When something last became of it. That its Rig came or went, or its spec was written anew, is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity: Option<Time>,
    /// The effective agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The effective image of the agent's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_image: Option<String>,
    /// The model that answered, or the one that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_model: Option<String>,
    /// The effective repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The effective base branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    /// Tokens of all attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Cost of all attempts, such as `$0.1234`; none where a model has no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// The same in millionths of a US dollar; the next attempt's budget is what is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<i64>,
    /// The part of the budget that was set aside for attempts that ended without accounting for it; it counts as spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unaccounted: Option<Amount>,
    /// The value of the annotation `gastown.io/retry-requested-at` that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_handled: Option<String>,
    /// The attempts, at most the last ten, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"]))]
    pub attempts: Vec<Attempt>,
    /// The conditions.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Where a polecat stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PolecatPhase {
    /// No pod, nothing to do or nothing wanted.
    Idle,
    /// A pod is at work, parked, starting or stopping.
    Working,
    /// The work is on the remote branch. Terminal: it is not run again.
    Done,
    /// An attempt failed, or none can start; the condition Ready says why.
    Stuck,
    /// Ended for good.
    Terminated,
}

/// One pod's try at the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number, from 1.
    pub number: i32,
    /// How many attempts in a row were repeated by themselves up to this one; none: it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i32>,
    /// The UID of its pod, once it exists.
    #[serde(default, rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// When it was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When its outcome was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How it ended; none while it is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
    /// Why it ended, one of the closed list; without an outcome, why the operator is stopping its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The part of the budget that is set aside for it. It spends no more, and an end without the broker's last word is
    /// charged all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Share>,
    /// The commit that it had pushed when its agent had ended well, where the remote could not be read again after that.
    /// A repeat asks the remote first, and starts no agent where the work branch is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<String>,
    /// Its tokens; while it is at work, as of when the last part of the budget was set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Its cost in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<i64>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AttemptOutcome {
    /// Its commits are on the remote branch.
    Delivered,
    /// They are not.
    Failed,
    /// It was stopped on request: Idle, Terminated or deleted.
    Stopped,
}

/// A snapshot of the work tree on the remote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WipRefStatus {
    /// The full name of the ref: `git fetch REPOSITORY NAME` brings it.
    #[serde(rename = "ref")]
    pub name: String,
    /// The commit it points at.
    pub sha: String,
    /// When it reached the remote.
    pub at: Time,
}
