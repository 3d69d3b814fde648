//! Starts the programs of the images on the images' own libraries, on this processor or, for others, in QEMU's user mode.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use xtask_image::process::Command;
use xtask_image::{Architecture, Definition, Edition, Name, progress, workspace};

use crate::hello::{self, Offer};
use crate::layout::Layout;
use crate::pipeline::Release;
use crate::plan::{IMAGES, Target};
use crate::programs::{self, Facts};

/// The roles of `polecat`, each a container of a pod.
const ROLES: [&str; 4] = ["broker", "keeper", "clone", "run"];

/// A program in an emulator that translates it first needs seconds to say its version.
const PATIENCE: Duration = Duration::from_mins(1);

impl Release {
    /// Tries the programs of a target's images, and writes what was seen: evidence of the FIPS edition by image, and the
    /// predicate of a test result (<https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md>).
    pub fn smoke(&self, target: Target) -> Result<()> {
        let (mut passed, mut evidence) = (Vec::new(), BTreeMap::new());
        for name in IMAGES {
            let image = self.built(name, target)?;
            let folder = tempfile::tempdir().context("failed to make a folder for an image")?;
            let layout = Layout::create(&folder.path().join("layout"))?;
            let manifest = layout.import(&image.archive, &image.digest)?;
            let root = folder.path().join("root");
            let agents = Definition::load(name)?;
            let agents: Vec<_> = agents
                .npm(target.architecture)
                .flat_map(|(_, files)| files.values())
                .collect();
            unpack(&layout, &manifest.digest, &root, &agents)?;
            let tried = Image {
                root,
                target,
                version: &self.plan.version,
            };
            if target.edition == Edition::Fips {
                let program = Definition::load(name)?.binary.name;
                let facts = programs::facts(&self.folder.join(target.programs()), &program)?;
                let mut seen = tried.evidence(&program, &facts)?;
                if name == Name::Operator {
                    // The broker has the same provider, but connects only in a pod.
                    seen["offered"] = json!(tried.offered()?);
                }
                evidence.insert(name.as_str(), seen);
            }
            let found = match name {
                Name::Operator => tried.operator(),
                _ => tried.agent(),
            };
            passed
                .extend(found.with_context(|| format!("image {name} for {}", target.architecture.as_str()))?);
        }
        for line in &passed {
            progress::record(line);
        }
        let how = if target.architecture.is_native() {
            "natively"
        } else {
            "in QEMU's user mode"
        };
        let result = json!({ "fips": evidence, "result": {
            "result": "PASSED",
            "configuration": [{ "name": format!("programs of the images, {how}") }],
            "passedTests": passed,
        } });
        let file = self.folder.join(target.smoke());
        workspace::write_whole(&file, format!("{result:#}\n").as_bytes())
    }
}

/// Unpacks the layers of an image, but for the files `without`: an agent's hundreds of megabytes are not started.
fn unpack(layout: &Layout, digest: &str, root: &Path, without: &[&String]) -> Result<()> {
    fs_err::create_dir_all(root)?;
    let manifest = layout.manifest(digest)?;
    for layer in manifest["layers"].as_array().into_iter().flatten() {
        let bytes = layout.read(layer["digest"].as_str().context("a layer has a digest")?)?;
        let mut archive = tar::Archive::new(GzDecoder::new(&*bytes));
        for entry in archive.entries().context("a layer is damaged")? {
            let mut entry = entry.context("a layer is damaged")?;
            let path = entry.path().context("a layer is damaged")?.into_owned();
            if without
                .iter()
                .any(|file| Path::new(file.trim_start_matches('/')) == path)
            {
                continue;
            }
            entry
                .unpack_in(root)
                .with_context(|| format!("failed to unpack {path:?}"))?;
        }
    }
    Ok(())
}

/// An image whose files are in a folder.
struct Image<'a> {
    root: PathBuf,
    target: Target,
    version: &'a str,
}

