//! What polecats and rigs may say of a pod.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::placement::Placement;
use crate::reference::SecretReference;
use crate::resources::ResourceRequirements;

/// What polecats and rigs may say of a pod: the polecat's word goes before the Rig's, and the Rig's before the chart's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodOverrides {
    /// Requests and limits of the agent's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Seconds an attempt may take, not counting what it was parked; by default 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: Option<i64>,
    /// Pull secrets in the polecat's namespace; those of polecat, Rig and chart add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Option<Vec<SecretReference>>,
    /// Where the pod may run.
    #[serde(flatten)]
    pub placement: Placement,
}
