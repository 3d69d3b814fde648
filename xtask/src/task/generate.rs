//! `cargo xtask generate`: the files that are written by programs.

mod policies;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::process::Command;
use crate::{progress, workspace};

/// What to do with the generated files.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Change nothing; fail when a generated file is not what would be written.
    #[arg(long)]
    check: bool,
}

/// A folder or file that a program writes.
struct Generated {
    /// Where it is committed, below the root.
    at: &'static str,
    /// What is written: all of a folder, or one file of it.
    from: &'static str,
    by: Writer,
}

/// What writes it.
enum Writer {
    /// An example of a package.
    Example(&'static str, &'static str),
    /// Helm, from the chart.
    Policies,
}

/// Every generated part of the checkout.
const GENERATED: [Generated; 5] = [
    Generated {
        at: "helm/gastown-operator/crds",
        from: "crds",
        by: Writer::Example("gastown-api", "crds"),
    },
    Generated {
        at: "helm/gastown-operator/files/kinds.yaml",
        from: "kinds.yaml",
        by: Writer::Example("gastown-api", "crds"),
    },
    Generated {
        at: "docs/cli.md",
        from: "cli.md",
        by: Writer::Example("kubectl-gt", "reference"),
    },
    Generated {
        at: "docs/man",
        from: "man",
        by: Writer::Example("kubectl-gt", "reference"),
    },
    Generated {
        at: "openshift",
        from: "",
        by: Writer::Policies,
    },
];

/// The chart's manifest, which has the version of the project twice.
const CHART: &str = "helm/gastown-operator/Chart.yaml";

pub fn run(args: &Args) -> Result<()> {
    if args.check {
        return check();
    }
    let chart = workspace::root().join(CHART);
    let versioned = with_version(&fs_err::read_to_string(&chart)?, &workspace::package("version")?);
    workspace::write_whole(&chart, versioned.as_bytes())?;
    for part in &GENERATED {
        let (fresh, committed) = (part.write()?, workspace::root().join(part.at));
        for (name, content) in contents(&fresh)? {
            let file = if fresh.is_file() {
                committed.clone()
            } else {
                committed.join(name)
            };
            workspace::write_whole(&file, &content)?;
        }
        for name in differing(&fresh, &committed)? {
            fs_err::remove_file(committed.join(name))?;
        }
    }
    Ok(())
}

/// Fails when a generated file is not what would be written.
pub fn check() -> Result<()> {
    let mut stale = Vec::new();
    let chart = fs_err::read_to_string(workspace::root().join(CHART))?;
    if chart != with_version(&chart, &workspace::package("version")?) {
        stale.push(CHART.to_owned());
    }
    for part in &GENERATED {
        let names = differing(&part.write()?, &workspace::root().join(part.at))?;
        stale.extend(names.iter().map(|name| format!("{} {name}", part.at)));
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "generated files are stale: {}; run `cargo xtask generate` and commit them",
        stale.join(", ")
    )
}

/// A chart's manifest with `version` as its own and as that of the application.
fn with_version(manifest: &str, version: &str) -> String {
    let lines = manifest
        .split_inclusive('\n')
        .map(|line| match line.split_once(':') {
            Some((key @ ("version" | "appVersion"), _)) => format!("{key}: {version}\n"),
            _ => line.to_owned(),
        });
    lines.collect()
}

impl Generated {
    /// Writes it anew below `target`, and says where.
    fn write(&self) -> Result<PathBuf> {
        let Writer::Example(package, example) = self.by else {
            return policies::write();
        };
        let folder = workspace::root().join("target/generated").join(example);
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        let cargo = Command::new("cargo").args(["run", "--quiet", "--locked", "--package", package]);
        let cargo = cargo
            .args(["--example", example, "--"])
            .arg(&folder)
            .current_dir(workspace::root());
        progress::step(format!("write {}", self.at), || cargo.run())?;
        Ok(folder.join(self.from))
    }
}

/// Names of files that are in only one of the folders or are not the same in both.
fn differing(fresh: &Path, committed: &Path) -> Result<Vec<String>> {
    let (fresh, committed) = (contents(fresh)?, contents(committed)?);
    let names: BTreeSet<_> = fresh.keys().chain(committed.keys()).collect();
    Ok(names
        .into_iter()
        .filter(|name| fresh.get(*name) != committed.get(*name))
        .cloned()
        .collect())
}

/// The files of a folder by name, or the one file under an empty name.
fn contents(at: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    if at.is_file() {
        files.insert(String::new(), fs_err::read(at)?);
    } else if at.exists() {
        for entry in fs_err::read_dir(at)? {
            let entry = entry?;
            files.insert(
                entry.file_name().to_string_lossy().into_owned(),
                fs_err::read(entry.path())?,
            );
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_has_the_version_of_the_project() {
        let manifest =
            "apiVersion: v2\nname: a\nversion: 0.1.0\nappVersion: 0.0.9\nkubeVersion: \">= 1.30\"\n";
        assert_eq!(
            with_version(manifest, "1.2.3"),
            "apiVersion: v2\nname: a\nversion: 1.2.3\nappVersion: 1.2.3\nkubeVersion: \">= 1.30\"\n"
        );
    }
}
