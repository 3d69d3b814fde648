//! One way to run the git binary: nothing of the surrounding environment, no system or global configuration, output
//! bounded, time bounded, and errors that show the command and what git said.

mod child;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub use child::{Child, RunGit};

/// The most bytes of standard output that [`Git::run`] keeps; more is an error, since half an answer is a wrong one.
pub const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// Variables of the surrounding process that git needs: where programs, the home folder and scratch space are.
const INHERITED: &[&str] = &["PATH", "HOME", "TMPDIR"];

/// How git is to be run; each method gives a changed copy, so that a base can be kept and varied.
#[derive(Clone, Debug)]
pub struct Git {
    directory: PathBuf,
    options: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    limit: Duration,
}

impl Git {
    /// Git run in `directory`, for at most a minute a command.
    #[must_use]
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            options: Vec::new(),
            environment: Vec::new(),
            limit: Duration::from_mins(1),
        }
    }

    /// Adds `-c setting`, such as `gc.auto=0`.
    #[must_use]
    pub fn config(mut self, setting: &str) -> Self {
        self.options.extend(["-c".into(), setting.into()]);
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Names the repository instead of having git look for it.
    #[must_use]
    pub fn repository(self, git_dir: impl AsRef<OsStr>) -> Self {
        self.env("GIT_DIR", git_dir)
    }

    /// Changes the directory.
    #[must_use]
    pub fn within(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Sets how long a command may take before its process group is killed.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command, not yet started; for callers that run it with another runtime.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new("git");
        command.env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .args(&self.options)
            .args(arguments);
        command
    }

    /// Starts a command whose pipes the caller serves.
    pub fn start<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
        stdin: Stdio,
        stdout: Stdio,
    ) -> Result<Child, RunGit> {
        Child::start(self.command(arguments), stdin, stdout, self.limit)
    }

    /// Runs a command to its end and gives its standard output; every exit code but 0 is an error.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Vec<u8>, RunGit> {
        let mut child = self.start(arguments, Stdio::null(), Stdio::piped())?;
        let output = child.collect(MAX_OUTPUT)?;
        child.finish()?;
        Ok(output)
    }

    /// Runs a command to its end and gives its standard output as text without the last line break.
    pub fn text<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<String, RunGit> {
        let output = self.run(arguments)?;
        let text = String::from_utf8_lossy(&output);
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// Runs a command that answers yes by exit code 0 and no by 1.
    pub fn asks<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<bool, RunGit> {
        match self.run(arguments) {
            Ok(_) => Ok(true),
            Err(RunGit::Fail { code: Some(1), .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Runs a command that reads `input`; for small inputs, written before any output is read.
    pub fn feed<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Result<Vec<u8>, RunGit> {
        let mut child = self.start(arguments, Stdio::piped(), Stdio::piped())?;
        if let Some(mut stdin) = child.stdin() {
            let written = stdin.write_all(input);
            child.blame(written)?;
        }
        let output = child.collect(MAX_OUTPUT)?;
        child.finish()?;
        Ok(output)
    }

    /// Runs a command and hands each record that ends with `separator` to `each`, without keeping the output.
    pub fn records<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
        separator: u8,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), RunGit> {
        let mut child = self.start(arguments, Stdio::null(), Stdio::piped())?;
        child.records(separator, &mut each)?;
        child.finish()
    }
}

/// Where `core.worktree` leads the repository `git_dir`, if that is not `folder`: its index then tells of another folder's
/// files. Linked work trees go by a setting of their own alone (`config.worktree`), as git does.
pub fn work_tree_elsewhere(git: &Git, git_dir: &Path, folder: &Path) -> Result<Option<PathBuf>, RunGit> {
    let ask = [
        "config",
        "-z",
        "--show-scope",
        "--type=path",
        "--get",
        "core.worktree",
    ];
    let answer = match git.run(&ask) {
        Ok(answer) => answer,
        Err(RunGit::Fail { code: Some(1), .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut fields = answer.split(|byte| *byte == 0);
    let (scope, value) = (
        fields.next().unwrap_or_default(),
        fields.next().unwrap_or_default(),
    );
    let is_linked = git_dir.join("commondir").exists();
    let place = git_dir.join(OsStr::from_bytes(value));
    let same = || Some(place.canonicalize().ok()? == folder.canonicalize().ok()?);
    let counts = scope == b"worktree" || !is_linked;
    Ok((counts && same() != Some(true)).then_some(place))
}

/// Between two tries while the broker is away, and how many there are.
const PAUSE: Duration = Duration::from_secs(1);
const TRIES: u32 = 5;

/// Talks to the broker, and tries again while it is starting or being restarted.
pub fn patiently<T>(deadline: Instant, mut act: impl FnMut() -> Result<T, RunGit>) -> Result<T, RunGit> {
    let mut tries = 1;
    loop {
        match act() {
            Err(RunGit::Fail { words, .. })
                if tries < TRIES && is_away(&words) && Instant::now() + PAUSE < deadline =>
            {
                tries += 1;
                thread::sleep(PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Whether git's words (of libcurl, in the C locale) say that nobody listens, or that the broker answered 503.
fn is_away(words: &str) -> bool {
    ["Failed to connect", "Couldn't connect", "error: 503"]
        .iter()
        .any(|away| words.contains(away))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_command_and_words() {
        let error = Git::at("/")
            .run(&["rev-parse", "--verify", "nothing"])
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("rev-parse --verify nothing"), "{text}");
        assert!(text.contains("not a git repository"), "{text}");
    }

    #[test]
    fn nothing_of_the_environment_reaches_git() {
        let directory = tempfile::tempdir().unwrap();
        let git = Git::at(directory.path());
        git.run(&["init", "--quiet"]).unwrap();
        let listing = git
            .text(&["config", "--list", "--show-origin", "--name-only"])
            .unwrap();
        assert!(
            listing.lines().all(|line| line.starts_with("file:.git/config")),
            "{listing}"
        );
        let words = git.config("alias.show-env=!env").text(&["show-env"]).unwrap();
        assert!(!words.contains("CARGO"), "{words}");
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let started = Instant::now();
        let git = Git::at("/").limit(Duration::from_millis(300));
        let error = git
            .config("alias.hang=!sleep 60 & sleep 60")
            .run(&["hang"])
            .unwrap_err();
        assert!(matches!(error, RunGit::TimeOut { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn an_orphan_that_keeps_the_error_pipe_open_holds_nothing_up() {
        let started = Instant::now();
        let git = Git::at("/").config("alias.leave=!setsid sleep 30 >/dev/null & true");
        git.run(&["leave"]).unwrap();
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn records_are_split_and_a_long_one_is_refused() {
        let git = Git::at("/").config("alias.three=!printf 'a\\0bb\\0ccc'");
        let mut seen = Vec::new();
        git.records(&["three"], 0, |record| seen.push(record.to_vec()))
            .unwrap();
        assert_eq!(seen, [b"a".to_vec(), b"bb".to_vec(), b"ccc".to_vec()]);
        let git = Git::at("/").config("alias.long=!head -c 200000 /dev/zero");
        let error = git.records(&["long"], b'\n', |_| ()).unwrap_err();
        assert!(matches!(error, RunGit::LongRecord { .. }), "{error}");
    }

    #[test]
    fn what_is_fed_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let git = Git::at(directory.path());
        git.run(&["init", "--quiet"]).unwrap();
        let id = git.feed(&["hash-object", "--stdin"], b"").unwrap();
        assert_eq!(id, b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n");
        assert!(!git.asks(&["config", "--get", "no.such"]).unwrap());
    }
}
