//! The agents, each with its command line, its environment and the way its output is read. Nothing that an agent is
//! given is a secret: the broker adds the keys.

mod claude;
mod codex;
mod custom;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gastown_api::agent_environment::passes;
use gastown_api::pod::MODEL_PORT;
use gastown_api::polecat::AgentKind;
use gastown_api::work_order::WorkOrder;

use super::show::Transcript;
use crate::workspace::identity;

pub use claude::Session as ClaudeSession;
pub use codex::Session as CodexSession;

/// Timers of JavaScript count milliseconds in 31 bits.
const LONGEST_TIMER_MS: u64 = 2_147_483_647;

/// The prompt that `clone` wrote cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the prompt {path:?}; the container git-init writes it")]
pub struct OpenPrompt {
    path: PathBuf,
    source: std::io::Error,
}

/// An agent, ready to be started.
pub struct Agent {
    /// What is started.
    pub command: Command,
    /// Reads its standard output.
    pub transcript: Box<dyn Transcript>,
    /// How long it may stay after its result.
    pub stay: Stay,
}

/// How long an agent's process may stay once the agent has written its result, without a word and without a call of the
/// model. What it started in the background (a server) would else hold the pod for as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// The time.
    pub quiet: Duration,
    /// Whether output that is no event counts as a word.
    pub any_output: bool,
}

/// The agent itself has said all with its result; it ends within a second, unless it waits for what it started. A turn
/// that begins all the same, when a background task has ended, writes events or calls the model.
const AGENT: Stay = Stay {
    quiet: Duration::from_secs(10),
    any_output: false,
};

/// A command may run an agent and then do something of its own, such as tests; those seldom say nothing for so long.
const COMMAND: Stay = Stay {
    quiet: Duration::from_secs(45),
    any_output: true,
};

/// What one agent is.
struct Adapter {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    transcript: Box<dyn Transcript>,
}

/// The agent of `order`, reading `prompt` on standard input, in `repository`.
pub fn agent(
    order: &WorkOrder,
    repository: &Path,
    prompt: &Path,
    inherited: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Agent, OpenPrompt> {
    let prompt = File::open(prompt).map_err(|source| OpenPrompt {
        path: prompt.to_owned(),
        source,
    })?;
    let adapter = adapter(order);
    let stay = if order.role.agent.command.is_empty() {
        AGENT
    } else {
        COMMAND
    };
    let mut command = Command::new(adapter.program);
    command
        .args(adapter.arguments)
        .env_clear()
        .envs(inherited.filter(|(name, _)| passes(&name.to_string_lossy())))
        .envs(environment(order))
        .envs(adapter.environment)
        .current_dir(repository)
        .stdin(Stdio::from(prompt));
    Ok(Agent {
        command,
        transcript: adapter.transcript,
        stay,
    })
}

fn adapter(order: &WorkOrder) -> Adapter {
    match (order.role.agent.command.split_first(), order.role.agent.kind) {
        (Some((program, rest)), _) => custom::adapter(order, program, rest),
        (None, AgentKind::ClaudeCode) => claude::adapter(order),
        (None, AgentKind::Codex) => codex::adapter(order),
    }
}

/// How its agent's output is read; a command is taken for one that writes like the agent in whose place it runs.
fn transcript(kind: AgentKind) -> Box<dyn Transcript> {
    match kind {
        AgentKind::ClaudeCode => Box::new(ClaudeSession::default()),
        AgentKind::Codex => Box::new(CodexSession::default()),
    }
}

/// Where the broker serves models.
fn base_url() -> String {
    format!("http://127.0.0.1:{MODEL_PORT}")
}

/// The longest that the broker may hold a call, in seconds.
fn longest_wait(order: &WorkOrder) -> u64 {
    let limits = order.limits;
    let wait = limits.deadline_seconds.saturating_add(limits.parking_seconds);
    wait.min(LONGEST_TIMER_MS / 1000)
}

/// Identity as Gas Town gives it (its `internal/config/env.go`), and quiet.
fn environment(order: &WorkOrder) -> Vec<(&'static str, String)> {
    let role = format!("{}/polecats/{}", order.rig, order.owner);
    let people = identity(order);
    let mut variables = vec![
        ("GT_ROLE", role.clone()),
        ("GT_RIG", order.rig.clone()),
        ("GT_POLECAT", order.owner.clone()),
        ("GT_BRANCH", order.role.git.work_branch.to_string()),
        ("BD_ACTOR", role),
        ("BEADS_AGENT_NAME", format!("{}/{}", order.rig, order.owner)),
        ("GIT_AUTHOR_NAME", order.author().name),
        ("GIT_TERMINAL_PROMPT", "0".to_owned()),
        ("GIT_PAGER", "cat".to_owned()),
        ("USER", order.owner.clone()),
        ("LOGNAME", order.owner.clone()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        // Byte code is no work, and would make every snapshot differ from what was delivered.
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        // Loopback is the broker, whatever proxy the polecat's own environment names.
        ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
        ("no_proxy", "127.0.0.1,localhost".to_owned()),
    ];
    // Where the manifest names people, no configuration of the agent's wins over them.
    if order.role.git.author.is_some() || order.role.git.committer.is_some() {
        variables.extend(people.into_iter().skip(1));
    }
    if let Some(bead) = &order.role.bead {
        variables.push(("GT_ISSUE", bead.clone()));
    }
    variables
}

#[cfg(test)]
mod tests;
