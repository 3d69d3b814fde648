//! The model, its endpoint, its key, and what may be spent.

use gastown_api::budget::{Amount, Share};
use gastown_api::polecat::{AgentConfig, AgentKind, KubernetesSpec, Polecat, Provider};
use gastown_api::reason::Reason;
use gastown_api::reference::SecretKeyRef;
use gastown_api::rig::Rig;
use gastown_api::work_order::{AgentOrder, ApiKeyOrder, ModelApi, is_allowed, price_of};

use super::{incomplete, text};
use crate::config::Config;
use crate::types::Refusal;

/// `OpenAI`'s own endpoint; it must be on the operator's list all the same.
const OPENAI_ENDPOINT: &str = "https://api.openai.com";

/// Where the model's credentials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The secret with credentials and the agent's settings.
    pub secret: Option<String>,
    /// The API key that stands alone.
    pub api_key: Option<ApiKeyOrder>,
    /// Whether the endpoint may be called without a key.
    pub keyless: bool,
}

/// The agent, and what is called in its place. A command of empty words is none.
#[must_use]
pub fn agent(polecat: &Polecat, agent: &AgentConfig) -> AgentOrder {
    let command = agent.command.clone().unwrap_or_default();
    AgentOrder {
        kind: polecat.spec.agent,
        command: if command.first().is_none_or(|program| program.trim().is_empty()) {
            Vec::new()
        } else {
            command
        },
        args: agent.args.clone().unwrap_or_default(),
    }
}

/// Who serves the model. Where the polecat does not say it, its endpoint and the name of its key do; a command says
/// nothing of itself, but Codex speaks no other API than `OpenAI`'s.
#[must_use]
pub fn provider(order: &AgentOrder, kubernetes: &KubernetesSpec, agent: &AgentConfig) -> Provider {
    let endpoint = given_endpoint(agent).unwrap_or_default();
    let key = own_key(kubernetes, agent).map(|key| key.key.as_str());
    agent.provider.unwrap_or({
        if order.command.is_empty() {
            match order.kind {
                AgentKind::ClaudeCode => Provider::Anthropic,
                AgentKind::Codex => Provider::Openai,
            }
        } else if endpoint.starts_with(OPENAI_ENDPOINT)
            || key.is_some_and(|key| Provider::Openai.credential_keys().contains(&key))
        {
            Provider::Openai
        } else {
            Provider::Anthropic
        }
    })
}

/// What the agent may speak to the provider. Nothing is translated, so a known agent needs a provider that serves its
/// API; a command may speak whatever its provider serves.
pub fn apis(order: &AgentOrder, provider: Provider) -> Result<Vec<ModelApi>, Refusal> {
    let served: &[ModelApi] = match provider {
        Provider::Anthropic => &[ModelApi::Messages],
        Provider::Openai => &[ModelApi::Responses],
        Provider::Litellm | Provider::Ollama => &[ModelApi::Messages, ModelApi::Responses],
    };
    if !order.command.is_empty() {
        return Ok(served.to_vec());
    }
    let (name, spoken, words) = match order.kind {
        AgentKind::ClaudeCode => ("claude-code", ModelApi::Messages, "Messages"),
        AgentKind::Codex => ("codex", ModelApi::Responses, "Responses"),
    };
    if served.contains(&spoken) {
        Ok(vec![spoken])
    } else {
        Err(Refusal::new(
            Reason::ProviderUnsupportedByAgent,
            format!(
                "spec.agentConfig.provider {:?} does not serve the {words} API that spec.agent {name:?} speaks",
                name_of(provider)
            ),
        ))
    }
}

fn name_of(provider: Provider) -> &'static str {
    match provider {
        Provider::Litellm => "litellm",
        Provider::Anthropic => "anthropic",
        Provider::Openai => "openai",
        Provider::Ollama => "ollama",
    }
}

/// The polecat's own over the Rig's. Ollama has no keys of its own, and a `LiteLLM` proxy may have none.
pub fn credentials(
    kubernetes: &KubernetesSpec,
    agent: &AgentConfig,
    rig: Option<&Rig>,
    provider: Provider,
) -> Result<Credentials, Refusal> {
    let api_key = own_key(kubernetes, agent).map(|key| ApiKeyOrder {
        secret: key.name.clone(),
        key: key.key.clone(),
    });
    let of_rig = rig.and_then(|r| r.spec.claude_creds_secret_ref.as_ref());
    let secret = kubernetes.claude_creds_secret_ref.as_ref().or(of_rig);
    let named = api_key.is_some() || secret.is_some();
    let keyless = match provider {
        Provider::Ollama => api_key.is_none(),
        Provider::Litellm => !named,
        Provider::Anthropic | Provider::Openai => false,
    };
    if !named && !keyless {
        return Err(incomplete(
            "neither spec.kubernetes.claudeCredsSecretRef nor spec.kubernetes.apiKeySecretRef is set, and the Rig has no \
             spec.claudeCredsSecretRef: set one",
        ));
    }
    Ok(Credentials {
        secret: secret.map(|s| s.name.clone()),
        api_key,
        keyless,
    })
}

fn own_key<'a>(kubernetes: &'a KubernetesSpec, agent: &'a AgentConfig) -> Option<&'a SecretKeyRef> {
    let of_provider = agent
        .model_provider
        .as_ref()
        .and_then(|p| p.api_key_secret_ref.as_ref());
    kubernetes.api_key_secret_ref.as_ref().or(of_provider)
}

