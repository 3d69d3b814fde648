//! What the checkout holds: the commit, and hashes of what jobs depend on.

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use xtask_image::process::Command;
use xtask_image::workspace;

/// What the checkout holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    pub version: String,
    pub source: String,
    pub commit: String,
    pub epoch: u64,
    /// Hashes of what is committed, with what is not: of the programs' sources, of the images', of the chart and the
    /// definitions, of this pipeline, and of the changelog.
    pub programs: String,
    pub images: String,
    pub artefacts: String,
    pub pipeline: String,
    pub changelog: String,
    /// Whether something is not committed.
    pub is_dirty: bool,
}

impl Checkout {
    /// Reads it from git.
    pub fn read() -> Result<Self> {
        let commit = git(&["rev-parse", "HEAD"])?;
        let time = git(&["show", "--no-patch", "--format=%ct", "HEAD"])?;
        let programs = [
            "api",
            "broker",
            "crypto",
            "operator",
            "polecat",
            "kubectl-gt",
            "registry",
            "signatures",
            "Cargo.toml",
            "Cargo.lock",
        ];
        let settings = [".cargo", "rust-toolchain.toml"];
        Ok(Self {
            version: workspace::package("version")?,
            source: workspace::package("repository")?,
            epoch: time
                .parse()
                .with_context(|| format!("git says that the commit's time is {time:?}"))?,
            commit,
            programs: state(&[&programs[..], &settings].concat())?,
            images: state(&["images", "LICENSE"])?,
            artefacts: state(&["helm", "templates", "LICENSE"])?,
            pipeline: state(&["xtask", "release", "sbom"])?,
            changelog: state(&["CHANGELOG.md"])?,
            is_dirty: !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty(),
        })
    }
}

/// A hash of what git knows of `paths`, and of what was changed since.
fn state(paths: &[&str]) -> Result<String> {
    let listed = git(&[&["ls-files", "--stage", "--"], paths].concat())?;
    let changed = git(&[&["diff", "HEAD", "--"], paths].concat())?;
    Ok(key(&[&listed, &changed]))
}

fn git(arguments: &[&str]) -> Result<String> {
    Command::new("git")
        .args(arguments)
        .current_dir(workspace::root())
        .text()
}

/// A hash of several values, each told apart from its neighbours.
pub fn key(values: &[&str]) -> String {
    let mut hash = Sha256::new();
    for value in values {
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    format!("{:x}", hash.finalize())
}
