//! Compiles test programs, to be run without cargo: it would wait for another that compiles.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use xtask_image::{Executable, built_by};

use crate::process::Command;
use crate::workspace;

/// Packages whose unit tests say something else in the FIPS edition: one has the provider of TLS, the other speaks TLS
/// with servers of its tests. The tests of the other packages would only be repeated.
const DIFFERING: [&str; 2] = ["gastown_crypto", "gastown_broker"];

/// Selects them and, for its dependencies, the package of the cluster's tests: with it, cargo compiles the libraries with
/// the features that they have in the whole workspace, and none a second time.
const SELECTION: [&str; 6] = [
    "--package",
    "gastown-crypto",
    "--package",
    "gastown-broker",
    "--package",
    "gastown-tests",
];

const FIPS: [&str; 3] = ["--no-default-features", "--features", "fips"];

/// Compiled test programs.
#[derive(Debug)]
pub struct Tests(Vec<Test>);

/// A compiled test program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Of the library, binary or integration test.
    name: String,
    executable: PathBuf,
    /// The package's folder.
    folder: PathBuf,
}

impl Tests {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Test> {
        self.0.iter()
    }

    /// Those of this name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Test> {
        self.0.iter().filter(move |test| test.name == name)
    }
}

impl Test {
    /// A command that runs it as cargo does: in the folder of its package.
    pub fn command(&self) -> Command {
        Command::new(&self.executable)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
    }
}

/// Compiles the tests that `targets`, flags of `cargo test`, selects in all packages.
///
/// Always of the whole workspace, as the programs of the images: of one package alone, cargo would compile the libraries
/// that it uses a second time, with other features.
pub fn tests(targets: &[&str]) -> Result<Tests> {
    selected(&[&["--workspace"], targets].concat())
}

fn selected(selection: &[&str]) -> Result<Tests> {
    let cargo = Command::new("cargo")
        .args([
            "test",
            "--no-run",
            "--locked",
            "--message-format=json-render-diagnostics",
        ])
        .args(selection)
        .current_dir(workspace::root());
    let shown = cargo.to_string();
    let tests = tests_of(built_by(cargo)?)?;
    ensure!(!tests.0.is_empty(), "`{shown}` compiled no test");
    Ok(tests)
}

/// Compiles all programs in the FIPS edition, and the tests of what differs in it.
pub fn fips() -> Result<Tests> {
    xtask_image::compile_fips()?;
    let Tests(mut tests) = selected(&[&SELECTION[..], &FIPS[..], &["--lib"]].concat())?;
    tests.retain(|test| DIFFERING.contains(&test.name.as_str()));
    Ok(Tests(tests))
}

/// The tests of the chores and of what they share with the release, whose own would compile its libraries first.
pub fn of_xtask() -> Command {
    of_chores(&["xtask", "xtask-image"])
}

/// The tests of the release pipeline.
pub fn of_release() -> Command {
    of_chores(&["xtask-release"])
}

fn of_chores(packages: &[&str]) -> Command {
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    Command::new("cargo")
        .args(["test", "--locked", "--no-fail-fast"])
        .args(packages)
        .arg("--target-dir")
        .arg(workspace::root().join("target/xtask"))
        .current_dir(workspace::root().join("xtask"))
}

fn tests_of(built: Vec<Executable>) -> Result<Tests> {
    let of = |one: Executable| -> Result<Test> {
        Ok(Test {
            name: one.name,
            executable: one.file,
            folder: one
                .manifest
                .parent()
                .context("a manifest stands in a folder")?
                .to_path_buf(),
        })
    };
    let tests = built.into_iter().filter(|one| one.is_test);
    Ok(Tests(tests.map(of).collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_told_from_programs_that_they_run() {
        let one = |name: &str, file: &str, is_test| Executable {
            name: name.to_owned(),
            file: file.into(),
            manifest: "/w/api/Cargo.toml".into(),
            is_test,
        };
        let built = vec![one("gt", "/t/gt", false), one("api", "/t/deps/api-1", true)];
        let tests = tests_of(built).unwrap();
        let wanted = Test {
            name: "api".to_owned(),
            executable: PathBuf::from("/t/deps/api-1"),
            folder: PathBuf::from("/w/api"),
        };
        assert_eq!(tests.all().collect::<Vec<_>>(), [&wanted]);
        assert_eq!(tests.named("gt").count(), 0);
    }
}
