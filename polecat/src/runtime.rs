//! The runtime of the sidecars, which go on when the agent has used up the processes and threads that the pod may have.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;

/// Threads for what blocks: looks at volumes, walks of the work tree, names of hosts.
const BLOCKING: usize = 4;

/// Longer than any pod lives.
const ALWAYS: Duration = Duration::from_hours(24 * 365);

/// One thread, and others for what blocks. The first of those is made now and kept: without any, a task that needs one
/// would panic where none can be made; with one, it waits its turn.
pub fn of_a_sidecar() -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(ALWAYS)
        .build()?;
    runtime.block_on(async { spawn_blocking(|| ()).await })?;
    Ok(runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks_finds_the_thread_that_was_made_at_the_start() {
        let runtime = of_a_sidecar().unwrap();
        let name = || std::thread::current().id();
        let (first, second) = runtime.block_on(async {
            let first = spawn_blocking(name).await.unwrap();
            (first, spawn_blocking(name).await.unwrap())
        });
        assert_eq!(first, second);
    }
}
