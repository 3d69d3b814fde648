//! Runs the plugin and writes down what it did; what differs from run to run is replaced by a word.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The plugin that was built for this test.
pub const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-gt");

/// A series of commands.
pub struct Transcript {
    name: &'static str,
    text: String,
    /// Set for every command.
    environment: Vec<(String, String)>,
    /// Texts that differ from run to run, and the word for each.
    words: Vec<(String, String)>,
}

impl Transcript {
    /// The transcript of that name, in a namespace of the same name.
    pub fn new(name: &'static str) -> Self {
        let kubeconfig = std::env::var("KUBECONFIG")
            .expect("KUBECONFIG names no API server: run `cargo xtask test plugin`");
        let config = kube::config::Kubeconfig::read_from(&kubeconfig).unwrap();
        let servers = config
            .clusters
            .into_iter()
            .filter_map(|named| named.cluster?.server);
        let mut words: Vec<_> = servers
            .map(|server| {
                (
                    server.trim_end_matches('/').to_owned(),
                    "https://SERVER".to_owned(),
                )
            })
            .collect();
        words.push((kubeconfig, "KUBECONFIG".to_owned()));
        Self {
            name,
            text: String::new(),
            environment: Vec::new(),
            words,
        }
    }

    /// Sets a variable for the commands that follow.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Shows `text` as `word`.
    pub fn word(&mut self, text: &str, word: &str) {
        self.words.insert(0, (text.to_owned(), word.to_owned()));
    }

    /// Runs a command line; words in single quotes are one argument.
    pub fn run(&mut self, line: &str) -> Output {
        self.run_with(line, b"")
    }

    /// Runs a command line with something on its standard input.
    pub fn run_with(&mut self, line: &str, input: &[u8]) -> Output {
        let mut child = self.start(line, Stdio::piped());
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        self.write(line, &output);
        output
    }

    /// Starts a command line without waiting for it.
    pub fn start(&self, line: &str, stdout: Stdio) -> Child {
        self.command(line)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PLUGIN);
        command
            .args(split(line))
            // Of whoever runs the tests only the cluster: a plugin reads home folders, proxies and terminals from it.
            .env_clear()
            .envs(std::env::var_os("KUBECONFIG").map(|path| ("KUBECONFIG", path)))
            .env("PATH", "/usr/bin:/bin")
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Writes down what a command did.
    pub fn write(&mut self, line: &str, output: &Output) {
        let code = output
            .status
            .code()
            .map_or_else(|| "ended by a signal".to_owned(), |code| code.to_string());
        for part in ["$ kubectl gt ", line, "\n[exit ", &code, "]\n"] {
            self.text.push_str(part);
        }
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains("panicked"), "{line}: {text}");
            for each in text.lines() {
                self.text.push_str(format!("{name}: {each}").trim_end());
                self.text.push('\n');
            }
        }
        self.text.push('\n');
        let failed = !output.status.success() && output.status.code() != Some(141);
        assert!(
            !failed || !output.stderr.is_empty(),
            "{line}: failed without a word"
        );
    }

    /// Compares with the snapshot.
    pub fn end(self) {
        let mut text = self.text;
        for (from, to) in &self.words {
            text = text.replace(from, to);
        }
        let text = redact(&text);
        let path = snapshot(self.name);
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
            return;
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        if wanted != text {
            let first = wanted.lines().zip(text.lines()).position(|(a, b)| a != b);
            let at = first.unwrap_or_else(|| wanted.lines().count().min(text.lines().count()));
            let around = |text: &str| {
                text.lines()
                    .skip(at.saturating_sub(4))
                    .take(9)
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            panic!(
                "{} differs from line {}:\n--- wanted\n{}\n--- found\n{}\n(UPDATE_TRANSCRIPTS=1 writes it anew)",
                path.display(),
                at + 1,
                around(&wanted),
                around(&text)
            );
        }
    }
}

fn snapshot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/transcript/snapshots/{name}.txt"))
}

fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Times, ages, versions of objects and UIDs.
fn redact(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.contains("\"resourceVersion\":") {
            continue;
        }
        let words: Vec<String> = line.split(' ').map(redact_word).collect();
        let mut line = words.join(" ").trim_end().to_owned();
        // What stands around an age in a table moves with its width.
        for (wide, narrow) in [("AGE  ", "AGE "), ("  AGE", " AGE")] {
            while line.contains(wide) {
                line = line.replace(wide, narrow);
            }
        }
        lines.push(line);
    }
    lines.push(String::new());
    lines.join("\n")
}

fn redact_word(word: &str) -> String {
    let core = word.trim_matches(|c: char| "\",.:;()'{}[]".contains(c));
    let is_time = core.len() >= 20
        && core.as_bytes().get(4) == Some(&b'-')
        && core.ends_with('Z')
        && core.contains('T');
    let is_uid = core.len() == 36 && core.matches('-').count() == 4;
    let is_version = core.starts_with("v1.") && core.matches('.').count() == 2;
    let number = core.strip_suffix(['s', 'm', 'h', 'd']).unwrap_or_default();
    let is_age = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let kind = match () {
        () if is_time => "TIME",
        () if is_uid => "UID",
        () if is_version => "VERSION",
        () if is_age => "AGE",
        () => return word.to_owned(),
    };
    word.replace(core, kind)
}
