//! What a polecat wants, made whole from its own spec, its Rig and the configuration, and parsed.

pub mod model;
pub mod options;
pub mod timing;

use gastown_api::git::BranchName;
use gastown_api::image::ImageReference;
use gastown_api::person::Person;
use gastown_api::pod_overrides::PodOverrides;
use gastown_api::polecat::{AgentConfig, KubernetesSpec, Polecat, Provider};
use gastown_api::reason::Reason;
use gastown_api::repository::RepositoryUrl;
use gastown_api::resources::ResourceRequirements;
use gastown_api::rig::Rig;
use gastown_api::text::escape;
use gastown_api::work_order::{AgentOrder, Limits, ModelApi, PaceOrder};
use gastown_api::{agent_environment, exposed, labels};
use jiff::Timestamp;
use kube::ResourceExt as _;

use self::options::PodOptions;
use crate::config::Config;
use crate::images::Question;
use crate::types::{Refusal, Settings, fields_that_are_set};

pub use model::Credentials;

/// The branch polecats start from where neither polecat nor Rig names one.
const DEFAULT_BASE_BRANCH: &str = "main";

/// The most bytes of a task as JSON.
const MAX_TASK: usize = 192 * 1024;

/// Everything an attempt needs. Nothing in it has to be checked again.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// The upstream repository.
    pub repository: RepositoryUrl,
    /// Where the work starts.
    pub base_branch: BranchName,
    /// Where it goes.
    pub head_branch: BranchName,
    /// Author of commits, if not the polecat.
    pub author: Option<Person>,
    /// Committer of commits, if not the polecat.
    pub committer: Option<Person>,
    /// Whether the agent may fetch other branches by name.
    pub other_branches: bool,
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
    /// Who works.
    pub agent: AgentOrder,
    /// Who serves the model.
    pub provider: Provider,
    /// What the agent may speak.
    pub apis: Vec<ModelApi>,
    /// The base URL of the model's API.
    pub endpoint: String,
    /// The model asked for.
    pub model: Option<String>,
    /// Where the model's credentials are.
    pub credentials: Credentials,
    /// The image of `claude`.
    pub image: String,
    /// What has to be known of that image before it runs.
    pub image_question: Option<Question>,
    /// What the polecat decides of its pod.
    pub options: PodOptions,
    /// How long things may take.
    pub limits: Limits,
    /// When its work is saved, and when its agent counts as hung.
    pub pace: PaceOrder,
    /// Tokens left of the budget.
    pub tokens_left: Option<u64>,
    /// Millionths of a US dollar left of the budget.
    pub micros_left: Option<u64>,
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

    no_keys(polecat, rig)?;
    let repository = repository(polecat, kubernetes, rig)?;
    let order = model::agent(polecat, agent);
    let provider = model::provider(&order, kubernetes, agent);
    let apis = model::apis(&order, provider)?;
    let credentials = model::credentials(kubernetes, agent, rig, provider)?;
    let model = model::model(agent, config)?;
    let (tokens_left, micros_left) = model::budget_left(polecat, model.as_deref(), config)?;
    let (image, image_question) = image(kubernetes, agent, rig, settings)?;
    Ok(Work {
        base_branch: base_branch(kubernetes, rig)?,
        head_branch: work_branch(polecat, kubernetes)?,
        author: person(kubernetes, rig, |pod| pod.git_author.as_ref()),
        committer: person(kubernetes, rig, |pod| pod.git_committer.as_ref()),
        other_branches: rig.and_then(|rig| rig.spec.fetch_other_branches).unwrap_or(true),
        git_secret: git_secret(kubernetes, rig)?,
        known_hosts_config_map: known_hosts_config_map(kubernetes),
        trusted_hosts: trusted_hosts(rig, config),
        task: task(polecat)?,
        bead: bead_of(polecat).map(str::to_owned),
        endpoint: model::endpoint(agent, provider, &credentials, config)?,
        options: options::options(polecat, kubernetes, agent, rig, config)?,
        limits: timing::limits(polecat, rig, config),
        pace: timing::pace(polecat, rig, config),
        repository,
        image,
        image_question,
        model,
        agent: order,
        provider,
        apis,
        credentials,
        tokens_left,
        micros_left,
    })
}

