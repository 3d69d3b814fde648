//! The desired state of a polecat.

use k8s_openapi::api::core::v1::EnvVar;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::status::PolecatStatus;
use crate::pod_overrides::PodOverrides;
use crate::reference::{ConfigMapReference, SecretKeyRef, SecretReference};
use crate::resources::ResourceRequirements;
use crate::rules;
use crate::timing::Timing;

/// An autonomous worker: one issue, one branch, one pod at a time.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gastown.gastown.io",
    version = "v1alpha1",
    kind = "Polecat",
    plural = "polecats",
    namespaced,
    shortname = "pcat",
    category = "gastown",
    status = "PolecatStatus",
    derive = "PartialEq",
    doc = "An autonomous worker: one issue, one branch, one pod at a time.",
    selectable = ".spec.rig",
    printcolumn(name = "Rig", type_ = "string", json_path = ".spec.rig"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Bead", type_ = "string", json_path = ".spec.beadID"),
    printcolumn(name = "Branch", type_ = "string", json_path = ".status.branch"),
    printcolumn(name = "Cost", type_ = "string", json_path = ".status.cost"),
    printcolumn(name = "Pod", type_ = "string", json_path = ".status.podName", priority = 1),
    printcolumn(name = "Model", type_ = "string", json_path = ".status.agentModel", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 55")
        .message(Message::Expression("'metadata.name \"' + self.metadata.name + '\" is longer than 55 characters: the pod is named polecat-NAME; choose a shorter name'".into())),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.rig == oldSelf.rig")
    .message(Message::Expression("'rig is immutable: it is \"' + oldSelf.rig + '\" and cannot become \"' + self.rig + '\"; create another Polecat'".into())).field_path(".rig"))]
#[x_kube(validation = Rule::new("self.executionMode == oldSelf.executionMode").message("executionMode is immutable: create another Polecat").field_path(".executionMode"))]
#[x_kube(validation = rules::immutable_in_kubernetes("gitRepository"))]
#[x_kube(validation = rules::immutable_in_kubernetes("workBranch"))]
#[x_kube(validation = rules::one_task())]
pub struct PolecatSpec {
    /// The name of its Rig, which need not exist if the polecat sets repository and credentials itself. Immutable.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub rig: String,
    /// The state that the user wants. Idle: no pod. Working: a pod works on the task. Terminated: ended for good. A running
    /// agent is stopped in Idle and Terminated, and its changes are saved.
    #[serde(default)]
    pub desired_state: DesiredState,
    /// The bead (issue) to work on.
    #[serde(default, rename = "beadID", skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 100),
        regex(pattern = r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$")
    )]
    #[x_kube(validation = Rule::new("!self.contains('..') && !self.endsWith('.lock')")
        .message(Message::Expression("'bead \"' + self + '\" contains \"..\" or ends with \".lock\", which no branch may: rename the bead'".into())))]
    pub bead_id: Option<String>,
    /// The task, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The predecessor's name for `task.description`; setting both is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub task_description: Option<String>,
    /// Where the polecat runs. Immutable.
    #[serde(default)]
    pub execution_mode: ExecutionMode,
    /// The agent to run.
    #[serde(default)]
    pub agent: AgentKind,
    /// Configuration of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_config: Option<AgentConfig>,
    /// Repository, credentials and pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesSpec>,
    /// Spending limit for all attempts together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Requests and limits of the agent's container, if `kubernetes.resources` is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Priority while the rig or the operator is at its limit: the highest starts first, and the oldest among equals. Each
    /// minute of waiting adds one point. 500 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: Option<i32>,
    /// How many times a failed attempt is retried automatically, if a retry can help. By default the Rig's value, else the
    /// chart's (2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub backoff_limit: Option<i32>,
    /// Time limits, and how often work is saved. An unset field takes the Rig's value, else the chart's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
    /// Seconds after which the Polecat is deleted once it is Done, Terminated, or Stuck with no automatic retry pending. If
    /// unset, it is never deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Seconds the polecat may be Idle before it is Terminated; no limit if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_idle_seconds: Option<i32>,
}

/// The priority of a polecat that sets none.
pub const DEFAULT_PRIORITY: i64 = 500;

/// The state that the user wants of a polecat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DesiredState {
    /// No pod. A running agent is stopped, and its changes are saved.
    #[default]
    Idle,
    /// Work on the task.
    Working,
    /// End for good. A running agent is stopped, and its changes are saved.
    Terminated,
}

/// Where a polecat runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExecutionMode {
    /// In a pod.
    #[default]
    Kubernetes,
}

/// The agent to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AgentKind {
    /// Anthropic's Claude Code. It speaks the Messages API.
    #[default]
    ClaudeCode,
    /// `OpenAI`'s Codex. It speaks the Responses API.
    Codex,
}

/// The task, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// What the agent is asked to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub description: Option<String>,
}

