//! What a polecat wants, made whole from its own spec, its Rig and the configuration, and parsed.

use gastown_api::git::BranchName;
use gastown_api::labels;
use gastown_api::polecat::{AgentConfig, KubernetesSpec, Polecat, Provider};
use gastown_api::reason::Reason;
use gastown_api::repository::RepositoryUrl;
use gastown_api::resources::ResourceRequirements;
use gastown_api::rig::Rig;
use gastown_api::work_order::price_of;
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::config::Config;

/// The file of the model secret with the key, where no key is named.
const DEFAULT_MODEL_KEY: &str = "ANTHROPIC_API_KEY";
/// The branch polecats start from where neither polecat nor Rig names one.
const DEFAULT_BASE_BRANCH: &str = "main";

/// What the administrator decided: flags and configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The image of every container but `claude`, and of `claude` where the polecat names none.
    pub agent_image: String,
    /// The configuration.
    pub config: Config,
}

/// Everything an attempt needs. Nothing in it has to be checked again.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// The upstream repository.
    pub repository: RepositoryUrl,
    /// Where the work starts.
    pub base_branch: BranchName,
    /// Where it goes.
    pub work_branch: BranchName,
    /// The git secret's name.
    pub git_secret: String,
    /// The ConfigMap with `known_hosts`, if one is named.
    pub known_hosts_config_map: Option<String>,
    /// Hosts that may be sent the git token.
    pub trusted_hosts: Vec<String>,
    /// The task in the manifest.
    pub task: Option<String>,
    /// The bead.
    pub bead: Option<String>,
    /// The base URL of the model's API.
    pub endpoint: String,
    /// The model asked for.
    pub model: Option<String>,
    /// The secret with the model's key.
    pub model_secret: String,
    /// The key's name in it.
    pub model_key: String,
    /// The image of `claude`.
    pub image: String,
    /// Requests and limits of `claude`.
    pub resources: ResourceRequirements,
    /// Unparked seconds.
    pub deadline_seconds: u64,
    /// Tokens left of the budget.
    pub tokens_left: Option<u64>,
    /// Millionths of a US dollar left of the budget.
    pub micros_left: Option<u64>,
}

/// Why no attempt can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of the closed list.
    pub reason: Reason,
    /// Which field or value, in words.
    pub message: String,
}

impl Refusal {
    /// A refusal with its words.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// The task in the manifest, if there is one.
#[must_use]
pub fn task_of(polecat: &Polecat) -> Option<&str> {
    let task = polecat.spec.task.as_ref().and_then(|t| t.description.as_deref());
    let task = task.or(polecat.spec.task_description.as_deref());
    task.filter(|t| !t.trim().is_empty())
}

/// The bead, if there is one.
#[must_use]
pub fn bead_of(polecat: &Polecat) -> Option<&str> {
    text(polecat.spec.bead_id.as_ref())
}

/// What the polecat wants, or why that cannot be tried.
pub fn validate(polecat: &Polecat, rig: Option<&Rig>, settings: &Settings) -> Result<Work, Refusal> {
    let none = KubernetesSpec::default();
    let kubernetes = polecat.spec.kubernetes.as_ref().unwrap_or(&none);
    let no_config = AgentConfig::default();
    let agent = polecat.spec.agent_config.as_ref().unwrap_or(&no_config);
    let config = &settings.config;

    let repository = repository(polecat, kubernetes, rig)?;
    let (model_secret, model_key) = model_secret(kubernetes, agent, rig)?;
    let model = model(agent, config)?;
    let (tokens_left, micros_left) = budget_left(polecat, model.as_deref(), config)?;
    let deadline = kubernetes
        .active_deadline_seconds
        .and_then(|s| u64::try_from(s).ok());
    Ok(Work {
        base_branch: base_branch(kubernetes, rig)?,
        work_branch: work_branch(polecat, kubernetes)?,
        git_secret: git_secret(kubernetes, rig)?,
        known_hosts_config_map: known_hosts_config_map(kubernetes),
        trusted_hosts: trusted_hosts(rig, config),
        task: task_of(polecat).map(str::to_owned),
        bead: bead_of(polecat).map(str::to_owned),
        endpoint: endpoint(agent, config)?,
        image: text(kubernetes.image.as_ref())
            .unwrap_or(&settings.agent_image)
            .to_owned(),
        resources: resources(polecat, kubernetes, config),
        deadline_seconds: deadline.unwrap_or(u64::from(config.deadline_seconds)),
        repository,
        model,
        model_secret,
        model_key,
        tokens_left,
        micros_left,
    })
}

fn text(value: Option<&String>) -> Option<&str> {
    value.map(|v| v.trim()).filter(|v| !v.is_empty())
}

fn incomplete(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::SpecIncomplete, message)
}

