//! The one way to run another program: every failure shows a line that can be pasted into a shell.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::progress;

/// The key that signs releases and its password: no program that is started here needs them, least of all a build script.
pub const SECRETS: [&str; 2] = ["COSIGN_PRIVATE_KEY", "COSIGN_PASSWORD"];

/// A program to run, with its arguments and environment.
pub struct Command {
    inner: std::process::Command,
    input: Input,
}

/// What a program reads on its standard input.
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(fs_err::File),
}

impl Command {
    /// A command that runs `program`, found on the `PATH` unless it is a path.
    ///
    /// What the cargo that runs xtask says of xtask stays here: a cargo below would hand it to build scripts, and those
    /// that watch it (ring's) would run, and all above them be compiled, again with each change from this cargo to one
    /// that a shell starts, and back.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut inner = std::process::Command::new(program);
        for (name, _) in std::env::vars_os() {
            if describes_a_package(&name) || SECRETS.iter().any(|secret| name == *secret) {
                inner.env_remove(name);
            }
        }
        Self {
            inner,
            input: Input::Nothing,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.inner.arg(arg);
        self
    }

    /// Adds several arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.inner.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(key, value);
        self
    }

    /// Runs in `dir`.
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Bytes to write to the program's standard input.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(input.into());
        self
    }

    /// A file that the program reads as its standard input.
    pub fn input_file(mut self, path: &Path) -> Result<Self> {
        self.input = Input::File(fs_err::File::open(path)?);
        Ok(self)
    }

    /// Runs with the output of this thread (see [`progress::output`]) and fails unless the program succeeds.
    pub fn run(mut self) -> Result<()> {
        let stdin = self.stdin();
        self.inner.stdin(stdin);
        if progress::is_logged() {
            self.inner.stdout(progress::output()?).stderr(progress::output()?);
        }
        let mut child = self
            .inner
            .spawn()
            .with_context(|| format!("failed to start `{self}`"))?;
        self.feed(&mut child)?;
        let status = child
            .wait()
            .with_context(|| format!("failed to wait for `{self}`"))?;
        self.check(status, "")
    }

    /// Runs with captured output, fails unless the program succeeds, and returns its standard output.
    pub fn output(mut self) -> Result<Vec<u8>> {
        let stdin = self.stdin();
        self.inner
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self
            .inner
            .spawn()
            .with_context(|| format!("failed to start `{self}`"))?;
        self.feed(&mut child)?;
        let output = child
            .wait_with_output()
            .with_context(|| format!("failed to wait for `{self}`"))?;
        self.check(output.status, &String::from_utf8_lossy(&output.stderr))?;
        Ok(output.stdout)
    }

    /// Like [`Self::output`], as text without surrounding white space.
    pub fn text(self) -> Result<String> {
        let shown = self.to_string();
        let text =
            String::from_utf8(self.output()?).with_context(|| format!("`{shown}` printed no UTF-8"))?;
        Ok(text.trim().to_owned())
    }

    /// Runs silently and tells whether the program succeeded; a program that cannot be started did not.
    pub fn succeeds(mut self) -> bool {
        let quiet = self
            .inner
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }

    /// The standard library's command, for callers that keep the process running.
    pub fn into_inner(self) -> std::process::Command {
        self.inner
    }

    /// What [`Self::feed`] has to write stays.
    fn stdin(&mut self) -> Stdio {
        match std::mem::replace(&mut self.input, Input::Nothing) {
            Input::Nothing => Stdio::null(),
            Input::File(file) => file.into_file().into(),
            bytes @ Input::Bytes(_) => {
                self.input = bytes;
                Stdio::piped()
            }
        }
    }

    fn feed(&mut self, child: &mut std::process::Child) -> Result<()> {
        if let (Input::Bytes(input), Some(mut stdin)) = (&self.input, child.stdin.take()) {
            stdin
                .write_all(input)
                .with_context(|| format!("failed to write to `{self}`"))?;
        }
        Ok(())
    }

    fn check(&self, status: ExitStatus, stderr: &str) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let stderr = stderr.trim();
        let detail = if stderr.is_empty() {
            String::new()
        } else {
            format!("\n{stderr}")
        };
        bail!("`{self}` ended with {status}{detail}")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.inner.get_envs() {
            if let Some(value) = value {
                write!(f, "{}={} ", key.display(), quote(value))?;
            }
        }
        write!(f, "{}", quote(self.inner.get_program()))?;
        for arg in self.inner.get_args() {
            write!(f, " {}", quote(arg))?;
        }
        Ok(())
    }
}

/// How long ago the command was typed that this program carries out: cargo, once it has compiled it, becomes it, so the
/// time of compilation counts.
pub fn since_the_command() -> Result<Duration> {
    let stat = fs_err::read_to_string("/proc/self/stat")?;
    let uptime = fs_err::read_to_string("/proc/uptime")?;
    since_start(&stat, &uptime).context("failed to read when this process started")
}

/// `proc_pid_stat(5)`: starttime is field 22, in ticks of a hundredth of a second since boot; fields are counted behind the
/// program's name, which may hold spaces.
fn since_start(stat: &str, uptime: &str) -> Option<Duration> {
    let started: u64 = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()?;
    let now: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = Duration::try_from_secs_f64(now).ok()?;
    Some(now.saturating_sub(Duration::from_millis(started * 10)))
}

/// What cargo sets for a program of the package that it describes:
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html#environment-variables-cargo-sets-for-crates>.
fn describes_a_package(variable: &OsStr) -> bool {
    variable
        .to_str()
        .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_bytes_or_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "from a file").unwrap();
        let cat = || Command::new("cat");
        assert_eq!(cat().input("bytes").text().unwrap(), "bytes");
        assert_eq!(
            cat().input_file(file.path()).unwrap().text().unwrap(),
            "from a file"
        );
        assert_eq!(cat().text().unwrap(), "");
    }

    #[test]
    fn a_program_is_not_told_of_the_package_whose_program_starts_it() {
        // Cargo tells its tests of their package just as it tells xtask.
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let environment = Command::new("env").text().unwrap();
        let told = |line: &&str| line.starts_with("CARGO_PKG_") || line.starts_with("CARGO_MANIFEST_");
        assert_eq!(environment.lines().find(told), None);
        assert!(environment.lines().any(|line| line.starts_with("PATH=")));
    }

    #[test]
    fn no_program_is_told_the_password_of_the_signing_key() {
        // A program below this one, because a test must not change the environment of the others.
        let Some(_) = std::env::var_os(SECRETS[1]) else {
            let this = std::env::current_exe().unwrap();
            let name = "process::tests::no_program_is_told_the_password_of_the_signing_key";
            let test = Command::new(this)
                .args(["--exact", name])
                .env(SECRETS[1], "chrome");
            return test.output().map(drop).unwrap();
        };
        let environment = Command::new("env").text().unwrap();
        assert!(!environment.contains("chrome"), "{environment}");
    }

    #[test]
    fn the_command_was_typed_when_this_process_started() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let since = since_start(stat, "100.50 200.00\n");
        assert_eq!(since, Some(Duration::from_millis(58_080)));
        assert!(since_the_command().unwrap() < Duration::from_hours(1));
    }

    #[test]
    fn a_failing_command_is_shown_so_that_it_can_be_pasted() {
        let error = Command::new("false")
            .arg("it's")
            .env("KEY", "a b")
            .run()
            .unwrap_err();
        assert_eq!(
            format!("{error}"),
            r"`KEY='a b' false 'it'\''s'` ended with exit status: 1"
        );
    }
}