/// Configuration of the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentConfig {
    /// The provider of the model; inferred from credentials and endpoint if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// The model for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^([A-Za-z0-9][A-Za-z0-9._:/@\[\]-]*)?$"))]
    pub model: Option<String>,
    /// An endpoint other than the provider's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_provider: Option<ModelProvider>,
    /// The image of the agent's container, if `kubernetes.image` is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,
    /// A command to run instead of the agent. It reads the prompt from standard input, and the provider's base URLs from
    /// its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub command: Option<Vec<String>>,
    /// Arguments of `command`; without `command`, extra arguments of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub args: Option<Vec<String>>,
    /// The predecessor's ConfigMap with the agent's configuration. It has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapReference>,
    /// Environment variables of the agent. References to Secrets are refused, because the agent could leak them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "environment")]
    pub env: Option<Vec<EnvVar>>,
}

/// The schema of `env`: the one of Kubernetes' `EnvVar`, with bounds, because the API server refuses a rule over an
/// unbounded list.
fn environment(generator: &mut SchemaGenerator) -> Schema {
    let mut variable = EnvVar::json_schema(generator);
    if let Some(name) = variable
        .pointer_mut("/properties/name")
        .and_then(Value::as_object_mut)
    {
        name.insert("maxLength".to_owned(), 256.into());
    }
    variable.insert(
        "x-kubernetes-validations".to_owned(),
        json!([rules::no_secret_in_environment()]),
    );
    json_schema!({"type": "array", "nullable": true, "maxItems": 64, "items": variable})
}

/// The provider of the model; inferred from credentials and endpoint if unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// A `LiteLLM` proxy. It serves the Messages and the Responses API.
    Litellm,
    /// Anthropic, or another endpoint that serves the Messages API.
    Anthropic,
    /// `OpenAI`, or another endpoint that serves the Responses API.
    Openai,
    /// Ollama. It serves the Messages and the Responses API.
    Ollama,
}

impl Provider {
    /// The keys of a credentials secret that may hold the provider's credential, in Claude Code's own order of
    /// precedence. Only Anthropic accepts a subscription's tokens.
    #[must_use]
    pub fn credential_keys(self) -> &'static [&'static str] {
        match self {
            Self::Litellm => &["LITELLM_API_KEY"],
            Self::Anthropic => &[
                "ANTHROPIC_API_KEY",
                "CLAUDE_CODE_OAUTH_TOKEN",
                ".credentials.json",
                "credentials.json",
            ],
            Self::Openai => &["OPENAI_API_KEY"],
            Self::Ollama => &["OLLAMA_API_KEY"],
        }
    }
}

/// An endpoint that serves models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelProvider {
    /// The base URL of the model API. The chart's `modelEndpoints` must list it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1024),
        regex(pattern = r"^(https?://[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?)?$")
    )]
    pub endpoint: Option<String>,
    /// The API key, if `kubernetes.apiKeySecretRef` is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
}

/// Repository, credentials and pod of a polecat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesSpec {
    /// The repository, by default the Rig's. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^\S*$"))]
    #[x_kube(validation = rules::repository())]
    pub git_repository: Option<String>,
    /// The branch to start from, by default the Rig's, else `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[a-zA-Z0-9._/][a-zA-Z0-9._/-]*$")
    )]
    #[x_kube(validation = rules::branch())]
    pub git_branch: Option<String>,
    /// The branch to push, by default `polecat/NAME/ISSUE@TIME`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[a-zA-Z0-9._/][a-zA-Z0-9._/@-]*$")
    )]
    #[x_kube(validation = rules::branch())]
    pub work_branch: Option<String>,
    /// The git secret, by default the Rig's. Only the broker container mounts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_secret_ref: Option<SecretReference>,
    /// The model credentials, by default the Rig's. Only the broker container mounts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claude_creds_secret_ref: Option<SecretReference>,
    /// The model API key, in one key of a Secret. Only the broker container mounts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// The image of the agent's container: polecat-agent, or an image built from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^\S*$"))]
    pub image: Option<String>,
    /// A ConfigMap whose key `known_hosts` is used if the git secret has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_known_hosts_config_map_ref: Option<ConfigMapReference>,
    /// Only `yes` is accepted, because host keys are always checked; kept for the predecessor's manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_strict_host_key_checking: Option<StrictHostKeyChecking>,
    /// Fields that a Rig may set too.
    #[serde(flatten)]
    pub pod: PodOverrides,
}

/// Only `yes` is accepted, because host keys are always checked; kept for the predecessor's manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StrictHostKeyChecking {
    /// Host keys are checked.
    Yes,
}

/// Spending limit for all attempts of a polecat together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Tokens of all kinds: input, output and prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens: Option<i64>,
    /// US dollars, at the chart's `prices`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    #[x_kube(validation = Rule::new("self > 0.0").message("must be more than 0"))]
    pub usd: Option<f64>,
}
