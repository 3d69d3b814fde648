//! The agent's command line and environment. Nothing in it is a secret: the broker adds the keys.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gastown_api::pod::MODEL_PORT;
use gastown_api::work_order::WorkOrder;

/// Claude Code wants a key; the broker replaces it.
const DUMMY_KEY: &str = "sk-ant-none-the-broker-holds-the-key";

/// Timers of JavaScript count milliseconds in 31 bits.
const LONGEST_TIMER_MS: u64 = 2_147_483_647;

/// The prompt that `clone` wrote cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the prompt {path:?}; the container git-init writes it")]
pub struct OpenPrompt {
    path: PathBuf,
    source: std::io::Error,
}

/// Claude Code, reading `prompt` on standard input, in `repository`.
pub fn agent(
    order: &WorkOrder,
    repository: &Path,
    prompt: &Path,
    inherited: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Command, OpenPrompt> {
    let prompt = File::open(prompt).map_err(|source| OpenPrompt {
        path: prompt.to_owned(),
        source,
    })?;
    let mut command = Command::new("claude");
    command
        .args(arguments(order))
        .env_clear()
        .envs(inherited.filter(|(name, _)| passes(name)))
        .envs(environment(order))
        .current_dir(repository)
        .stdin(Stdio::from(prompt));
    Ok(command)
}

fn arguments(order: &WorkOrder) -> Vec<&str> {
    let mut arguments = vec![
        "--print",
        "--dangerously-skip-permissions",
        "--output-format",
        "stream-json",
        "--verbose",
    ];
    if let Some(model) = &order.model.model {
        arguments.extend(["--model", model]);
    }
    arguments
}

/// What the Polecat's `env` may set for the agent; what would lead it past the broker, or git out of the clone, may
/// not pass.
fn passes(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let reserved = [
        "CLAUDE_CODE_USE_",
        "CLAUDE_CODE_OAUTH",
        "GIT_",
        "GASTOWN_",
        "KUBERNETES_",
    ];
    let provider = name.starts_with("ANTHROPIC_") && !name.ends_with("_MODEL");
    !provider && !reserved.iter().any(|prefix| name.starts_with(prefix))
}

/// Identity as Gas Town gives it (its `internal/config/env.go`), the broker's address, and quiet.
fn environment(order: &WorkOrder) -> Vec<(&'static str, String)> {
    let identity = format!("{}/polecats/{}", order.rig, order.polecat);
    let wait = order
        .limits
        .deadline_seconds
        .saturating_add(order.limits.parking_seconds);
    let wait = wait.min(LONGEST_TIMER_MS / 1000);
    let mut variables = vec![
        ("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{MODEL_PORT}")),
        ("ANTHROPIC_API_KEY", DUMMY_KEY.to_owned()),
        // The broker holds calls while it is parked. With the first alone, Claude Code 2.1.330 breaks a silent call
        // off after 300 s and gives up after ten of them: that is the idle timeout of its runtime's own client.
        ("API_TIMEOUT_MS", (wait * 1000).to_string()),
        ("API_FORCE_IDLE_TIMEOUT", "0".to_owned()),
        ("BUN_CONFIG_HTTP_IDLE_TIMEOUT", wait.to_string()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
        ("DISABLE_AUTOUPDATER", "1".to_owned()),
        ("GT_ROLE", identity.clone()),
        ("GT_RIG", order.rig.clone()),
        ("GT_POLECAT", order.polecat.clone()),
        ("GT_BRANCH", order.git.work_branch.to_string()),
        ("BD_ACTOR", identity),
        ("BEADS_AGENT_NAME", format!("{}/{}", order.rig, order.polecat)),
        ("GIT_AUTHOR_NAME", order.polecat.clone()),
        ("GIT_TERMINAL_PROMPT", "0".to_owned()),
        ("GIT_PAGER", "cat".to_owned()),
        ("USER", order.polecat.clone()),
        ("LOGNAME", order.polecat.clone()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        // Byte code is no work, and would make every snapshot differ from what was delivered.
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        // Loopback is the broker, whatever proxy the polecat's own environment names.
        ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
        ("no_proxy", "127.0.0.1,localhost".to_owned()),
    ];
    if let Some(bead) = &order.bead {
        variables.push(("GT_ISSUE", bead.clone()));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::order;

    #[test]
    fn the_agent_gets_its_identity_and_the_broker_and_no_way_past_it() {
        let folder = tempfile::tempdir().unwrap();
        let prompt = folder.path().join("prompt");
        std::fs::write(&prompt, "x").unwrap();
        let mut order = order();
        order.bead = Some("gt-1".to_owned());
        order.model.model = Some("claude-x".to_owned());
        let inherited = [
            "PATH",
            "MY_OWN",
            "ANTHROPIC_AUTH_TOKEN",
            "ANTHROPIC_SMALL_FAST_MODEL",
            "CLAUDE_CODE_USE_BEDROCK",
            "GIT_DIR",
            "GASTOWN_POD_UID",
            "ANTHROPIC_BASE_URL",
        ];
        let inherited = inherited.map(|name| (name.into(), "theirs".into())).into_iter();
        let command = agent(&order, folder.path(), &prompt, inherited).unwrap();
        let value = |name: &str| {
            let found = command.get_envs().find(|(key, _)| *key == name);
            found
                .and_then(|(_, value)| value)
                .map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(value("ANTHROPIC_BASE_URL").unwrap(), "http://127.0.0.1:8418");
        assert_eq!(value("GT_ROLE").unwrap(), "demo/polecats/furiosa");
        assert_eq!(value("GT_ISSUE").unwrap(), "gt-1");
        assert_eq!(value("API_TIMEOUT_MS").unwrap(), "4200000");
        assert_eq!(value("BUN_CONFIG_HTTP_IDLE_TIMEOUT").unwrap(), "4200");
        for kept in ["PATH", "MY_OWN", "ANTHROPIC_SMALL_FAST_MODEL"] {
            assert_eq!(value(kept).as_deref(), Some("theirs"), "{kept}");
        }
        for dropped in [
            "ANTHROPIC_AUTH_TOKEN",
            "CLAUDE_CODE_USE_BEDROCK",
            "GIT_DIR",
            "GASTOWN_POD_UID",
        ] {
            assert_eq!(value(dropped), None, "{dropped}");
        }
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments[arguments.len() - 2..], ["--model", "claude-x"]);
    }
}