impl Image<'_> {
    fn operator(&self) -> Result<Vec<String>> {
        let version = self.says_version("gastown-operator")?;
        let bad = self.configured("noSuchKey: 1\n", "noSuchKey")?;
        let good = self.configured("deadlineSeconds: 60\n", "starts")?;
        Ok(vec![
            version,
            format!("a wrong configuration is refused: {bad}"),
            format!("a right one is taken: {good}"),
        ])
    }

    fn agent(&self) -> Result<Vec<String>> {
        let mut passed = vec![self.says_version("polecat")?];
        for role in ROLES {
            let help = self.run("polecat", &[role, "--help"])?;
            ensure!(help.contains("Usage:"), "`polecat {role} --help` says {help:?}");
            passed.push(format!("polecat {role}"));
        }
        passed.push(self.run("git", &["--version"])?);
        let repository = self.root.join("tmp/repository");
        self.run("git", &["init", "--quiet", &repository.display().to_string()])?;
        ensure!(repository.join(".git/HEAD").exists(), "git made no repository");
        passed.push("git init".to_owned());
        passed.push(self.run("ssh", &["-V"])?);
        Ok(passed)
    }

    /// What was seen of the validated module in a program: `docs/release.md` says what each field means.
    fn evidence(&self, program: &str, facts: &Facts) -> Result<Value> {
        let said = self.says_version(program)?;
        let code = facts
            .module_code
            .clone()
            .with_context(|| format!("{program} has no validated module"))?;
        let altered = format!("{program}-altered");
        let mut bytes = fs_err::read(self.file(program))?;
        let at = code.start + code.len() / 2;
        *bytes
            .get_mut(at)
            .context("the module is beyond the end of its program")? ^= 1;
        fs_err::write(self.file(&altered), &bytes)?;
        fs_err::set_permissions(self.file(&altered), std::fs::Permissions::from_mode(0o755))?;
        let refused = refusal(self.command(&altered).arg("--version"))?;
        fs_err::remove_file(self.file(&altered))?;
        Ok(json!({
            "program": program,
            "version": said,
            "module": { "name": "AWS-LC FIPS", "version": "3.1.0", "cmvpCertificate": "5314" },
            "selfTest": "passed: the program enters FIPS mode before it says its version",
            "altered": { "byte": at, "of": [code.start, code.end], "said": refused },
            "glibc": facts.glibc,
            "symbols": { "module": facts.module_symbols, "otherImplementations": 0 },
        }))
    }

    /// What a program says of itself; in the FIPS edition its module has passed its self-test before.
    fn says_version(&self, program: &str) -> Result<String> {
        let said = self.run(program, &["--version"])?;
        ensure!(
            said.contains(self.version),
            "{program} says it is {said:?}, not {}",
            self.version
        );
        if self.target.edition == Edition::Fips {
            ensure!(
                said.contains("fips"),
                "{program} says it is {said:?}, not the FIPS edition"
            );
        }
        Ok(said.lines().next().unwrap_or_default().to_owned())
    }

    /// The output of a program that must succeed, that on standard error after the other.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let command = self.command(program).args(arguments);
        let shown = command.to_string();
        let output = command
            .into_inner()
            .output()
            .with_context(|| format!("failed to start `{shown}`"))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        ensure!(
            output.status.success(),
            "`{shown}` ended with {}: {text}",
            output.status
        );
        Ok(text)
    }

    /// The line with `wanted` that the operator says with this configuration, where no cluster answers.
    fn configured(&self, config: &str, wanted: &'static str) -> Result<String> {
        let folder = tempfile::tempdir().context("failed to make a folder for a configuration")?;
        // Port 9, discard, is nobody's.
        let mut operator = self.operator_of("127.0.0.1:9", config, folder.path())?;
        let mut operator = operator.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, receiver) = mpsc::channel();
        if let Some(output) = operator.stdout.take() {
            send_lines(output, sender.clone());
        }
        if let Some(output) = operator.stderr.take() {
            send_lines(output, sender);
        }
        let mut lines = Vec::new();
        while let Ok(line) = receiver.recv_timeout(PATIENCE) {
            lines.push(line);
            if lines.last().is_some_and(|line| line.contains(wanted)) {
                break;
            }
        }
        operator.kill().context("failed to end the operator")?;
        operator.wait().context("failed to end the operator")?;
        let said = lines.iter().find(|line| line.contains(wanted));
        said.cloned()
            .with_context(|| format!("the operator does not say {wanted:?}: {}", lines.join("\n")))
    }

    /// What the operator offers to an API server, which never answers.
    fn offered(&self) -> Result<Offer> {
        let folder = tempfile::tempdir().context("failed to make a folder for a configuration")?;
        let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen")?;
        let address = listener
            .local_addr()
            .context("a listener has an address")?
            .to_string();
        let mut operator = self.operator_of(&address, "deadlineSeconds: 60\n", folder.path())?;
        let mut operator = operator.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let offer = first_client(&listener).and_then(|mut client| hello::read(&mut client));
        operator.kill().context("failed to end the operator")?;
        operator.wait().context("failed to end the operator")?;
        offer.context("the operator's first message to the API server")
    }

    /// The operator with this configuration, in a cluster whose API server has this address; `folder` is for its files.
    fn operator_of(&self, server: &str, config: &str, folder: &Path) -> Result<std::process::Command> {
        let (file, cluster) = (folder.join("config.yaml"), folder.join("kubeconfig"));
        fs_err::write(&file, config)?;
        // JSON is YAML.
        fs_err::write(&cluster, cluster_at(server).to_string())?;
        let command = self
            .command("gastown-operator")
            .env("KUBECONFIG", &cluster)
            .env("POD_NAMESPACE", "gastown-system")
            .args(["--agent-image=none", "--listen=127.0.0.1:0", "--config"])
            .arg(&file);
        Ok(command.into_inner())
    }

    fn file(&self, program: &str) -> PathBuf {
        self.root.join("usr/bin").join(program)
    }

    /// A program of the image, on the image's libraries, with nothing of this machine's environment.
    fn command(&self, program: &str) -> Command {
        let file = self.file(program);
        let architecture = self.target.architecture;
        let (loader, libraries) = match architecture {
            Architecture::Amd64 => ("usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"),
            Architecture::Arm64 => ("usr/lib/ld-linux-aarch64.so.1", "usr/lib/aarch64-linux-gnu"),
        };
        let command = if architecture.is_native() {
            let loader = Command::new(self.root.join(loader));
            loader.arg("--library-path").arg(self.root.join(libraries))
        } else {
            Command::new(architecture.emulator()).arg("-L").arg(&self.root)
        };
        command
            .arg(file)
            .env("HOME", self.root.join("tmp"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
    }
}

/// What a program says whose module was altered; it must not run.
fn refusal(command: Command) -> Result<String> {
    let shown = command.to_string();
    let output = command
        .into_inner()
        .output()
        .with_context(|| format!("failed to start `{shown}`"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(
        !output.status.success(),
        "`{shown}` runs although its module was altered"
    );
    let line = said.lines().find(|line| line.contains("integrity test failed"));
    Ok(line
        .with_context(|| format!("`{shown}` does not say that its module was altered: {said}"))?
        .to_owned())
}

/// The first to connect; it has [`PATIENCE`] to do so, and to say something.
fn first_client(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true).context("failed to listen")?;
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                client.set_nonblocking(false).context("failed to listen")?;
                client
                    .set_read_timeout(Some(PATIENCE))
                    .context("failed to listen")?;
                return Ok(client);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error).context("nobody connected"),
        }
    }
}

fn cluster_at(server: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [{ "name": "none", "cluster": { "server": format!("https://{server}") } }],
        "users": [{ "name": "none", "user": {} }],
        "contexts": [{ "name": "none", "context": { "cluster": "none", "user": "none" } }],
    })
}

fn send_lines(output: impl std::io::Read + Send + 'static, to: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens once the wanted line was seen.
            let _heard = to.send(line);
        }
    });
}
