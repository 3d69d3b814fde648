//! `cargo xtask fuzz`: feeds what an agent or a network can send to the parsers that read it, with cargo-fuzz, and keeps
//! what it finds worth keeping in `tests/fuzz/corpus`, which the unit tests replay.
//!
//! Fuzzing needs no nightly compiler: `RUSTC_BOOTSTRAP` lets the pinned one insert the coverage counters.

mod corpus;
mod session;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::session::Session;
use crate::process::Command;
use crate::{progress, workspace};

/// The version whose digest stands in `tests/fuzz/Cargo.lock`.
const CARGO_FUZZ: &str = "0.13.2";

/// The only target that is built; cargo-fuzz puts its programs below a folder of this name.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What to fuzz, and for how long.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The targets, by the names in `tests/fuzz/targets`; by default all.
    targets: Vec<String>,
    /// CPU minutes for each target.
    #[arg(long, default_value_t = 20)]
    minutes: u64,
}

/// Runs one target after the other, and keeps what each found even when it, or a later one, breaks.
pub fn run(args: Args) -> Result<()> {
    let folder = workspace::root().join("tests/fuzz");
    let known = known(&folder)?;
    for target in &args.targets {
        ensure!(
            known.contains(target),
            "failed to find fuzz target {target:?}; there are {}",
            known.join(", ")
        );
    }
    let targets = if args.targets.is_empty() {
        known
    } else {
        args.targets
    };
    let cargo_fuzz = progress::step("install cargo-fuzz", || install(&folder))?;
    progress::step("compile the fuzz targets", || {
        compile(&cargo_fuzz, &folder, &targets)
    })?;
    let mut broken = Vec::new();
    for target in targets {
        let session = Session::new(&folder, &programs().join(&target), &target);
        let limit = Duration::from_secs(args.minutes * 60);
        let ended = progress::step(format!("fuzz {target}"), || session.run(limit))?;
        println!("{target}: {ended}");
        if ended.is_broken() {
            broken.push(target.clone());
        }
        progress::step(format!("minimise the corpus of {target}"), || {
            corpus::keep(&session)
        })?;
    }
    ensure!(
        broken.is_empty(),
        "failed to fuzz {} without a crash; the inputs are in target/fuzz/*/artifacts",
        broken.join(", ")
    );
    Ok(())
}

/// The names of the targets.
fn known(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder.join("targets"))? {
        let path = entry?.path();
        let name = path.file_stem().context("a target's file has a name")?;
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Builds cargo-fuzz into the machine's cache. `cargo fetch` fails when the registry's file is not the one of the lock.
fn install(folder: &Path) -> Result<PathBuf> {
    let root = workspace::cache()?.join(format!("cargo-fuzz-{CARGO_FUZZ}"));
    let program = root.join("bin/cargo-fuzz");
    // Also where it is installed: cargo-fuzz itself would write a lock file that the manifests have left behind anew.
    let fetch = Command::new("cargo").args(["fetch", "--quiet", "--locked"]);
    fetch.current_dir(folder).run()?;
    if !program.exists() {
        let version = format!("={CARGO_FUZZ}");
        let install =
            Command::new("cargo").args(["install", "--quiet", "--locked", "cargo-fuzz", "--version"]);
        install.arg(version).arg("--root").arg(&root).run()?;
    }
    Ok(program)
}

/// Without a sanitizer: none of our code is unsafe, and what runs twice as fast finds more.
fn compile(cargo_fuzz: &Path, folder: &Path, targets: &[String]) -> Result<()> {
    for target in targets {
        Command::new(cargo_fuzz)
            .args([
                "fuzz",
                "build",
                "--sanitizer",
                "none",
                "--fuzz-dir",
                ".",
                "--target-dir",
            ])
            .arg(workspace::root().join("target/fuzz/build"))
            .arg(target)
            .env("RUSTC_BOOTSTRAP", "1")
            .current_dir(folder)
            .run()?;
    }
    Ok(())
}

fn programs() -> PathBuf {
    workspace::root()
        .join("target/fuzz/build")
        .join(TRIPLE)
        .join("release")
}
