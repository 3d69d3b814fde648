//! The crates that are compiled into programs, as cargo resolves them for an edition and a platform.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xtask_image::process::Command;
use xtask_image::{Architecture, Edition, workspace};

/// Name and version.
pub type Id = (String, String);

/// A crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// As its manifest says it, an SPDX expression; empty where it says nothing.
    pub license: String,
    /// Whether it is part of this repository.
    pub is_ours: bool,
    /// The crates that it uses, without those of build scripts and macros.
    pub uses: BTreeSet<Id>,
}

/// The crates of several programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph(pub BTreeMap<Id, Crate>);

/// Crates that cargo resolves and compiles, of which nothing is linked. rustls' feature `aws_lc_rs` turns on the backend
/// of the community edition beside the validated module (`docs/adr/0003-fips-pins.md`); `nm` on an unstripped program of
/// the FIPS edition shows no symbol of it.
pub fn is_linked(edition: Edition, name: &str) -> bool {
    !(edition == Edition::Fips && name == "aws-lc-sys")
}

impl Graph {
    /// The crates of `packages`, which are built together and so share their features.
    pub fn resolve(packages: &[&str], edition: Edition, architecture: Architecture) -> Result<Self> {
        let mut tree = Command::new("cargo")
            .args(["tree", "--locked", "--edges", "normal,no-proc-macro"])
            .args(["--prefix", "depth", "--format", "|{p}|{l}|"])
            .args(["--target", architecture.triple()])
            .args(["--no-default-features", "--features", edition.as_str()])
            .current_dir(workspace::root());
        for package in packages {
            tree = tree.args(["--package", package]);
        }
        parse(&tree.text()?)
    }

    /// The crates that `package` uses, itself included.
    pub fn of(&self, package: &str) -> Result<Self> {
        let root = self.0.keys().find(|(name, _)| name == package);
        let root = root.with_context(|| format!("cargo's tree has no package {package:?}"))?;
        let (mut found, mut open) = (Self::default(), VecDeque::from([root.clone()]));
        while let Some(id) = open.pop_front() {
            if found.0.contains_key(&id) {
                continue;
            }
            let one = self
                .0
                .get(&id)
                .with_context(|| format!("cargo's tree does not describe {id:?}"))?;
            open.extend(one.uses.iter().cloned());
            found.0.insert(id, one.clone());
        }
        Ok(found)
    }

    /// Without those of which nothing is linked.
    pub fn linked(&self, edition: Edition) -> Self {
        let is_linked = |id: &Id| is_linked(edition, &id.0);
        let crates = self.0.iter().filter(|(id, _)| is_linked(id)).map(|(id, one)| {
            let mut one = one.clone();
            one.uses.retain(is_linked);
            (id.clone(), one)
        });
        Self(crates.collect())
    }

    /// What scanners read in the section `.dep-v0` of a program: <https://github.com/rust-secure-code/cargo-auditable>.
    pub fn audit_data(&self, root: &str) -> Result<Vec<u8>> {
        let place: BTreeMap<&Id, usize> = self.0.keys().enumerate().map(|(at, id)| (id, at)).collect();
        let packages = self.0.iter().map(|(id, one)| {
            let uses: Vec<_> = one.uses.iter().filter_map(|id| place.get(id)).collect();
            let source = if one.is_ours { "local" } else { "crates.io" };
            let mut package = json!({
                "name": id.0, "version": id.1, "source": source, "kind": "runtime", "dependencies": uses,
            });
            if id.0 == root {
                package["root"] = Value::Bool(true);
            }
            package
        });
        let packages: Vec<_> = packages.collect();
        // Checks that there is one root and no circle.
        let text = json!({ "packages": packages, "format": 1 }).to_string();
        let info: auditable_serde::VersionInfo =
            serde_json::from_str(&text).context("the crates of a program make no tree")?;
        Ok(serde_json::to_vec(&info)?)
    }
}

/// Reads lines such as `2|serde v1.0.2|MIT OR Apache-2.0| (*)`. A crate's own are below the first line that names it.
fn parse(text: &str) -> Result<Graph> {
    let mut graph = Graph::default();
    let mut above: Vec<Id> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let what = || format!("cargo printed {line:?}, which is not understood");
        let parts: Vec<_> = line.split('|').collect();
        ensure!(parts.len() == 4, what());
        let depth: usize = parts[0].parse().ok().with_context(what)?;
        let mut words = parts[1].split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next().and_then(|v| v.strip_prefix('v')))
        else {
            anyhow::bail!(what())
        };
        let id = (name.to_owned(), version.to_owned());
        ensure!(depth <= above.len(), what());
        above.truncate(depth);
        if let Some(user) = above.last().and_then(|user| graph.0.get_mut(user)) {
            user.uses.insert(id.clone());
        }
        graph.0.entry(id.clone()).or_insert_with(|| Crate {
            license: parts[2].to_owned(),
            is_ours: words.next().is_some_and(|word| word.starts_with("(/")),
            uses: BTreeSet::new(),
        });
        above.push(id);
    }
    ensure!(!graph.0.is_empty(), "cargo's tree is empty");
    Ok(graph)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0|operator v0.5.0 (/w/operator)|Apache-2.0|\n1|crypto v0.5.0 (/w/crypto)|Apache-2.0|\n\
                        2|aws-lc-sys v0.40.0|ISC|\n2|aws-lc-fips-sys v0.13.11|ISC|\n1|serde v1.0.2|MIT OR Apache-2.0|\n\
                        0|polecat v0.5.0 (/w/polecat)|Apache-2.0|\n1|crypto v0.5.0 (/w/crypto)|Apache-2.0| (*)\n";

    fn names(graph: &Graph) -> Vec<&str> {
        graph.0.keys().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_program_has_the_crates_below_it_also_where_cargo_names_them_once() {
        let graph = parse(TREE).unwrap();
        assert_eq!(
            names(&graph.of("polecat").unwrap()),
            ["aws-lc-fips-sys", "aws-lc-sys", "crypto", "polecat"]
        );
        assert_eq!(graph.of("operator").unwrap().0.len(), 5);
        assert!(graph.0[&("crypto".to_owned(), "0.5.0".to_owned())].is_ours);
        assert!(parse("1|serde v1|MIT|").is_err());
        assert!(graph.of("none").is_err());
    }

    #[test]
    fn the_audit_data_of_the_fips_edition_names_what_is_linked() {
        let graph = parse(TREE).unwrap().of("polecat").unwrap();
        let named = |graph: &Graph| {
            let data: Value = serde_json::from_slice(&graph.audit_data("polecat").unwrap()).unwrap();
            let packages = data["packages"].as_array().unwrap();
            packages
                .iter()
                .map(|one| one["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            named(&graph.linked(Edition::Fips)),
            ["aws-lc-fips-sys", "crypto", "polecat"]
        );
        assert_eq!(named(&graph.linked(Edition::Community)).len(), 4);
    }
}
