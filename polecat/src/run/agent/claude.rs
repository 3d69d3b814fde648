//! Anthropic's Claude Code.

mod transcript;

use gastown_api::work_order::WorkOrder;

use super::{Adapter, base_url, longest_wait};

pub use transcript::Session;

/// Claude Code wants a key; the broker replaces it.
const DUMMY_KEY: &str = "sk-ant-none-the-broker-holds-the-key";

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
    if let Some(model) = &order.model.model {
        arguments.extend(["--model".to_owned(), model.clone()]);
    }
    arguments.extend(order.agent.args.iter().cloned());
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

/// The broker's Messages API, and patience with it.
pub fn endpoint(order: &WorkOrder) -> Vec<(&'static str, String)> {
    let wait = longest_wait(order);
    vec![
        ("ANTHROPIC_BASE_URL", base_url()),
        ("ANTHROPIC_API_KEY", DUMMY_KEY.to_owned()),
        // The broker holds calls while it is parked. With the first alone, Claude Code 2.1.330 breaks a silent call
        // off after 300 s and gives up after ten of them: that is the idle timeout of its runtime's own client.
        ("API_TIMEOUT_MS", (wait * 1000).to_string()),
        ("API_FORCE_IDLE_TIMEOUT", "0".to_owned()),
        ("BUN_CONFIG_HTTP_IDLE_TIMEOUT", wait.to_string()),
    ]
}
