//! Pod settings of polecats and rigs.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::person::Person;
use crate::placement::Placement;
use crate::pod_metadata::Table;
use crate::reference::SecretReference;
use crate::resources::ResourceRequirements;
use crate::rules;

/// Pod settings of polecats and rigs. A polecat's value wins over the Rig's, and the Rig's over the chart's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodOverrides {
    /// Requests and limits of the agent's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Seconds an attempt may take, excluding the time it was parked; by default the chart's value (3600).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: Option<i64>,
    /// Pull secrets in the polecat's namespace; those of polecat, Rig and chart are combined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Option<Vec<SecretReference>>,
    /// Author of commits, by default `NAME <NAME@RIG.gastown.invalid>`: NAME is the polecat's, RIG its Rig's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_author: Option<Person>,
    /// Committer of commits; same default as `gitAuthor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_committer: Option<Person>,
    /// Additional labels of the pod. Those of chart, Rig and polecat are merged: per key, the polecat wins, then the Rig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = rules::no_key_of_ours())]
    pub pod_labels: Option<Table>,
    /// Additional annotations of the pod, merged like `podLabels`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = rules::no_key_of_ours())]
    pub pod_annotations: Option<Table>,
    /// Where the pod may run.
    #[serde(flatten)]
    pub placement: Placement,
}
