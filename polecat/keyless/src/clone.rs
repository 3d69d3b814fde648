//! `polecat clone`, the container `git-init`: waits for the broker, clones from it, checks out the work branch, and
//! writes the prompt and the agent's settings. It may run again at any time: it keeps what is there.

mod bead;
mod evidence;
mod home;
mod prompt;
mod repository;
mod resume;
mod settings;
mod unbundle;
mod work_trees;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use gastown_api::control_api::BeadStore;
use gastown_api::evidence::InitReport;
use gastown_api::pod::{GIT_PORT, MODEL_PORT, REPO_DIR, TERMINATION_LOG, WORKSPACE_DIR};
use gastown_api::reason::Reason;
use gastown_api::work_order::WorkOrder;
use tokio::signal::unix::{SignalKind, signal};

use crate::{await_broker, report};
use polecat_common::console::{explain, say};
use polecat_common::{control, order};

use resume::Resumed;

/// How much longer than the longest parking `clone` waits for a broker that does not answer at all.
const PATIENCE_BEYOND_PARKING: Duration = Duration::from_mins(3);

/// How often `clone` tells the broker that the clone goes on.
const ALIVE_EVERY: Duration = Duration::from_secs(30);

/// Exit code of `clone` after SIGTERM: 128 plus the signal's number.
const STOPPED: u8 = 143;

/// Why the workspace could not be prepared.
#[derive(Debug, thiserror::Error)]
enum Prepare {
    /// The broker stopped for good.
    #[error("{message}")]
    Stopped {
        /// The broker's reason.
        reason: Reason,
        /// The broker's message.
        message: String,
    },
    /// The broker did not serve in time.
    #[error(transparent)]
    Wait(await_broker::AwaitBroker),
    /// Git failed.
    #[error(transparent)]
    Repository(#[from] repository::PrepareRepository),
    /// There is no task.
    #[error(transparent)]
    Task(#[from] bead::ReadTask),
    /// The home folder cannot be written.
    #[error(transparent)]
    Home(#[from] home::WriteHome),
    /// The agent's settings cannot be fetched or unpacked.
    #[error(transparent)]
    Settings(#[from] settings::FetchSettings),
}

impl Prepare {
    fn reason(&self) -> Reason {
        match self {
            Self::Stopped { reason, .. } => *reason,
            Self::Repository(repository::PrepareRepository::FindBranch { .. }) => Reason::BranchNotFound,
            Self::Task(bead::ReadTask::FindBead { .. } | bead::ReadTask::NoTask) => Reason::BeadTextMissing,
            Self::Settings(settings::FetchSettings::Refuse { .. }) => Reason::SettingsInvalid,
            Self::Wait(_) | Self::Repository(_) | Self::Task(_) | Self::Home(_) | Self::Settings(_) => {
                Reason::CloneFailed
            }
        }
    }
}

impl From<await_broker::AwaitBroker> for Prepare {
    fn from(error: await_broker::AwaitBroker) -> Self {
        match error {
            await_broker::AwaitBroker::Stopped { reason, message } => Self::Stopped { reason, message },
            other => Self::Wait(other),
        }
    }
}

/// Runs `polecat clone`.
pub fn main() -> Result<ExitCode, Box<dyn Error>> {
    let order = match order::read() {
        Ok(order) => order,
        Err(error) => return fail(error.reason(), &explain(&error)),
    };
    let home =
        std::env::var_os("HOME").map_or_else(|| PathBuf::from(gastown_api::pod::HOME_DIR), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut stop = {
        let _inside = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = prepare(order, home) => Some(outcome),
            _ = stop.recv() => None,
        }
    });
    // Git may still run on a blocking thread; the container ends with this process.
    runtime.shutdown_background();
    match outcome {
        None => {
            say("polecat clone: told to stop before the workspace was ready");
            Ok(ExitCode::from(STOPPED))
        }
        Some(Ok(())) => Ok(ExitCode::SUCCESS),
        Some(Err(error)) => fail(error.reason(), &explain(&error)),
    }
}

fn fail(reason: Reason, message: &str) -> Result<ExitCode, Box<dyn Error>> {
    say(&format!("polecat clone: {reason}: {message}"));
    report::write(Path::new(TERMINATION_LOG), message, |message| InitReport {
        reason,
        message,
    })?;
    Ok(ExitCode::FAILURE)
}

async fn prepare(order: WorkOrder, home: PathBuf) -> Result<(), Prepare> {
    let url = format!("http://127.0.0.1:{GIT_PORT}/repo.git");
    let patience = Duration::from_secs(order.limits.parking_seconds) + PATIENCE_BEYOND_PARKING;
    await_broker::for_broker(GIT_PORT, patience).await?;
    if let Some(archive) = settings::fetch(MODEL_PORT).await? {
        let count = settings::unpack(&archive, &home)?;
        say(&format!(
            "polecat clone: {count} files of the agent's settings are in place"
        ));
    }
    let mut work =
        tokio::task::spawn_blocking(move || prepare_workspace(&order, &url, Path::new(WORKSPACE_DIR), &home));
    // A large repository takes its time, and the agent must not count as hung before it runs.
    let cloned = loop {
        tokio::select! {
            cloned = &mut work => break cloned,
            () = tokio::time::sleep(ALIVE_EVERY) => control::alive(GIT_PORT).await,
        }
    };
    match cloned {
        Ok(Ok(())) => Ok(()),
        // The broker may have stopped for good in the middle of the clone; its reason says more than git's.
        Ok(Err(error @ Prepare::Repository(repository::PrepareRepository::Clone { .. }))) => {
            match await_broker::ask(GIT_PORT).await {
                Err(stopped @ await_broker::AwaitBroker::Stopped { .. }) => Err(stopped.into()),
                _ => Err(error),
            }
        }
        Ok(Err(Prepare::Task(mut missing))) => {
            // If the broker does not answer, the reason is the same; only its remedy says less.
            if let bead::ReadTask::FindBead { kept, .. } = &mut missing
                && *kept == bead::Kept::Unknown
                && control::ask(GIT_PORT, &BeadStore {})
                    .await
                    .is_ok_and(|stores| stores.dolt)
            {
                *kept = bead::Kept::InDoltUpstream;
            }
            Err(missing.into())
        }
        Ok(Err(error)) => Err(error),
        Err(join) => Err(Prepare::Stopped {
            reason: Reason::CloneFailed,
            message: format!("failed to prepare the workspace: {join}"),
        }),
    }
}

/// Prepares the rest once the broker serves: repository, task, prompt, and the settings without which Claude Code would
/// stop and ask.
fn prepare_workspace(order: &WorkOrder, url: &str, workspace: &Path, home: &Path) -> Result<(), Prepare> {
    let repository = repository::prepare(order, url, workspace)?;
    say(&format!(
        "polecat clone: {} is at {} on branch {}",
        REPO_DIR, repository.head, order.role.git.work_branch
    ));
    let bead = bead::of_order(order, &workspace.join("repo"))?;
    let resumed = Resumed::of_clone(&workspace.join("repo"));
    if let Some(resumed) = &resumed {
        say(&format!("polecat clone: {}", prompt::resumption(resumed)));
    }
    home::write(home, &prompt::compose(order, bead.as_ref(), resumed.as_ref()))?;
    Ok(())
}

/// Prepares only the repository, for the tests of the other containers.
#[cfg(test)]
pub(crate) fn prepare_repository(order: &WorkOrder, url: &str, workspace: &Path) {
    repository::prepare(order, url, workspace).unwrap();
}

#[cfg(test)]
mod tests;
