//! The model, its endpoint, its key, and what may be spent.

use gastown_api::polecat::{AgentConfig, KubernetesSpec, Polecat, Provider};
use gastown_api::reason::Reason;
use gastown_api::rig::Rig;
use gastown_api::work_order::price_of;

use super::{Refusal, incomplete, text};
use crate::config::Config;

/// The file of the model secret with the key, where no key is named.
const DEFAULT_MODEL_KEY: &str = "ANTHROPIC_API_KEY";

/// The key that stands alone wins over the one in the credentials secret; the polecat's own over the Rig's.
pub fn model_secret(
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

/// The model asked for, if it may be called.
pub fn model(agent: &AgentConfig, config: &Config) -> Result<Option<String>, Refusal> {
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
pub fn endpoint(agent: &AgentConfig, config: &Config) -> Result<String, Refusal> {
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

/// Tokens and millionths of a US dollar that are left, over all attempts.
pub fn budget_left(
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
        Some(dollars) => {
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
            Some(micros(dollars).saturating_sub(spent.unwrap_or(0)))
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
