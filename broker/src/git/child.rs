//! How the broker runs git: an environment of its own making, bounded output, bounded time.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// The most of git's standard error that is kept: its end says what failed.
const MAX_STDERR: usize = 16 * 1024;

/// Why git could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunGit {
    /// It could not be started.
    #[error("failed to start {command}; the image must have git")]
    Start {
        /// What was run.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its pipes broke.
    #[error("failed to read what {command} wrote")]
    ReadOutput {
        /// What was run.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("{command} took longer than {seconds} s")]
    AwaitEnd {
        /// What was run.
        command: String,
        /// The limit.
        seconds: u64,
    },
    /// It wrote too much.
    #[error("{command} wrote more than {limit} bytes")]
    BoundOutput {
        /// What was run.
        command: String,
        /// The limit.
        limit: usize,
    },
    /// It failed where it should not.
    #[error("{command} failed: {stderr}")]
    Succeed {
        /// What was run.
        command: String,
        /// The end of its standard error.
        stderr: String,
    },
}

/// What git did.
#[derive(Debug)]
pub struct Finished {
    /// The command, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// The trimmed output of a run that succeeded.
    pub fn success(self) -> Result<String, RunGit> {
        if self.status.success() {
            Ok(String::from_utf8_lossy(&self.stdout).trim().to_owned())
        } else {
            Err(RunGit::Succeed {
                command: self.command,
                stderr: self.stderr.trim().to_owned(),
            })
        }
    }
}

/// The broker's repository and how git is run in it.
#[derive(Clone, Debug)]
pub struct Git {
    /// The bare repository.
    pub repo: PathBuf,
    /// `HOME` of every child: a folder that only the broker sees.
    pub home: PathBuf,
    /// Where objects go that the repository has not taken yet, if this is about such.
    pub quarantine: Option<PathBuf>,
}

/// Bounds of one run.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most bytes of standard output.
    pub stdout: usize,
    /// The longest time.
    pub time: Duration,
}

/// For local questions with short answers.
pub const LOCAL: Bounds = Bounds {
    stdout: 256 * 1024,
    time: Duration::from_mins(5),
};

impl Git {
    /// git with the environment of pod.md, "Git, in the broker": no configuration but the repository's, no prompts, no replace refs, no
    /// more memory for one object than 64 MiB (a push of 16 KB took index-pack to 1 GiB without that).
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("git");
        command.args(args);
        self.scrub(&mut command);
        command
    }

    /// Gives `command` the environment of [`Self::command`].
    pub fn scrub(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        command.env_clear().envs([
            ("PATH", path.as_os_str()),
            ("HOME", self.home.as_os_str()),
            ("GIT_DIR", self.repo.as_os_str()),
        ]);
        command.envs([
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_ALLOC_LIMIT", "64m"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
        ]);
        if let Some(quarantine) = &self.quarantine {
            command.env("GIT_OBJECT_DIRECTORY", quarantine);
            command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.repo.join("objects"));
        }
        command.current_dir(&self.home);
        // A group of its own, so that what git starts (ssh, index-pack) ends with it.
        command.process_group(0).kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Runs git on a local question and returns its trimmed output.
    pub async fn ask<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String, RunGit> {
        run(self.command(args), b"", LOCAL).await?.success()
    }
}

/// Runs `command` with `input` on its standard input.
pub async fn run(mut command: Command, input: &[u8], bounds: Bounds) -> Result<Finished, RunGit> {
    let name = name_of(&command);
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = spawn(command)?;
    let group = Group::of(&child);
    let work = async {
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A git that ends without reading all of it says why on its standard error.
                drop(stdin.write_all(input).await);
            }
        };
        let stdout = read_bounded(child.stdout.take(), bounds.stdout);
        let stderr = read_tail(child.stderr.take());
        let ((), stdout, stderr) = tokio::join!(feed, stdout, stderr);
        let fail = |source| RunGit::ReadOutput {
            command: name.clone(),
            source,
        };
        let stdout = stdout.map_err(fail)?.ok_or_else(|| RunGit::BoundOutput {
            command: name.clone(),
            limit: bounds.stdout,
        })?;
        let stderr = stderr.map_err(fail)?;
        let status = child.wait().await.map_err(fail)?;
        Ok(Finished {
            command: name.clone(),
            status,
            stdout,
            stderr,
        })
    };
    let outcome = tokio::time::timeout(bounds.time, work).await;
    if !matches!(outcome, Ok(Ok(_))) {
        group.kill();
    }
    outcome.unwrap_or_else(|_| {
        Err(RunGit::AwaitEnd {
            command: name.clone(),
            seconds: bounds.time.as_secs(),
        })
    })
}

