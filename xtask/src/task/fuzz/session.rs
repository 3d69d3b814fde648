//! One target, run until it has had its CPU time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::Command;
use crate::workspace;

/// What libFuzzer ends with when it is interrupted: that is how a session without a crash ends.
const INTERRUPTED: i32 = 72;

/// How often the CPU time is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A target, its inputs, and where it puts what it finds.
#[derive(Debug)]
pub struct Session {
    pub program: PathBuf,
    /// What is kept in the repository.
    pub kept: PathBuf,
    /// What this machine has found.
    pub found: PathBuf,
    words: PathBuf,
    artifacts: PathBuf,
}

/// How a session ended.
#[derive(Debug)]
pub struct Ended {
    status: ExitStatus,
    seconds: f64,
}

impl Session {
    /// The session of the target `name` in `tests/fuzz`.
    pub fn new(folder: &Path, program: &Path, name: &str) -> Self {
        let work = workspace::root().join("target/fuzz").join(name);
        Self {
            program: program.to_owned(),
            kept: folder.join("corpus").join(name),
            found: work.join("found"),
            words: folder.join("words").join(format!("{name}.dict")),
            artifacts: work.join("artifacts"),
        }
    }

    /// Runs until a crash, or until `limit` of CPU time is used.
    pub fn run(&self, limit: Duration) -> Result<Ended> {
        for folder in [&self.kept, &self.found, &self.artifacts] {
            fs_err::create_dir_all(folder)?;
        }
        let fuzz = self.command().arg(&self.found).arg(&self.kept);
        let mut child = fuzz
            .into_inner()
            .spawn()
            .with_context(|| format!("failed to start {:?}", self.program))?;
        let mut used = Duration::ZERO;
        loop {
            if let Some(status) = child.try_wait()? {
                let seconds = used.as_secs_f64();
                return Ok(Ended { status, seconds });
            }
            used = cpu_time(&child).unwrap_or(used);
            if used >= limit {
                interrupt(&child);
            }
            thread::sleep(LOOK);
        }
    }

    /// libFuzzer with the bounds that hold for every input: ten seconds, 1 GiB, 64 KiB.
    pub fn command(&self) -> Command {
        let flag = |name: &str, path: &Path| format!("-{name}={}", path.display());
        Command::new(&self.program)
            .args([
                "-timeout=10",
                "-rss_limit_mb=1024",
                "-max_len=65536",
                "-print_final_stats=1",
            ])
            .arg(flag("dict", &self.words))
            .arg(flag("artifact_prefix", &self.artifacts.join("")))
    }
}

impl Ended {
    /// Whether it found an input that crashes, hangs or eats memory.
    pub fn is_broken(&self) -> bool {
        self.status.code() != Some(INTERRUPTED)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = if self.is_broken() {
            self.status.to_string()
        } else {
            "0 crashes".to_owned()
        };
        write!(f, "{:.1} CPU minutes, {found}", self.seconds / 60.0)
    }
}

/// The nanoseconds that the process' one working thread has run, as the scheduler counts them.
fn cpu_time(child: &Child) -> Option<Duration> {
    let text = fs_err::read_to_string(format!("/proc/{}/schedstat", child.id())).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn interrupt(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ended_by_itself = kill_process(pid, Signal::INT);
    }
}