fn given_endpoint(agent: &AgentConfig) -> Option<&str> {
    let given = agent
        .model_provider
        .as_ref()
        .and_then(|p| text(p.endpoint.as_ref()));
    given.map(|endpoint| endpoint.trim_end_matches('/'))
}

/// The model asked for, if it may be called.
pub fn model(agent: &AgentConfig, config: &Config) -> Result<Option<String>, Refusal> {
    let Some(model) = text(agent.model.as_ref()) else {
        return Ok(None);
    };
    if is_allowed(&config.allowed_models, model) {
        Ok(Some(model.to_owned()))
    } else {
        Err(Refusal::new(
            Reason::ModelNotAllowed,
            format!(
                "spec.agentConfig.model {model:?} is not among allowedModels: {}",
                config.allowed_models.join(", ")
            ),
        ))
    }
}

/// The endpoint, if it may be called: the one given, else the provider's own. No key is sent without TLS, unless the chart
/// says so: not to loopback either, where the agent could listen.
pub fn endpoint(
    agent: &AgentConfig,
    provider: Provider,
    credentials: &Credentials,
    config: &Config,
) -> Result<String, Refusal> {
    let endpoint = listed_endpoint(agent, provider, config)?;
    let is_plain = endpoint.starts_with("http://");
    // Where no key is needed, a secret that is named may hold one all the same.
    let may_have_a_key = credentials.api_key.is_some() || credentials.secret.is_some();
    if is_plain && may_have_a_key && !config.model_keys_over_http {
        return Err(Refusal::new(
            Reason::EndpointNotAllowed,
            format!(
                "endpoint {endpoint:?} would be sent the model key without TLS, which only the chart's value \
                 modelKeysOverHttp allows"
            ),
        ));
    }
    Ok(endpoint)
}

fn listed_endpoint(agent: &AgentConfig, provider: Provider, config: &Config) -> Result<String, Refusal> {
    let endpoint = match (given_endpoint(agent), provider) {
        (Some(given), _) => given,
        (None, Provider::Litellm | Provider::Ollama) => {
            return Err(incomplete(
                "spec.agentConfig.modelProvider.endpoint is not set: providers litellm and ollama have no endpoint of their own",
            ));
        }
        (None, Provider::Openai) => OPENAI_ENDPOINT,
        (None, Provider::Anthropic) => config.model_endpoints.first().map_or("", String::as_str),
    };
    if config.model_endpoints.iter().any(|allowed| allowed == endpoint) {
        Ok(endpoint.to_owned())
    } else {
        Err(Refusal::new(
            Reason::EndpointNotAllowed,
            format!(
                "endpoint {endpoint:?} is not among modelEndpoints: {}",
                config.model_endpoints.join(", ")
            ),
        ))
    }
}

/// Tokens and millionths of a US dollar that are left, over all attempts.
pub fn budget_left(
    polecat: &Polecat,
    model: Option<&str>,
    config: &Config,
) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let budget = polecat.spec.budget.unwrap_or_default();
    let priced = model.is_some_and(|m| price_of(&config.prices, m).is_some());
    if budget.usd.is_some() && !priced {
        let words = model.map_or_else(
            || "it is not set, and the agent chooses a model itself".to_owned(),
            |model| format!("{model:?} has none in the chart's value prices"),
        );
        return Err(Refusal::new(
            Reason::PriceMissing,
            format!("spec.budget.usd needs spec.agentConfig.model to be a model with a price: {words}"),
        ));
    }
    let status = polecat.status.as_ref();
    let has_spent = status.is_some_and(|s| s.usage.is_some_and(|usage| usage.requests > 0));
    if budget.usd.is_some() && has_spent && status.is_some_and(|s| s.cost_micros.is_none()) {
        return Err(Refusal::new(
            Reason::PriceMissing,
            "earlier attempts called a model without a price, so nobody knows what is left of spec.budget.usd",
        ));
    }
    let left = left_of(polecat);
    if left.tokens == Some(0) || left.cost_micros == Some(0) {
        let used = spent_of(polecat).tokens;
        return Err(Refusal::new(
            Reason::BudgetSpent,
            format!("{used} tokens were used in earlier attempts"),
        ));
    }
    Ok((left.tokens, left.cost_micros))
}

/// What is left of the budget when no attempt is under way.
#[must_use]
pub fn left_of(polecat: &Polecat) -> Share {
    let budget = polecat.spec.budget.unwrap_or_default();
    let spent = spent_of(polecat);
    let tokens = budget.tokens.and_then(|tokens| u64::try_from(tokens).ok());
    Share {
        tokens: tokens.map(|tokens| tokens.saturating_sub(spent.tokens)),
        cost_micros: budget
            .usd
            .map(|dollars| micros(dollars).saturating_sub(spent.cost_micros)),
    }
}

/// What all attempts have spent, or may have.
fn spent_of(polecat: &Polecat) -> Amount {
    let status = polecat.status.clone().unwrap_or_default();
    let cost = status.cost_micros.and_then(|cost| u64::try_from(cost).ok());
    let said = Amount::of(&status.usage.unwrap_or_default(), cost);
    said.plus(status.unaccounted.unwrap_or_default())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the schema bounds it to 0.000001 and 1,000,000, and a float cast saturates"
)]
fn micros(usd: f64) -> u64 {
    (usd * 1e6).round() as u64
}
