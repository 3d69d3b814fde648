//! What known vulnerabilities mean for an artefact: `OpenVEX` 0.2.0 from the statements in `sbom/vex`.
//!
//! <https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md>

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use xtask_image::workspace;

use crate::dependencies::{Graph, Id};
use crate::sbom::crate_purl;

/// A statement, one file each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The vulnerability's name.
    name: String,
    /// Its other names.
    aliases: Vec<String>,
    /// The crate that has it.
    component: String,
    /// The crate's version; of another one, nothing is said.
    version: String,
    status: Status,
    justification: Justification,
    /// Why the status is what it is.
    reason: String,
    /// The last day on which the statement is made without being looked at again.
    expires: toml::value::Datetime,
}

/// What is said of a vulnerability. Others are for releases that have one.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    NotAffected,
}

/// Why a vulnerability does not affect.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Justification {
    VulnerableCodeNotPresent,
    VulnerableCodeNotInExecutePath,
}

/// The statements of the project.
pub fn load() -> Result<Vec<Statement>> {
    let folder = workspace::root().join("sbom/vex");
    let mut files = fs_err::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    let parse = |file: &std::path::PathBuf| {
        toml::from_str(&fs_err::read_to_string(file)?).with_context(|| format!("{file:?} is wrong"))
    };
    files.iter().map(parse).collect()
}

impl Statement {
    /// Whether it is older than it says it may be, on the day `today`, as `2026-11-30`.
    pub fn expired(&self, today: &str) -> Option<String> {
        let expires = self.expires.to_string();
        (expires.as_str() < today).then(|| format!("the statement on {} expired on {expires}", self.name))
    }

    /// Whether it is about the vulnerability that has these names, in this crate.
    pub fn answers(&self, names: &[String], id: &Id) -> bool {
        let mut own = std::iter::once(&self.name).chain(&self.aliases);
        self.id() == *id && own.any(|name| names.contains(name))
    }

    fn id(&self) -> Id {
        (self.component.clone(), self.version.clone())
    }
}

/// The statements that concern one of the crates, about the artefact with this package URL; none where none does.
pub fn document(statements: &[Statement], crates: &Graph, artefact: &str, created: &str) -> Option<Value> {
    let concerns = |statement: &&Statement| crates.0.contains_key(&statement.id());
    let said: Vec<_> = statements
        .iter()
        .filter(concerns)
        .map(|statement| {
            json!({
                "vulnerability": { "name": statement.name, "aliases": statement.aliases },
                "products": [{ "@id": artefact, "subcomponents": [{ "@id": crate_purl(&statement.id()) }] }],
                "status": match statement.status {
                    Status::NotAffected => "not_affected",
                },
                "justification": match statement.justification {
                    Justification::VulnerableCodeNotPresent => "vulnerable_code_not_present",
                    Justification::VulnerableCodeNotInExecutePath => "vulnerable_code_not_in_execute_path",
                },
                "impact_statement": statement.reason,
            })
        })
        .collect();
    (!said.is_empty()).then(|| {
        json!({
            "@context": "https://openvex.dev/ns/v0.2.0",
            "@id": format!("https://github.com/boshu2/gastown-operator/vex/{artefact}"),
            "author": "gastown-operator",
            "timestamp": created,
            "version": 1,
            "statements": said,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependencies::Crate;

    fn crates(version: &str) -> Graph {
        let one = Crate {
            license: String::new(),
            is_ours: false,
            uses: std::collections::BTreeSet::new(),
        };
        Graph([(("aws-lc-fips-sys".to_owned(), version.to_owned()), one)].into())
    }

    #[test]
    fn statements_are_made_of_the_version_that_was_looked_at() {
        let statements = load().unwrap();
        assert_eq!(statements.len(), 2);
        let of = |version| document(&statements, &crates(version), "pkg:oci/a", "2026-01-01T00:00:00Z");
        let document = of("0.13.11").unwrap();
        assert_eq!(
            document["statements"][0]["vulnerability"]["aliases"][0],
            "CVE-2026-3337"
        );
        assert_eq!(
            document["statements"][1]["products"][0]["subcomponents"][0]["@id"],
            "pkg:cargo/aws-lc-fips-sys@0.13.11"
        );
        assert_eq!(of("0.13.12"), None);
    }

    #[test]
    fn a_statement_that_nobody_looks_at_again_expires() {
        let statement = &load().unwrap()[0];
        assert_eq!(statement.expired("2027-05-31"), None);
        assert_eq!(
            statement.expired("2027-06-01").unwrap(),
            "the statement on GHSA-65p9-r9h6-22vj expired on 2027-05-31"
        );
    }
}
