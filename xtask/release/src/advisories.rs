//! Known vulnerabilities of the crates that ship and of this pipeline: a copy of the database of `RustSec`
//! (<https://github.com/RustSec/advisory-db>) is asked, without a network, and statements on them (`sbom/vex`) are applied.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustsec::{Database, Lockfile, Vulnerability};
use xtask_image::{progress, workspace};

use crate::dependencies::{Graph, Id};
use crate::pipeline::Release;
use crate::plan::PROGRAMS;
use crate::vex::{self, Statement};

impl Release {
    /// Fails with every vulnerability on which nothing is said.
    pub fn ask_advisories(&self, database: &Path) -> Result<()> {
        let database = open(database)?;
        let statements = vex::load()?;
        let mut shipped = Graph::default();
        for target in &self.plan.targets {
            shipped
                .0
                .extend(Graph::resolve(&PROGRAMS, target.edition, target.architecture)?.0);
        }
        let ships = |id: &Id| shipped.0.contains_key(id);
        let mut open = unanswered(
            &database,
            &workspace::root().join("Cargo.lock"),
            &statements,
            ships,
        )?;
        open.extend(unanswered(
            &database,
            &workspace::root().join("xtask/Cargo.lock"),
            &statements,
            |_| true,
        )?);
        if !open.is_empty() {
            bail!(
                "known vulnerabilities; update the crates, or say in sbom/vex why they do not affect:\n{}",
                open.join("\n")
            )
        }
        progress::record(&format!(
            "{} advisories asked, none is unanswered",
            database.iter().count()
        ));
        Ok(())
    }
}

fn open(folder: &Path) -> Result<Database> {
    Database::open(folder).with_context(|| {
        format!("failed to read the advisories in {folder:?}; it must be a copy of RustSec's advisory-db")
    })
}

/// The vulnerabilities of a lock file's crates that ship and that no statement answers, one line each.
fn unanswered(
    database: &Database,
    lock: &Path,
    statements: &[Statement],
    ships: impl Fn(&Id) -> bool,
) -> Result<Vec<String>> {
    let locked = Lockfile::load(lock).with_context(|| format!("failed to read {lock:?}"))?;
    let is_open = |found: &Vulnerability| {
        let id = (found.package.name.to_string(), found.package.version.to_string());
        let names = std::iter::once(&found.advisory.id).chain(&found.advisory.aliases);
        let names: Vec<_> = names.map(ToString::to_string).collect();
        ships(&id) && !statements.iter().any(|statement| statement.answers(&names, &id))
    };
    let line = |found: Vulnerability| {
        format!(
            "  {} {}: {} {}",
            found.package.name, found.package.version, found.advisory.id, found.advisory.title
        )
    };
    Ok(database
        .vulnerabilities(&locked)
        .into_iter()
        .filter(is_open)
        .map(line)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy with one old advisory, RUSTSEC-2023-0071 on `rsa`.
    fn database() -> Database {
        open(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/testdata/advisory-db"
        )))
        .unwrap()
    }

    fn lock(folder: &Path) -> std::path::PathBuf {
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        let package = |name: &str, version: &str| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{registry}\"\nchecksum = \"{}\"\n\n",
                "0".repeat(64)
            )
        };
        let text = format!(
            "version = 4\n\n{}{}",
            package("rsa", "0.9.10"),
            package("serde", "1.0.0")
        );
        fs_err::write(folder.join("Cargo.lock"), text).unwrap();
        folder.join("Cargo.lock")
    }

    fn statement(name: &str, version: &str) -> Statement {
        toml::from_str(&format!(
            "name = \"{name}\"\naliases = []\ncomponent = \"rsa\"\nversion = \"{version}\"\nstatus = \"not_affected\"\n\
             justification = \"vulnerable_code_not_in_execute_path\"\nreason = \"no key of it\"\nexpires = 2030-01-01"
        ))
        .unwrap()
    }

    #[test]
    fn a_vulnerability_of_what_ships_is_named_unless_a_statement_answers_it() {
        let folder = tempfile::tempdir().unwrap();
        let lock = lock(folder.path());
        let open = |statements: &[Statement], ships: bool| {
            unanswered(&database(), &lock, statements, |_| ships).unwrap()
        };
        let found = open(&[], true);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("  rsa 0.9.10: RUSTSEC-2023-0071 Marvin Attack"),
            "{found:?}"
        );
        assert_eq!(open(&[], false), [""; 0], "what does not ship");
        for name in ["RUSTSEC-2023-0071", "CVE-2023-49092", "GHSA-c38w-74pg-36hr"] {
            assert_eq!(open(&[statement(name, "0.9.10")], true), [""; 0], "{name}");
        }
        assert_eq!(
            open(&[statement("RUSTSEC-2023-0071", "0.9.9")], true).len(),
            1,
            "another version was looked at"
        );
        assert_eq!(
            open(&[statement("CVE-2000-0001", "0.9.10")], true).len(),
            1,
            "another vulnerability"
        );
    }

    #[test]
    fn a_folder_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Database::open(folder.path())
            .err()
            .map(|_| open(folder.path()).unwrap_err().to_string());
        assert!(error.is_some_and(|error| error.contains("advisory-db")));
    }
}
