//! Progress lines on standard error, so that standard output stays for results.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How long a step may be silent before it says that it still runs.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Prints one progress line.
pub fn say(line: impl AsRef<str>) {
    eprintln!("· {}", line.as_ref());
}

/// Carries out `work`, says what it is, that it still runs every 15 seconds, and how long it took.
///
/// `what` completes "failed to …" as well as "… took 3.2 s": `build kubectl`.
pub fn step<T>(what: impl AsRef<str>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let what = what.as_ref();
    let start = Instant::now();
    say(format!("{what} …"));
    let result = thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        scope.spawn(move || {
            while waiting.recv_timeout(HEARTBEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                say(format!(
                    "{what}: still at it after {} s",
                    start.elapsed().as_secs()
                ));
            }
        });
        let result = work();
        drop(done);
        result
    });
    let value = result.with_context(|| format!("failed to {what}"))?;
    say(format!("{what}: {:.1} s", start.elapsed().as_secs_f64()));
    Ok(value)
}

/// Asks `ready` every `interval` until it says yes, for at most `limit`.
pub fn wait_until(
    what: &str,
    limit: Duration,
    interval: Duration,
    mut ready: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    while !ready()? {
        anyhow::ensure!(
            start.elapsed() < limit,
            "{what} did not happen within {} s",
            limit.as_secs()
        );
        thread::sleep(interval);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_says_what_it_was() {
        let error = step("bend iron", || -> Result<()> { anyhow::bail!("too cold") }).unwrap_err();
        assert_eq!(format!("{error:#}"), "failed to bend iron: too cold");
    }

    #[test]
    fn waiting_ends_at_its_limit() {
        let error = wait_until("spring", Duration::ZERO, Duration::ZERO, || Ok(false)).unwrap_err();
        assert_eq!(error.to_string(), "spring did not happen within 0 s");
    }
}