/// Starts `command`.
pub fn spawn(mut command: Command) -> Result<Child, RunGit> {
    command.spawn().map_err(|source| RunGit::Start {
        command: name_of(&command),
        source,
    })
}

/// The process group of a child.
#[derive(Clone, Copy, Debug)]
pub struct Group(Option<rustix::process::Pid>);

impl Group {
    /// The group that [`Git::scrub`] gave `child`.
    pub fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    /// Kills all of it.
    pub fn kill(self) {
        if let Some(pid) = self.0 {
            let killed = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            // A group that is gone already is what is wanted.
            if let Err(error) = killed.or_else(|error| match error {
                rustix::io::Errno::SRCH => Ok(()),
                error => Err(error),
            }) {
                tracing::warn!(%error, "failed to kill git");
            }
        }
    }
}

/// The command with its arguments; no credential ever stands in one.
fn name_of(command: &Command) -> String {
    let command = command.as_std();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let mut name = program.to_string_lossy().into_owned();
    for arg in command.get_args().take(12) {
        name.push(' ');
        name.push_str(&arg.to_string_lossy());
    }
    gastown_api::evidence::truncate(&mut name, 200);
    name
}

/// None: there was more than `limit`.
async fn read_bounded(
    stream: Option<impl AsyncRead + Unpin>,
    limit: usize,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        stream
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .await?;
    }
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// The last [`MAX_STDERR`] bytes of `stream`, read to its end so that the child never blocks on it.
pub async fn read_tail(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut tail = Vec::new();
    let mut chunk = [0; 4096];
    if let Some(mut stream) = stream {
        loop {
            let count = stream.read(&mut chunk).await?;
            if count == 0 {
                break;
            }
            tail.extend_from_slice(&chunk[..count]);
            if tail.len() > MAX_STDERR {
                tail.drain(..tail.len() - MAX_STDERR);
            }
        }
    }
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(dir: &Path) -> Git {
        Git {
            repo: dir.to_owned(),
            home: dir.to_owned(),
            quarantine: None,
        }
    }

    fn shell(dir: &Path, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        git(dir).scrub(&mut command);
        command
    }

    #[tokio::test]
    async fn a_child_sees_nothing_of_the_brokers_environment() {
        let dir = tempfile::tempdir().unwrap();
        let seen = run(shell(dir.path(), "env"), b"", LOCAL)
            .await
            .unwrap()
            .success()
            .unwrap();
        let mut names: Vec<&str> = seen.lines().filter_map(|line| line.split('=').next()).collect();
        names.retain(|name| !["_", "PWD", "OLDPWD", "SHLVL", "PATH", "HOME", "LC_ALL"].contains(name));
        assert!(names.iter().all(|name| name.starts_with("GIT_")), "{names:?}");
    }

    #[tokio::test]
    async fn output_and_time_are_bounded_and_the_group_ends() {
        let dir = tempfile::tempdir().unwrap();
        let bounds = Bounds {
            stdout: 1000,
            time: Duration::from_secs(1),
        };
        let loud = run(shell(dir.path(), "yes"), b"", bounds).await;
        assert!(matches!(loud, Err(RunGit::BoundOutput { .. })), "{loud:?}");
        let pid = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", pid.display());
        let slow = run(shell(dir.path(), &script), b"", bounds).await;
        assert!(matches!(slow, Err(RunGit::AwaitEnd { .. })), "{slow:?}");
        let pid = std::fs::read_to_string(pid).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z"), "{stat}");
    }

    #[tokio::test]
    async fn a_failure_shows_the_command_and_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = git(dir.path())
            .ask(["rev-parse", "HEAD"])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("git rev-parse HEAD") && error.contains("not a git repository"),
            "{error}"
        );
    }
}
