//! `polecat run`, the container `claude`: supervises the agent, shows what it does, and delivers its commits.
//!
//! It is PID 1 of the container: it reaps orphans, and nothing outlives the agent.

mod agent;
mod delivery;
mod lines;
pub(crate) mod parsers;
mod pulse;
mod show;
mod supervise;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use gastown_api::evidence::RunReport;
use gastown_api::pod::{GIT_PORT, HOME_DIR, REPO_DIR, TERMINATION_LOG};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::clone::PROMPT_FILE;
use crate::console::{explain, say};
use crate::{order, report};
pub(crate) use agent::may_set;
use delivery::Delivery;
use pulse::Pulse;
use supervise::Ended;

/// How long delivery may take when the agent ended by itself, and when the pod is being stopped: then the keeper and
/// the broker share what is left of the grace period.
const DELIVER_WITHIN: Duration = Duration::from_mins(5);
const DELIVER_WHILE_STOPPING: Duration = Duration::from_secs(20);

/// The exit code after a push that failed: `EX_TEMPFAIL` of `sysexits.h`.
const PUSH_FAILED: u8 = 75;

/// The most bytes that the report says about work that is not on the branch.
const MAX_NOT_DELIVERED: usize = 400;

/// What a shell says of a program that it could not start.
const NOT_STARTED: i32 = 127;

/// 128 and SIGTERM: the agent was told to stop, so it did not end well, whatever it says.
const STOPPED: u8 = 143;

/// Runs the role.
pub fn main() -> Result<ExitCode, Box<dyn Error>> {
    // A child of the same UID could trace this process and speak in its place.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    attempt().inspect_err(|error| {
        let message = explain(error.as_ref());
        leave(&message, |message| RunReport {
            agent_exit: NOT_STARTED,
            message,
            ..RunReport::default()
        });
    })
}

fn attempt() -> Result<ExitCode, Box<dyn Error>> {
    let order = order::read()?;
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from(HOME_DIR), PathBuf::from);
    let agent = agent::agent(
        &order,
        Path::new(REPO_DIR),
        &home.join(PROMPT_FILE),
        std::env::vars_os(),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let pulse = Pulse::start(GIT_PORT);
        supervise::supervise(agent.command, agent.transcript, || pulse.beat()).await
    })?;
    say(&format!("polecat run: the agent ended with {}", ended.exit));
    let delivery = delivery::Context {
        order: &order,
        repository: Path::new(REPO_DIR),
        url: &format!("http://127.0.0.1:{GIT_PORT}/repo.git"),
        within: if ended.stopped {
            DELIVER_WHILE_STOPPING
        } else {
            DELIVER_WITHIN
        },
    }
    .deliver(ended.exit == 0 && !ended.stopped);
    let code = exit_code(&ended, &delivery);
    let message = message(&ended, &delivery);
    leave(&message, |message| RunReport {
        agent_exit: ended.exit,
        local_head: delivery.local_head.clone(),
        pushed: delivery.pushed,
        message,
        not_delivered: not_delivered(&delivery),
    });
    Ok(ExitCode::from(code))
}

/// The report only hints, and the exit code says the rest: one that cannot be written is no reason to end otherwise.
fn leave(message: &str, build: impl Fn(String) -> RunReport) {
    let written = report::write(Path::new(TERMINATION_LOG), message, |mut message| {
        gastown_api::evidence::truncate(&mut message, 500);
        build(message)
    });
    if let Err(error) = written {
        say(&format!(
            "polecat run: failed to write {TERMINATION_LOG}: {error}"
        ));
    }
}

/// 0 only if the agent ended well by itself and nothing that had to be pushed stayed behind.
fn exit_code(ended: &Ended, delivery: &Delivery) -> u8 {
    match (ended.exit, ended.stopped, delivery.failed) {
        (0, true, _) => STOPPED,
        (0, false, true) => PUSH_FAILED,
        (code, ..) => u8::try_from(code).unwrap_or(1),
    }
}

fn message(ended: &Ended, delivery: &Delivery) -> String {
    let mut parts = Vec::new();
    if ended.stopped {
        parts.push("the agent was told to stop".to_owned());
    }
    parts.extend(ended.complaint.clone());
    parts.extend(delivery.notes.iter().chain(&delivery.left).cloned());
    parts.join("; ")
}

fn not_delivered(delivery: &Delivery) -> String {
    let mut text = delivery.left.join("; ");
    gastown_api::evidence::truncate(&mut text, MAX_NOT_DELIVERED);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agent_that_ended_well_with_its_work_delivered_gives_zero() {
        let code = |exit, stopped, failed| {
            let ended = Ended {
                exit,
                stopped,
                complaint: None,
            };
            exit_code(
                &ended,
                &Delivery {
                    failed,
                    ..Delivery::default()
                },
            )
        };
        assert_eq!(code(0, false, false), 0);
        assert_eq!(code(0, false, true), 75);
        assert_eq!(code(0, true, false), 143);
        assert_eq!(code(1, false, true), 1);
        assert_eq!(code(137, true, false), 137);
        assert_eq!(code(-1, false, false), 1);
    }
}
