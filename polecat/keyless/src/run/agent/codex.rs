//! `OpenAI`'s Codex.

mod transcript;

use gastown_api::pod::REPO_DIR;
use gastown_api::work_order::WorkOrder;

use super::{Adapter, base_url, longest_wait};

pub use transcript::Session;

/// Codex wants a key; the broker replaces it.
const DUMMY_KEY: &str = "sk-none-the-broker-holds-the-key";

/// The variable with it.
const KEY_VARIABLE: &str = "OPENAI_API_KEY";

/// Codex reads the prompt from standard input where it is named `-`.
pub fn adapter(order: &WorkOrder) -> Adapter {
    let mut arguments = [
        "exec",
        "--json",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
    ]
    .map(str::to_owned)
    .to_vec();
    for setting in settings(order) {
        arguments.extend(["--config".to_owned(), setting]);
    }
    if let Some(model) = &order.role.model.model {
        arguments.extend(["--model".to_owned(), model.clone()]);
    }
    arguments.extend(order.role.agent.args.iter().cloned());
    arguments.push("-".to_owned());
    Adapter {
        program: "codex".to_owned(),
        arguments,
        environment: endpoint(),
        transcript: Box::new(Session::default()),
    }
}

/// The broker as the one provider, which may be slow and is not asked twice; nothing that the provider runs or that
/// calls home. The repository's `.codex` is not trusted: it could ask for what the broker refuses, or for an approval
/// that nobody gives. In TOML.
fn settings(order: &WorkOrder) -> Vec<String> {
    let url = format!("{}/v1", base_url());
    let wait = longest_wait(order) * 1000;
    vec![
        r#"model_provider="broker""#.to_owned(),
        format!(
            r#"model_providers.broker={{name="broker",base_url="{url}",env_key="{KEY_VARIABLE}",wire_api="responses",request_max_retries=2,stream_max_retries=5,stream_idle_timeout_ms={wait}}}"#
        ),
        format!(r#"projects={{"{REPO_DIR}"={{trust_level="untrusted"}}}}"#),
        r#"service_tier="default""#.to_owned(),
        r#"web_search="disabled""#.to_owned(),
        "check_for_update_on_startup=false".to_owned(),
        "analytics.enabled=false".to_owned(),
    ]
}

/// The broker's Responses API, by the names that libraries read too.
pub fn endpoint() -> Vec<(&'static str, String)> {
    let url = format!("{}/v1", base_url());
    vec![("OPENAI_BASE_URL", url), (KEY_VARIABLE, DUMMY_KEY.to_owned())]
}
