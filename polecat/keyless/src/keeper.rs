//! `polecat keeper`, the sidecar that saves the work tree to the pod's WIP ref. It holds no key: whatever the agent
//! makes it read or run gains nothing.

mod bundle;
mod change_detection;
mod checkpoint;
mod context;
mod end;
mod import;
mod index;
mod large;
mod left_out;
mod open;
mod others;
mod read;
mod reflog;
mod remote_state;
mod requests;
mod rules;
mod save;
mod schedule;
mod serve;
mod store;
mod take;
mod trees;
mod unread;
mod walk;
mod work_trees;

use std::error::Error;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use gastown_api::pod::{
    GIT_PORT, HOME_DIR, KEEPER_DIR, KEEPER_SAVED_IN_PART, POD_UID_ENV, REPO_DIR, STORAGE_DIR,
    TERMINATION_LOG, TMP_DIR, WORKSPACE_DIR,
};
use gastown_api::work_order::WorkOrder;

use end::End;
use polecat_common::console::say;
use polecat_common::disk::{Disk, limit_of_pod};
use polecat_common::order;
use serve::{Ending, Keeper};
use store::Store;

/// Its socket, below its own volume that no other container mounts.
const SOCKET: &str = "keeper.sock";

/// What the keeper is to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Waits, and saves the work tree when asked and at the end.
    Run,
    /// Asks the keeper of this container for a snapshot and waits for it: the pod's preStop hook.
    Stop,
}

/// The operator did not say which pod this is.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to read the environment variable {POD_UID_ENV}: {source}; the operator sets it in every polecat pod"
)]
struct ReadPodUid {
    source: std::env::VarError,
}

/// Runs the role.
#[expect(
    clippy::needless_pass_by_value,
    reason = "every role takes its arguments as clap made them"
)]
pub fn main(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let socket = Path::new(KEEPER_DIR).join(SOCKET);
    match args.command {
        Command::Run => run(socket),
        Command::Stop => Ok(stop(&socket)),
    }
}

fn run(socket: PathBuf) -> Result<ExitCode, Box<dyn Error>> {
    polecat_common::runtime::hide()?;
    let order = order::read_or_kept(Path::new(KEEPER_DIR), |warning| {
        say(&format!("polecat keeper: {warning}"));
    })?;
    let pod_uid = std::env::var(POD_UID_ENV).map_err(|source| ReadPodUid { source })?;
    let url = format!("http://127.0.0.1:{GIT_PORT}/repo.git");
    let store = Store::open(Path::new(KEEPER_DIR), &url, &order, &pod_uid)?;
    let disk = Disk::of_pod(order.role.disk, limit_of_pod(Path::new(STORAGE_DIR)));
    let keeper = Keeper {
        push_bytes: AtomicU64::new(push_bytes(&order)),
        order,
        store,
        work_tree: REPO_DIR.into(),
        volumes: [WORKSPACE_DIR, TMP_DIR, HOME_DIR].map(PathBuf::from).to_vec(),
        socket,
        port: GIT_PORT,
        end: End::new(TERMINATION_LOG.into()),
    };
    let ending = polecat_common::runtime::of_a_sidecar()?.block_on(Arc::new(keeper).serve(disk))?;
    Ok(match ending {
        Ending::Whole => ExitCode::SUCCESS,
        Ending::InPart(_) => ExitCode::from(KEEPER_SAVED_IN_PART),
        Ending::Failed(_) => ExitCode::FAILURE,
    })
}

/// The most bytes of new files in one push. A pack has headers, and a file may grow a little where it is compressed.
fn push_bytes(order: &WorkOrder) -> u64 {
    order.role.git.max_push_bytes / 16 * 15
}

/// A hook that fails only delays the end of the pod, so it never does; the keeper's own log says what became of it.
fn stop(socket: &Path) -> ExitCode {
    let patience =
        order::read_or_kept(Path::new(KEEPER_DIR), |_| ()).map_or(120, |order| order.limits.grace_seconds);
    match requests::ask(socket, Duration::from_secs(patience)) {
        Ok(answer) => say(&answer),
        Err(error) => say(&format!("polecat keeper stop: {error}")),
    }
    ExitCode::SUCCESS
}

/// Paths of git are bytes, as those of Linux are.
fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
