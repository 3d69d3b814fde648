//! Compiles the programs that go into images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::definition::Binary;
use crate::process::Command;
use crate::{Architecture, Edition, Profile};
use crate::{progress, workspace};

/// The paths of compiled programs, which include debug information.
#[derive(Debug)]
pub struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    /// Programs that were compiled before, by the names of their binaries.
    pub fn of(programs: BTreeMap<String, PathBuf>) -> Self {
        Self(programs)
    }

    /// The path of `binary`.
    pub fn get(&self, binary: &Binary) -> Result<&Path> {
        let Binary { package, name } = binary;
        self.0
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("cargo built no binary {name:?}; package {package:?} must have one"))
    }
}

/// Compiles `binaries`, unless they are up to date, in one build.
pub fn compile(binaries: &[&Binary], profile: Profile) -> Result<Programs> {
    let cargo = Command::new("cargo").current_dir(workspace::root());
    let cargo = cargo.args(["build", "--locked", "--message-format=json-render-diagnostics"]);
    let cargo = match profile {
        // `cargo test --workspace` compiles the same, without flags of our own: each dependency is compiled once.
        Profile::Dev => cargo.args(["--workspace", "--bins"]),
        Profile::Release => binaries.iter().fold(
            cargo
                .arg("--release")
                .env("CARGO_ENCODED_RUSTFLAGS", remapping()?),
            |cargo, binary| cargo.args(["--package", &binary.package, "--bin", &binary.name]),
        ),
    };
    executables_of(cargo)
}

/// Compiles every program of the workspace in the FIPS edition, as tests do.
pub fn compile_fips() -> Result<Programs> {
    let target = workspace::target();
    let cargo = Command::new("cargo").current_dir(workspace::root());
    let cargo = cargo
        .args(["build", "--locked", "--message-format=json-render-diagnostics"])
        .args([
            "--workspace",
            "--bins",
            "--no-default-features",
            "--features",
            "fips",
        ])
        // Both editions share libraries, but the other edition's programs, which tests run, must stay where they are.
        .env("CARGO_BUILD_BUILD_DIR", &target)
        .env("CARGO_TARGET_DIR", target.join("fips"));
    executables_of(cargo)
}

/// Compiles `binaries` for an edition and a platform in one build, so that each has the same features in every build.
///
/// The libraries of both editions share one folder; the programs of each edition have a folder of their own.
pub fn compile_edition(
    binaries: &[&Binary],
    profile: Profile,
    edition: Edition,
    architecture: Architecture,
) -> Result<Programs> {
    let target = workspace::target();
    let cargo = Command::new("cargo").current_dir(workspace::root());
    let mut cargo = cargo
        .args(["build", "--locked", "--message-format=json-render-diagnostics"])
        .args((profile == Profile::Release).then_some("--release"))
        .args(["--target", architecture.triple()])
        .args(["--no-default-features", "--features", edition.as_str()])
        .env("CARGO_ENCODED_RUSTFLAGS", remapping()?)
        .env("CARGO_BUILD_BUILD_DIR", &target)
        .env("CARGO_TARGET_DIR", target.join("programs").join(edition.as_str()));
    if !architecture.is_native() {
        let name = architecture.triple().to_uppercase().replace('-', "_");
        cargo = cargo.env(format!("CARGO_TARGET_{name}_LINKER"), architecture.gnu("gcc"));
    }
    for binary in binaries {
        cargo = cargo.args(["--package", &binary.package, "--bin", &binary.name]);
    }
    executables_of(cargo)
}

fn executables_of(cargo: Command) -> Result<Programs> {
    Ok(executables(built_by(cargo)?))
}

/// Something that cargo built and that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// The name of the library, binary or integration test.
    pub name: String,
    pub file: PathBuf,
    /// The manifest of its package.
    pub manifest: PathBuf,
    pub is_test: bool,
}

/// Runs `cargo`, a build that prints messages as JSON; returns the executables, including those that were up to date.
pub fn built_by(cargo: Command) -> Result<Vec<Executable>> {
    let shown = cargo.to_string();
    let mut cargo = cargo.into_inner();
    cargo.stdin(Stdio::null()).stderr(progress::output()?);
    let output = cargo
        .output()
        .with_context(|| format!("failed to start `{shown}`"))?;
    ensure!(output.status.success(), "`{shown}` ended with {}", output.status);
    let messages = String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed no UTF-8"))?;
    parse(&messages)
}

/// The binary without what depends on the folder of the checkout: symbols and debug information, which name the folder,
/// and the build ID, a hash that covers them.
pub fn stripped(file: &Path, architecture: Architecture) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("failed to make a folder for a binary")?;
    let output = folder.path().join("stripped");
    let strip = Command::new(architecture.gnu("strip")).args([
        "--strip-all",
        "--remove-section=.note.gnu.build-id",
        "-o",
    ]);
    strip.arg(&output).arg(file).output()?;
    Ok(fs_err::read(output)?)
}

/// Flags that hide the folders of cargo and of the checkout, which panic messages would name.
fn remapping() -> Result<String> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) if !home.is_empty() => PathBuf::from(home),
        _ => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo"),
    };
    let flag = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    // The unit separator separates the flags, because a folder may contain a space.
    Ok([flag(&home, "/cargo"), flag(&workspace::root(), "/source")].join("\u{1f}"))
}

/// The programs by name, without tests.
fn executables(built: Vec<Executable>) -> Programs {
    let programs = built.into_iter().filter(|one| !one.is_test);
    Programs(programs.map(|one| (one.name, one.file)).collect())
}

fn parse(messages: &str) -> Result<Vec<Executable>> {
    #[derive(Deserialize)]
    struct Message {
        manifest_path: Option<PathBuf>,
        target: Option<Target>,
        profile: Option<Profile>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    let mut found = Vec::new();
    for line in messages.lines() {
        let message: Message =
            serde_json::from_str(line).context("cargo printed a message that is not understood")?;
        if let (Some(manifest), Some(target), Some(profile), Some(file)) = (
            message.manifest_path,
            message.target,
            message.profile,
            message.executable,
        ) {
            found.push(Executable {
                name: target.name,
                file,
                manifest,
                is_test: profile.test,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let binary = Binary {
            package: "polecat".to_owned(),
            name: "polecat".to_owned(),
        };
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/w/polecat/Cargo.toml","target":{"name":"polecat"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/w/polecat/Cargo.toml","target":{"name":"polecat"},"profile":{"test":false},"executable":"/t/polecat"}
{"reason":"compiler-artifact","manifest_path":"/w/polecat/Cargo.toml","target":{"name":"polecat"},"profile":{"test":true},"executable":"/t/deps/polecat-1"}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"build-finished","success":true}"#;
        let built = parse(messages).unwrap();
        assert_eq!(built.len(), 2);
        let programs = executables(built);
        assert_eq!(programs.get(&binary).unwrap(), Path::new("/t/polecat"));
        let programs = executables(parse(r#"{"reason":"build-finished"}"#).unwrap());
        let error = programs.get(&binary).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"cargo built no binary "polecat"; package "polecat" must have one"#
        );
    }
}
