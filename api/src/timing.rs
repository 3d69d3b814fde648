//! How long things may take, and how often work is saved.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How long things may take, and how often work is saved. Each field by default as in the Rig, else as in the chart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// Seconds after which what changed is saved to the remote: the most that a node that dies can take with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub checkpoint_seconds: Option<i32>,
    /// Model turns after which it is saved earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub checkpoint_turns: Option<i32>,
    /// Seconds without a model call or output after which the agent counts as hung.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub silence_seconds: Option<i32>,
    /// Seconds an attempt may be parked in all, and wait for a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub parking_seconds: Option<i32>,
}
