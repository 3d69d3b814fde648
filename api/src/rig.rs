//! A Rig: a project workspace, one repository with many polecats.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image_policy::ImagePolicy;
use crate::pod_overrides::PodOverrides;
use crate::reason::reasons;
use crate::reference::SecretReference;
use crate::rules;
use crate::timing::Timing;

reasons! {
    /// Reasons that only a Rig reports.
    RigReason {
        /// The Rig can be used.
        RigReady => "",
    }
}

/// A project workspace: one repository, many polecats.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gastown.gastown.io",
    version = "v1alpha1",
    kind = "Rig",
    plural = "rigs",
    shortname = "rg",
    category = "gastown",
    status = "RigStatus",
    derive = "PartialEq",
    doc = "A project workspace: one repository, many polecats.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Polecats", type_ = "integer", json_path = ".status.polecatCount"),
    printcolumn(name = "Working", type_ = "integer", json_path = ".status.workingPolecats"),
    printcolumn(name = "Git-URL", type_ = "string", json_path = ".spec.gitURL", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.beadsPrefix == oldSelf.beadsPrefix")
    .message(Message::Expression("'beadsPrefix is immutable: it is \"' + oldSelf.beadsPrefix + '\" and cannot become \"' + self.beadsPrefix + '\"; create another Rig'".into()))
    .field_path(".beadsPrefix"))]
pub struct RigSpec {
    /// The repository: `git@HOST:PATH`, `ssh://[USER@]HOST[:PORT]/PATH` or `https://HOST[:PORT]/PATH`.
    #[serde(rename = "gitURL")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^\S*$"))]
    #[x_kube(validation = rules::repository())]
    pub git_url: String,
    /// The prefix of the project's beads, such as `mp` in `mp-a1b2`. Immutable.
    #[schemars(regex(pattern = r"^[a-z]{2,10}$"), length(max = 10))]
    #[x_kube(validation = Rule::new("!(self in ['hq', 'system', 'default'])")
        .message(Message::Expression("'prefix \"' + self + '\" is reserved (hq, system, default): choose another'".into())))]
    pub beads_prefix: String,
    /// The branch polecats start from, by default `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[a-zA-Z0-9._/][a-zA-Z0-9._/-]*$")
    )]
    #[x_kube(validation = rules::branch())]
    pub git_branch: Option<String>,
    /// Whether agents may fetch other branches and tags of the repository by name, read-only; by default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_other_branches: Option<bool>,
    /// The git secret for polecats that name none, looked up in the polecat's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_secret_ref: Option<SecretReference>,
    /// The model credentials for polecats that name none, looked up in the polecat's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claude_creds_secret_ref: Option<SecretReference>,
    /// Defaults for polecats of this rig; a polecat's own field wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polecat_defaults: Option<PolecatDefaults>,
    /// Requirements for images of agents, in addition to the chart's `imagePolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_policy: Option<ImagePolicy>,
    /// The rig's share of the slots of the chart's `maxPolecats`, relative to the weights of other rigs; 1 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<i32>,
    /// Which work of the rig is suspended. None: nothing. Dispatch: no polecat starts; working ones continue. All: no
    /// polecat works; working ones are saved and stopped, and start again once the rig is resumed.
    #[serde(default, skip_serializing_if = "Suspend::is_none")]
    pub suspend: Suspend,
    /// The name pool and the concurrency limit of the rig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<RigSettings>,
}

/// Which work of a rig is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Suspend {
    /// Nothing.
    #[default]
    None,
    /// No polecat starts; working ones continue.
    Dispatch,
    /// No polecat works: working ones are saved and stopped, and start again once the rig is resumed.
    All,
}

impl Suspend {
    /// Whether nothing is suspended.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Defaults for polecats of a rig; a polecat's own field wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolecatDefaults {
    /// How many times a failed attempt is retried automatically, if a retry can help; by default the chart's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub backoff_limit: Option<i32>,
    /// Time limits, and how often work is saved. An unset field takes the chart's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
    /// Resources, placement and deadline of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<PodDefaults>,
}

/// Defaults for the pods of a rig's polecats; a polecat's own field wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodDefaults {
    /// `false` gives each pod its own user namespace, as OpenShift's restricted-v3 requires; by default the chart's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_users: Option<bool>,
    /// Fields that a polecat may set too.
    #[serde(flatten)]
    pub pod: PodOverrides,
}

/// The name pool and the concurrency limit of the rig.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RigSettings {
    /// The pool from which `kubectl gt sling` takes names for polecats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namepool_theme: Option<NamepoolTheme>,
    /// How many polecats may work at once; no limit if unset. Others wait in the phase Idle, with the condition Queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_polecats: Option<i32>,
}

/// The pool from which `kubectl gt sling` takes names for polecats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NamepoolTheme {
    /// Furiosa, Nux, and others.
    MadMax,
    /// Obsidian, Quartz, and others.
    Minerals,
    /// Rust, Chrome, and others.
    Wasteland,
}

/// The observed state of a rig.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RigStatus {
    /// Summary of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RigPhase>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Polecats of the rig that are not Terminated.
    #[serde(default)]
    pub polecat_count: i32,
    /// Polecats of the rig that are Working.
    #[serde(default)]
    pub working_polecats: i32,
    /// The counts per operator; `polecatCount` and `workingPolecats` are their sums.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub operators: Vec<RigOperator>,
    /// The latest observations of the rig's state.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The polecats of a rig that one operator runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RigOperator {
    /// The operator, named by its leader election Lease: NAMESPACE/LEASE.
    pub name: String,
    /// The namespaces whose polecats the operator runs; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Polecats that are not Terminated.
    #[serde(default)]
    pub polecat_count: i32,
    /// Polecats that are Working.
    #[serde(default)]
    pub working_polecats: i32,
}

/// Summary of a rig's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RigPhase {
    /// The operator has not reconciled it yet.
    Initializing,
    /// It can be used.
    Ready,
    /// The condition Ready says what is wrong.
    Degraded,
}
