//! A person's shell: `kubectl gt` on its PATH, a home folder of its own, and the cluster of the tests.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Where the system's own programs are. What a person has installed beside them, such as a plugin of another version
/// in `~/.cargo/bin`, is not part of a test.
const SYSTEM: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// What a shell of the tests is told of the machine: where the cluster is. The rest of the environment stays outside.
const INHERITED: [&str; 1] = ["KUBECONFIG"];

/// How long a command may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// A shell.
pub struct Shell {
    home: TempDir,
    path: OsString,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// What was typed.
    pub line: String,
    /// The exit code; none: a signal ended it.
    pub code: Option<i32>,
    /// Standard output; of a terminal, all that it showed.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Shell {
    /// A shell in an empty home folder.
    ///
    /// # Panics
    /// Without `GASTOWN_PROGRAMS`, the folders with kubectl, helm and the plugin.
    #[must_use]
    pub fn open() -> Self {
        let programs = std::env::var_os("GASTOWN_PROGRAMS").unwrap_or_else(|| {
            panic!("GASTOWN_PROGRAMS is not set: run `cargo xtask test e2e`, which builds the plugin")
        });
        let folders = std::env::split_paths(&programs).chain(std::env::split_paths(SYSTEM));
        Self {
            home: tempfile::tempdir().unwrap(),
            path: std::env::join_paths(folders).unwrap(),
        }
    }

    /// The home folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file below the home folder, readable by its owner only, as ssh wants it.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.home().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Runs a line.
    pub async fn run(&self, line: &str) -> Ran {
        let child = self.start(line);
        finish(line, child, "").await
    }

    /// Runs a line in a terminal, and types `answer`.
    pub async fn run_in_terminal(&self, line: &str, answer: &str) -> Ran {
        let inner = format!("stty -echo cols 80 rows 40; {line}");
        let mut script = self.command("script");
        script.args(["--quiet", "--return", "--command", &inner, "/dev/null"]);
        finish(line, spawn(script), answer).await
    }

    /// Starts a line without waiting for it.
    #[must_use]
    pub fn start(&self, line: &str) -> Child {
        let mut bash = self.command("bash");
        // The shell becomes the last command of a line, so that a signal reaches that.
        bash.args(["-c", line]);
        spawn(bash)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let inherited = INHERITED
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        command
            .env_clear()
            .envs(inherited)
            .env("PATH", &self.path)
            .env("HOME", self.home())
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/bash")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        command
    }
}

fn spawn(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("failed to start {command:?}: {error}"))
}

/// Waits for the end of a line that was started.
pub async fn finish(line: &str, mut child: Child, input: &str) -> Ran {
    let mut stdin = child.stdin.take().unwrap();
    // One that ends without reading is told by its output.
    let _ = stdin.write_all(input.as_bytes()).await;
    // A terminal that is closed would end the command: it stays open until it has ended.
    let waiting = tokio::time::timeout(PATIENCE, child.wait_with_output());
    let output = waiting
        .await
        .unwrap_or_else(|_| panic!("`{line}` did not end within {} s", PATIENCE.as_secs()))
        .unwrap();
    drop(stdin);
    Ran::of(line, &output)
}

impl Ran {
    fn of(line: &str, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        Self {
            line: line.to_owned(),
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The same, if the exit code is 0.
    #[must_use]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// The same, if the exit code is that.
    ///
    /// # Panics
    /// When it is another one.
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "$ {}\n{}\n--\n{}",
            self.line,
            self.stdout,
            self.stderr
        );
        self
    }

    /// The same, if `text` stands in what was printed or said.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{text:?} is not in\n$ {}\n{}\n--\n{}",
            self.line,
            self.stdout,
            self.stderr
        );
        self
    }
}
