//! `cargo xtask generate`: the files that are written by programs.

use anyhow::{Result, bail};

use crate::process::Command;
use crate::workspace;

/// What to do with the generated files.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Change nothing; fail when a generated file is not what would be written.
    #[arg(long)]
    check: bool,
}

/// The chart's custom resource definitions, below the root.
const CRDS: &str = "helm/gastown-operator/crds";

pub fn run(args: &Args) -> Result<()> {
    if args.check {
        check()
    } else {
        write_crds(&workspace::root().join(CRDS))
    }
}

/// Fails when a generated file is not what would be written.
pub fn check() -> Result<()> {
    let wanted = workspace::root().join(CRDS);
    let fresh = workspace::root().join("target/generated/crds");
    if fresh.exists() {
        fs_err::remove_dir_all(&fresh)?;
    }
    write_crds(&fresh)?;
    let stale = differing(&fresh, &wanted)?;
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "generated files are stale: {}; run `cargo xtask generate` and commit them",
        stale.join(", ")
    )
}

fn write_crds(folder: &std::path::Path) -> Result<()> {
    Command::new("cargo")
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "gastown-api",
            "--example",
            "crds",
            "--",
        ])
        .arg(folder)
        .current_dir(workspace::root())
        .run()
}

/// Names of files that are in only one of the folders or are not the same in both.
fn differing(fresh: &std::path::Path, committed: &std::path::Path) -> Result<Vec<String>> {
    let (fresh, committed) = (contents(fresh)?, contents(committed)?);
    let names: std::collections::BTreeSet<_> = fresh.keys().chain(committed.keys()).collect();
    Ok(names
        .into_iter()
        .filter(|name| fresh.get(*name) != committed.get(*name))
        .cloned()
        .collect())
}

fn contents(folder: &std::path::Path) -> Result<std::collections::BTreeMap<String, Vec<u8>>> {
    let mut files = std::collections::BTreeMap::new();
    if folder.exists() {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            files.insert(
                entry.file_name().to_string_lossy().into_owned(),
                fs_err::read(entry.path())?,
            );
        }
    }
    Ok(files)
}