/// Everybody who may look at the polecat or its pod would read them, and the agent too.
fn no_keys(polecat: &Polecat, rig: Option<&Rig>) -> Result<(), Refusal> {
    let found = exposed::key_in_polecat(polecat).or_else(|| {
        rig.and_then(exposed::key_in_rig)
            .map(|path| format!("{path} of the Rig"))
    });
    match found {
        None => Ok(()),
        Some(path) => Err(Refusal::new(
            Reason::SpecNotAllowed,
            format!(
                "{path} holds what looks like a key: revoke it, and put the new one into the secret of claudeCredsSecretRef or gitSecretRef"
            ),
        )),
    }
}

/// The work order stands in an annotation, and the API server takes no more of these than 256 KiB: the schema bounds
/// the characters of a task, but not the bytes that they take.
fn task(polecat: &Polecat) -> Result<Option<String>, Refusal> {
    let Some(task) = task_of(polecat) else {
        return Ok(None);
    };
    let size = serde_json::to_string(task).map_or(usize::MAX, |json| json.len());
    if size > MAX_TASK {
        return Err(incomplete(format!(
            "spec.task.description takes {size} bytes as JSON, and no more than {MAX_TASK} fit into a pod's annotation: shorten it, or \
             commit it to the repository and name the file"
        )));
    }
    Ok(Some(task.to_owned()))
}

/// The operator's own image was chosen by the administrator; one that the polecat names is looked at.
fn image(
    kubernetes: &KubernetesSpec,
    agent: &AgentConfig,
    rig: Option<&Rig>,
    settings: &Settings,
) -> Result<(String, Option<Question>), Refusal> {
    let own = text(kubernetes.image.as_ref()).map(|image| ("spec.kubernetes.image", image));
    let second = || text(agent.image.as_ref()).map(|image| ("spec.agentConfig.image", image));
    let Some((field, image)) = own.or_else(second) else {
        return Ok((settings.agent_image.clone(), None));
    };
    let parsed: ImageReference = image.parse().map_err(|flaw| {
        Refusal::new(
            Reason::ImagePullFailed,
            format!("{field} {image:?} names no image: {flaw}"),
        )
    })?;
    let of_rig = rig.and_then(|rig| Some((rig.name_any(), rig.spec.image_policy.as_ref()?)));
    let of_rig = of_rig.map(|(name, policy)| (format!("spec.imagePolicy of Rig {name:?}"), policy));
    let mut policies = vec![("the chart's imagePolicy", &settings.config.image_policy)];
    policies.extend(of_rig.as_ref().map(|(name, policy)| (name.as_str(), *policy)));
    let question = Question::of(field, parsed, &policies)?;
    Ok((image.to_owned(), question))
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

fn person(
    kubernetes: &KubernetesSpec,
    rig: Option<&Rig>,
    of: fn(&PodOverrides) -> Option<&Person>,
) -> Option<Person> {
    let of_rig = options::pod_defaults(rig).and_then(|defaults| of(&defaults.pod));
    of(&kubernetes.pod).or(of_rig).cloned()
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

/// Fields that the schema takes and nothing reads, as far as they are set.
#[must_use]
pub fn fields_ignored(polecat: &Polecat) -> Vec<String> {
    let spec = &polecat.spec;
    let agent = spec.agent_config.as_ref();
    let claims = |r: &ResourceRequirements| r.claims.as_ref().is_some_and(|c| !c.is_empty());
    let kubernetes = spec.kubernetes.as_ref();
    let table = [
        (
            "spec.agentConfig.configMapRef",
            agent.is_some_and(|a| a.config_map_ref.is_some()),
        ),
        (
            "spec.resources.claims",
            spec.resources.as_ref().is_some_and(claims),
        ),
        (
            "spec.kubernetes.resources.claims",
            kubernetes
                .and_then(|k| k.pod.resources.as_ref())
                .is_some_and(claims),
        ),
    ];
    let variables = agent.into_iter().flat_map(|agent| agent.env.iter().flatten());
    let dropped = variables.filter(|variable| !agent_environment::has_effect(&variable.name));
    let dropped = dropped.map(|variable| format!("spec.agentConfig.env {}", escape(&variable.name)));
    fields_that_are_set(table).into_iter().chain(dropped).collect()
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

#[cfg(test)]
mod tests;
