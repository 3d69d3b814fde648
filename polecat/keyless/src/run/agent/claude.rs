//! Anthropic's Claude Code.

mod transcript;

use gastown_api::work_order::WorkOrder;
use serde_json::{Value, json};

use super::{Adapter, base_url, longest_wait};

pub use transcript::Session;

/// Claude Code wants a key; the broker replaces it.
const DUMMY_KEY: &str = "sk-ant-none-the-broker-holds-the-key";

/// The tools that `--dangerously-skip-permissions` lets it use; without their names a repository whose settings disable
/// that mode would disable the agent. Its own `deny` rules win all the same.
const TOOLS: &[&str] = &[
    "Agent",
    "Bash",
    "Edit",
    "NotebookEdit",
    "Read",
    "Skill",
    "WebFetch",
    "WebSearch",
    "Workflow",
    "Write",
];

/// Variables that settings must not set: they put fields and betas into each call that the broker would refuse.
const EMPTIED: &[&str] = &["ANTHROPIC_BETAS", "CLAUDE_CODE_EXTRA_BODY"];

/// The first model that it asks for is the order's, else its own.
pub fn adapter(order: &WorkOrder) -> Adapter {
    let arguments = [
        "--print",
        "--dangerously-skip-permissions",
        "--output-format",
        "stream-json",
        "--verbose",
    ];
    let mut arguments = arguments.map(str::to_owned).to_vec();
    arguments.extend(["--settings".to_owned(), settings(order).to_string()]);
    if let Some(model) = &order.role.model.model {
        arguments.extend(["--model".to_owned(), model.clone()]);
    }
    arguments.extend(order.role.agent.args.iter().cloned());
    let mut environment = endpoint(order);
    environment.extend([
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
        ("DISABLE_AUTOUPDATER", "1".to_owned()),
    ]);
    Adapter {
        program: "claude".to_owned(),
        arguments,
        environment,
        transcript: Box::new(Session::default()),
    }
}

/// Settings of the command line win over those of the user, the project and its local file, except that any of them can
/// forbid the mode without permissions.
fn settings(order: &WorkOrder) -> Value {
    let pinned = endpoint(order);
    let emptied = EMPTIED.iter().map(|name| (*name, String::new()));
    let env: serde_json::Map<_, _> = pinned
        .into_iter()
        .chain(emptied)
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "env": env,
        "permissions": { "allow": TOOLS },
        // The pod is the sandbox, and has no programs for another one.
        "sandbox": { "enabled": false },
    })
}

/// The broker's Messages API, and patience with it.
pub fn endpoint(order: &WorkOrder) -> Vec<(&'static str, String)> {
    let wait = longest_wait(order);
    vec![
        ("ANTHROPIC_BASE_URL", base_url()),
        ("ANTHROPIC_API_KEY", DUMMY_KEY.to_owned()),
        // Claude Code then takes no provider, endpoint, key, key helper, header, proxy or certificate from any settings
        // (`the_repositorys_settings_lead_no_agent_past_the_broker`).
        ("CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST", "1".to_owned()),
        // The broker holds calls while it is parked. With the first alone, Claude Code 2.1.330 breaks a silent call
        // off after 300 s and gives up after ten of them: that is the idle timeout of its runtime's own client.
        ("API_TIMEOUT_MS", (wait * 1000).to_string()),
        ("API_FORCE_IDLE_TIMEOUT", "0".to_owned()),
        ("BUN_CONFIG_HTTP_IDLE_TIMEOUT", wait.to_string()),
    ]
}
