//! Time limits, and how often work is saved.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Time limits, and how often work is saved. An unset field takes the Rig's value, else the chart's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// Seconds after which changes are saved to the remote. If the node dies, at most this much work is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub checkpoint_seconds: Option<i32>,
    /// Model turns after which changes are saved, if that is sooner than `checkpointSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub checkpoint_turns: Option<i32>,
    /// Seconds with neither a model call nor output after which the agent counts as hung.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub silence_seconds: Option<i32>,
    /// Seconds an attempt may be parked in total, that is, wait until a model endpoint, git host or secret can be used. Its
    /// pod may also wait this long for a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub parking_seconds: Option<i32>,
}