fn repository(
    polecat: &Polecat,
    kubernetes: &KubernetesSpec,
    rig: Option<&Rig>,
) -> Result<RepositoryUrl, Refusal> {
    let own = text(kubernetes.git_repository.as_ref());
    let url = own.or_else(|| text(rig.map(|r| &r.spec.git_url)));
    let url = url.ok_or_else(|| {
        incomplete(format!(
            "spec.kubernetes.gitRepository is not set and there is no Rig {:?}: set it, or create the Rig",
            polecat.spec.rig
        ))
    })?;
    url.parse().map_err(|error| incomplete(format!("{error}")))
}

fn branch(field: &str, name: &str) -> Result<BranchName, Refusal> {
    name.parse()
        .map_err(|error| incomplete(format!("{field}: {error}")))
}

fn base_branch(kubernetes: &KubernetesSpec, rig: Option<&Rig>) -> Result<BranchName, Refusal> {
    let own = text(kubernetes.git_branch.as_ref());
    let name = own.or_else(|| text(rig.and_then(|r| r.spec.git_branch.as_ref())));
    branch("spec.kubernetes.gitBranch", name.unwrap_or(DEFAULT_BASE_BRANCH))
}

/// By default `polecat/NAME/ISSUE@TIME` or, without an issue, `polecat/NAME-TIME`: the forms that `gt` reads. The time
/// is the polecat's creation in milliseconds, in base 36, so that it is the same at every look.
fn work_branch(polecat: &Polecat, kubernetes: &KubernetesSpec) -> Result<BranchName, Refusal> {
    if let Some(name) = text(kubernetes.work_branch.as_ref()) {
        return branch("spec.kubernetes.workBranch", name);
    }
    let created = polecat
        .creation_timestamp()
        .map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    let time = base36(u64::try_from(created.as_millisecond()).unwrap_or(0));
    let name = polecat.name_any();
    let default = bead_of(polecat).map_or_else(
        || format!("polecat/{name}-{time}"),
        |bead| format!("polecat/{name}/{bead}@{time}"),
    );
    branch("spec.beadID", &default)
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % 36).unwrap_or(0);
        digits.extend(char::from_digit(digit, 36));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

fn git_secret(kubernetes: &KubernetesSpec, rig: Option<&Rig>) -> Result<String, Refusal> {
    let of_rig = rig.and_then(|r| r.spec.git_secret_ref.as_ref());
    let secret = kubernetes.git_secret_ref.as_ref().or(of_rig);
    secret.map(|s| s.name.clone()).ok_or_else(|| {
        incomplete(
            "spec.kubernetes.gitSecretRef is set neither here nor in the Rig (spec.gitSecretRef): set one",
        )
    })
}

fn known_hosts_config_map(kubernetes: &KubernetesSpec) -> Option<String> {
    let reference = kubernetes.ssh_known_hosts_config_map_ref.as_ref()?;
    text(Some(&reference.name)).map(str::to_owned)
}

/// The Rig's own host, with its port where one is written, and the administrator's.
fn trusted_hosts(rig: Option<&Rig>, config: &Config) -> Vec<String> {
    let own: Option<RepositoryUrl> = rig.and_then(|r| r.spec.git_url.parse().ok());
    let own = own.map(|url| match url.port() {
        None => url.host().to_owned(),
        Some(port) => format!("{}:{port}", url.host()),
    });
    own.into_iter().chain(config.git_hosts.iter().cloned()).collect()
}

/// The key that stands alone wins over the one in the credentials secret; the polecat's own over the Rig's.
fn model_secret(
    kubernetes: &KubernetesSpec,
    agent: &AgentConfig,
    rig: Option<&Rig>,
) -> Result<(String, String), Refusal> {
    let of_provider = agent
        .model_provider
        .as_ref()
        .and_then(|p| p.api_key_secret_ref.as_ref());
    if let Some(key) = kubernetes.api_key_secret_ref.as_ref().or(of_provider) {
        return Ok((key.name.clone(), key.key.clone()));
    }
    let of_rig = rig.and_then(|r| r.spec.claude_creds_secret_ref.as_ref());
    let credentials = kubernetes.claude_creds_secret_ref.as_ref().or(of_rig);
    credentials.map(|s| (s.name.clone(), DEFAULT_MODEL_KEY.to_owned())).ok_or_else(|| {
        incomplete(
            "neither spec.kubernetes.claudeCredsSecretRef nor spec.kubernetes.apiKeySecretRef is set, and the Rig has no \
             spec.claudeCredsSecretRef: set one",
        )
    })
}

fn model(agent: &AgentConfig, config: &Config) -> Result<Option<String>, Refusal> {
    let Some(model) = text(agent.model.as_ref()) else {
        return Ok(None);
    };
    let fits = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => model.starts_with(prefix),
        None => pattern == model,
    };
    if config.allowed_models.iter().any(fits) {
        Ok(Some(model.to_owned()))
    } else {
        Err(Refusal::new(
            Reason::ModelNotAllowed,
            format!(
                "spec.agentConfig.model {model:?} is not among allowedModels {:?}",
                config.allowed_models
            ),
        ))
    }
}

