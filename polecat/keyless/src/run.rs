//! `polecat run`, the container `claude`: supervises the agent, shows what it does, and delivers its commits.
//!
//! It is PID 1 of the container: it reaps orphans, and nothing outlives the agent.

mod agent;
pub(crate) mod delivery;
mod heartbeat;
mod lines;
pub(crate) mod parsers;
mod show;
mod supervise;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use gastown_api::evidence::RunReport;
use gastown_api::pod::{GIT_PORT, HOME_DIR, REPO_DIR, TERMINATION_LOG};
use gastown_api::work_order::{GitOrder, WorkOrder};

use crate::report;
use crate::workspace::PROMPT_FILE;
use delivery::Delivery;
use heartbeat::Heartbeat;
use polecat_common::console::{explain, say};
use polecat_common::git::Git;
use polecat_common::limits::{DELIVER, DELIVER_WHILE_STOPPING};
use polecat_common::{control, order};
use supervise::{Ended, Stop};

/// The exit code after a push that failed: `EX_TEMPFAIL` of `sysexits.h`.
const PUSH_FAILED: u8 = 75;

/// The most bytes that the report says about work that is not on the branch.
const MAX_NOT_DELIVERED: usize = 400;

/// What a shell says of a program that it could not start.
const NOT_STARTED: i32 = 127;

/// What stands for the agent's 0 where its result says that it failed.
const SAID_IT_FAILED: u8 = 1;

/// 128 and SIGTERM: the agent was told to stop, so it did not end well, whatever it says.
const STOPPED: u8 = 143;

/// Runs the role.
pub fn main() -> Result<ExitCode, Box<dyn Error>> {
    polecat_common::runtime::hide()?;
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
    let order = Arc::new(order::read()?);
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
    let (ended, delivery) = runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let heartbeat = Heartbeat::start(GIT_PORT);
        let ended = if is_done_before(&order.role.git, Path::new(REPO_DIR)) {
            say("polecat run: the work branch holds what an earlier attempt had pushed, so no agent is started");
            Ended::not_needed()
        } else {
            let calls_the_model = async || control::calls_the_model().await;
            let ended = supervise::supervise(agent, &mut stop, || heartbeat.send(), calls_the_model).await?;
            say(&format!("polecat run: the agent ended with {}", ended.exit));
            ended
        };
        let delivery = deliver(Arc::clone(&order), &ended, &mut stop).await;
        Ok::<_, Box<dyn Error>>((ended, delivery))
    })?;
    let code = exit_code(&ended, &delivery);
    let message = message(&ended, &delivery);
    let failed = ended.complaint.as_ref().filter(|_| ended.exit == 0);
    leave(&message, |message| RunReport {
        agent_exit: ended.exit,
        failed: failed.cloned(),
        local_head: delivery.local_head.clone(),
        pushed: delivery.pushed,
        message,
        not_delivered: not_delivered(&delivery),
    });
    Ok(ExitCode::from(code))
}

/// Whether the clone, made from what the remote holds now, is at what an earlier attempt had pushed without confirmation.
fn is_done_before(order: &GitOrder, clone: &Path) -> bool {
    let Some(unconfirmed) = &order.unconfirmed else {
        return false;
    };
    let tip = format!("{}^{{commit}}", order.work_branch.full());
    let found = Git::at(clone).text(&["rev-parse", "--quiet", "--verify", &tip]);
    found.is_ok_and(|sha| sha.trim() == unconfirmed.as_str())
}

/// Delivers on a thread of its own, so that a pod that is told to stop need not wait for a slow host: the broker goes on
/// with the push when its client is gone, and the evidence says what became of it.
async fn deliver(order: Arc<WorkOrder>, ended: &Ended, stop: &mut Stop) -> Delivery {
    let within = if ended.stopped {
        DELIVER_WHILE_STOPPING
    } else {
        // A push waits as long as the attempt may be parked.
        DELIVER + Duration::from_secs(order.limits.parking_seconds)
    };
    let well = ended.well();
    let handle = tokio::runtime::Handle::current();
    let (sender, delivered) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let reread = || {
            if let Err(error) = handle.block_on(control::reread(GIT_PORT)) {
                say(&format!(
                    "polecat run: the broker could not read the remote again: {}",
                    explain(&error)
                ));
            }
        };
        let context = delivery::Context {
            order: &order,
            repository: Path::new(REPO_DIR),
            url: &format!("http://127.0.0.1:{GIT_PORT}/repo.git"),
            within,
            reread: &reread,
        };
        // Nobody waits any more once the pod has been told to stop.
        let _too_late = sender.send(context.deliver(well));
    });
    let told = async {
        stop.told().await;
        tokio::time::sleep(DELIVER_WHILE_STOPPING).await;
    };
    tokio::select! {
        delivery = delivered => delivery.unwrap_or_else(|_| Delivery::cut_short("it broke off")),
        () = told => Delivery::cut_short("the pod was told to stop meanwhile"),
    }
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
    match ended.exit {
        0 if ended.stopped => STOPPED,
        0 if !ended.well() => SAID_IT_FAILED,
        0 if delivery.failed => PUSH_FAILED,
        code => u8::try_from(code).unwrap_or(1),
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

    fn code_of(exit: i32, stopped: bool, failed: bool, complaint: Option<&str>) -> u8 {
        let ended = Ended {
            exit,
            stopped,
            complaint: complaint.map(str::to_owned),
        };
        exit_code(
            &ended,
            &Delivery {
                failed,
                ..Delivery::default()
            },
        )
    }

    #[test]
    fn an_agent_is_not_needed_only_where_the_branch_is_at_what_was_pushed() {
        let folder = tempfile::tempdir().unwrap();
        let upstream = crate::testing::upstream(folder.path());
        let tip = Git::at(Path::new(&upstream))
            .text(&["rev-parse", "main"])
            .unwrap();
        let mut order = crate::testing::order().role.git;
        order.work_branch = "main".parse().unwrap();
        let done = |unconfirmed: Option<&str>| {
            let mut order = order.clone();
            order.unconfirmed = unconfirmed.map(|sha| sha.trim().parse().unwrap());
            is_done_before(&order, Path::new(&upstream))
        };
        assert!(done(Some(&tip)));
        assert!(!done(None));
        assert!(!done(Some(&"a".repeat(40))));
        order.work_branch = "gone".parse().unwrap();
        assert!(!is_done_before(
            &GitOrder {
                unconfirmed: tip.trim().parse().ok(),
                ..order.clone()
            },
            Path::new(&upstream)
        ));
    }

    #[test]
    fn only_an_agent_that_ended_well_with_its_work_delivered_gives_zero() {
        let code = |exit, stopped, failed| code_of(exit, stopped, failed, None);
        assert_eq!(code_of(0, false, false, Some("the limit is hit")), 1);
        assert_eq!(code_of(3, false, false, Some("the limit is hit")), 3);
        assert_eq!(code(0, false, false), 0);
        assert_eq!(code(0, false, true), 75);
        assert_eq!(code(0, true, false), 143);
        assert_eq!(code(1, false, true), 1);
        assert_eq!(code(137, true, false), 137);
        assert_eq!(code(-1, false, false), 1);
    }
}
