//! How the processes of a pod are set up: hidden from others of their user, and the runtime of the sidecars, which go on when the agent has used up the processes and threads that the pod may have.

use std::io;
use std::time::Duration;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;

/// Threads for what blocks: looks at volumes, walks of the work tree, names of hosts.
const BLOCKING: usize = 4;

/// Longer than any pod lives.
const ALWAYS: Duration = Duration::from_hours(24 * 365);

/// Keeps other processes of this user from tracing this one and from reading its memory: an agent's child would speak in
/// its place, and who may `exec` into a container would read a key out of it.
pub fn hide() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// One thread, and others for what blocks. The first of those is made now and kept: without any, a task that needs one
/// would panic where none can be made; with one, it waits its turn.
pub fn of_a_sidecar() -> io::Result<Runtime> {
    start(|| ())
}

/// `made` is called in each thread for what blocks.
fn start(made: impl Fn() + Send + Sync + 'static) -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(ALWAYS)
        .on_thread_start(made)
        .build()?;
    runtime.block_on(async { spawn_blocking(|| ()).await })?;
    Ok(runtime)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_hidden_process_cannot_be_dumped_or_traced() {
        use rustix::process::dumpable_behavior;
        let before = dumpable_behavior().unwrap();
        hide().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        set_dumpable_behavior(before).unwrap();
    }

    #[test]
    fn a_thread_for_what_blocks_is_made_at_the_start() {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let count = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let _runtime = start(count).unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }
}