/// Claude Code speaks the Messages API and nothing is translated, so the provider must serve that.
fn endpoint(agent: &AgentConfig, config: &Config) -> Result<String, Refusal> {
    let given = agent
        .model_provider
        .as_ref()
        .and_then(|p| text(p.endpoint.as_ref()));
    match (agent.provider, given) {
        (Some(Provider::Openai), _) => {
            return Err(Refusal::new(
                Reason::ProviderUnsupportedByAgent,
                "spec.agentConfig.provider \"openai\" does not serve the Messages API that claude-code speaks",
            ));
        }
        (Some(Provider::Litellm | Provider::Ollama), None) => {
            return Err(incomplete(
                "spec.agentConfig.modelProvider.endpoint is not set: providers litellm and ollama have no endpoint of their own",
            ));
        }
        (None | Some(_), _) => {}
    }
    let Some(given) = given else {
        return config.model_endpoints.first().cloned().ok_or_else(|| {
            Refusal::new(
                Reason::EndpointNotAllowed,
                "the operator's modelEndpoints is empty",
            )
        });
    };
    let given = given.trim_end_matches('/');
    if config.model_endpoints.iter().any(|allowed| allowed == given) {
        Ok(given.to_owned())
    } else {
        Err(Refusal::new(
            Reason::EndpointNotAllowed,
            format!(
                "endpoint {given:?} is not among modelEndpoints {:?}",
                config.model_endpoints
            ),
        ))
    }
}

fn resources(polecat: &Polecat, kubernetes: &KubernetesSpec, config: &Config) -> ResourceRequirements {
    let own = kubernetes.resources.as_ref().or(polecat.spec.resources.as_ref());
    own.unwrap_or(&config.resources.agent).clone()
}

/// Tokens and millionths of a US dollar that are left, over all attempts.
fn budget_left(
    polecat: &Polecat,
    model: Option<&str>,
    config: &Config,
) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let budget = polecat.spec.budget.unwrap_or_default();
    let status = polecat.status.as_ref();
    let used = status.and_then(|s| s.usage).unwrap_or_default().tokens();
    let tokens = budget.tokens.and_then(|t| u64::try_from(t).ok());
    let tokens_left = tokens.map(|t| t.saturating_sub(used));
    let micros_left = match budget.usd {
        None => None,
        Some(usd) => {
            let priced = model.is_some_and(|m| price_of(&config.prices, m).is_some());
            if !priced {
                return Err(Refusal::new(
                    Reason::PriceMissing,
                    format!(
                        "spec.budget.usd needs spec.agentConfig.model to be a model with a price; it is {model:?}"
                    ),
                ));
            }
            let spent = status
                .and_then(|s| s.cost_micros)
                .and_then(|c| u64::try_from(c).ok());
            Some(micros(usd).saturating_sub(spent.unwrap_or(0)))
        }
    };
    if tokens_left == Some(0) || micros_left == Some(0) {
        return Err(Refusal::new(
            Reason::BudgetSpent,
            format!("{used} tokens were used in earlier attempts"),
        ));
    }
    Ok((tokens_left, micros_left))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the schema bounds it to 0.000001 and 1,000,000, and a float cast saturates"
)]
fn micros(usd: f64) -> u64 {
    (usd * 1e6).round() as u64
}

/// Fields that the schema takes and nothing reads, as far as they are set.
#[must_use]
pub fn fields_ignored(polecat: &Polecat) -> Vec<&'static str> {
    let spec = &polecat.spec;
    let agent = spec.agent_config.as_ref();
    let claims = |r: &ResourceRequirements| r.claims.as_ref().is_some_and(|c| !c.is_empty());
    let kubernetes = spec.kubernetes.as_ref();
    let table = [
        (
            "spec.ttlSecondsAfterFinished",
            spec.ttl_seconds_after_finished.is_some(),
        ),
        ("spec.maxIdleSeconds", spec.max_idle_seconds.is_some()),
        ("spec.agentConfig.image", agent.is_some_and(|a| a.image.is_some())),
        (
            "spec.agentConfig.command",
            agent.is_some_and(|a| a.command.is_some()),
        ),
        ("spec.agentConfig.args", agent.is_some_and(|a| a.args.is_some())),
        (
            "spec.agentConfig.configMapRef",
            agent.is_some_and(|a| a.config_map_ref.is_some()),
        ),
        ("spec.agentConfig.env", agent.is_some_and(|a| a.env.is_some())),
        (
            "spec.resources.claims",
            spec.resources.as_ref().is_some_and(claims),
        ),
        (
            "spec.kubernetes.resources.claims",
            kubernetes.and_then(|k| k.resources.as_ref()).is_some_and(claims),
        ),
    ];
    table
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(path, _)| path)
        .collect()
}

/// The labels of a polecat and its pod, as far as the values fit a label.
#[must_use]
pub fn labels_of(polecat: &Polecat) -> Vec<(&'static str, String)> {
    let name = polecat.name_any();
    let mut all = vec![(labels::POLECAT, name), (labels::RIG, polecat.spec.rig.clone())];
    all.extend(bead_of(polecat).map(|bead| (labels::BEAD, bead.to_owned())));
    all.retain(|(_, value)| labels::fits_label(value));
    all
}
