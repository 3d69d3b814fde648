//! Progress lines on standard error, so that standard output stays for results.
//!
//! A thread may work for a job (see [`crate::jobs`]): then its lines carry the job's name, and what its programs print
//! goes to the job's log.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How long the screen may stay as it is while something runs.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// When this program started.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// When the last line was printed, in milliseconds since [`START`].
static LAST_LINE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static CURRENT: RefCell<Option<Arc<Log>>> = const { RefCell::new(None) };
}

/// The log of a job.
#[derive(Debug)]
pub struct Log {
    name: String,
    path: PathBuf,
    file: File,
}

/// The job that a thread works for, if any; to be handed to the threads that it starts.
#[derive(Debug, Clone)]
pub struct Context(Option<Arc<Log>>);

impl Log {
    /// An empty log at `path`.
    pub fn create(name: &str, path: PathBuf) -> Result<Arc<Self>> {
        let file = File::create(&path)
            // Several write to it, each at its end.
            .and_then(|_| File::options().append(true).open(&path))
            .with_context(|| format!("failed to create {path:?}"))?;
        let name = name.to_owned();
        Ok(Arc::new(Self { name, path, file }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its last `count` lines.
    pub fn tail(&self, count: usize) -> Vec<String> {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let start = lines.len().saturating_sub(count);
        lines[start..].iter().map(|line| (*line).to_owned()).collect()
    }

    /// Adds a line.
    fn add(&self, line: &str) {
        // A log that cannot be written must not end the work: the line is on the screen too.
        let _ = writeln!(&self.file, "{line}");
    }
}

impl Context {
    /// The context of this thread.
    pub fn current() -> Self {
        Self(CURRENT.with_borrow(Clone::clone))
    }

    /// The context of a job with that log.
    pub fn of(log: &Arc<Log>) -> Self {
        Self(Some(Arc::clone(log)))
    }

    /// Does `work` in this context.
    pub fn enter<T>(self, work: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(self.0);
        let result = work();
        CURRENT.set(before);
        result
    }
}

/// Starts a thread that works for the same job as this one.
pub fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    let context = Context::current();
    scope.spawn(move || context.enter(work))
}

/// Prints one progress line.
pub fn say(line: impl AsRef<str>) {
    let line = line.as_ref();
    match Context::current().0 {
        Some(log) => {
            log.add(line);
            print(&format!("· [{}] {line}", log.name));
        }
        None => print(&format!("· {line}")),
    }
}

/// Adds a line to the job's log; on the screen where there is no job.
pub fn record(line: &str) {
    match Context::current().0 {
        Some(log) => log.add(line),
        None => println!("{line}"),
    }
}

/// Whether this thread works for a job, whose programs print into a log.
pub fn is_logged() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

fn print(line: &str) {
    eprintln!("{line}");
    let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
    LAST_LINE.store(now, Ordering::Relaxed);
}

/// How long ago the last line was printed.
pub fn silence() -> Duration {
    let last = Duration::from_millis(LAST_LINE.load(Ordering::Relaxed));
    START.elapsed().saturating_sub(last)
}

/// Where a program that inherits an output of ours prints: into the job's log, or on ours.
pub fn output() -> Result<Stdio> {
    match Context::current().0 {
        Some(log) => Ok(log.file.try_clone().context("failed to share a log")?.into()),
        None => Ok(Stdio::inherit()),
    }
}

/// Carries out `work`, says what it is, that it still runs every 10 seconds, and how long it took.
///
/// `what` completes "failed to …" as well as "… took 3.2 s": `build kubectl`. Of a job it is the job runner that says
/// that it still runs.
pub fn step<T>(what: impl AsRef<str>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let what = what.as_ref();
    let start = Instant::now();
    say(format!("{what} …"));
    let result = if is_logged() {
        work()
    } else {
        with_heartbeat(what, start, work)
    };
    let value = result.with_context(|| format!("failed to {what}"))?;
    say(format!("{what}: {:.1} s", start.elapsed().as_secs_f64()));
    Ok(value)
}

fn with_heartbeat<T>(what: &str, start: Instant, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
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
    })
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

    #[test]
    fn a_thread_of_a_job_writes_into_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create("forge", folder.path().join("forge.log")).unwrap();
        Context::of(&log).enter(|| {
            say("light the fire");
            thread::scope(|scope| spawn(scope, || record("from a thread")).join().unwrap());
        });
        assert_eq!(log.tail(5), ["light the fire", "from a thread"]);
        assert_eq!(log.tail(1), ["from a thread"]);
        assert!(!is_logged());
    }
}
