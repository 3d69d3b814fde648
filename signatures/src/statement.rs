//! In-toto statements: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>.

use std::collections::BTreeMap;

use gastown_crypto::Digest;
use serde::Deserialize;
use serde_json::Value;

use crate::flaw::Flaw;

/// Type of the predicate that stands for cosign's signature of an image.
pub const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
/// SLSA provenance.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// A bill of materials as `CycloneDX`.
pub const CYCLONEDX: &str = "https://cyclonedx.org/bom";
/// A bill of materials as SPDX.
pub const SPDX: &str = "https://spdx.dev/Document";
/// Statements on vulnerabilities.
pub const OPENVEX: &str = "https://openvex.dev/ns/v0.2.0";

/// The versions that say the same: cosign writes the older one.
const TYPES: [&str; 2] = [
    "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
];

/// What somebody states about artefacts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    type_: String,
    subject: Vec<Subject>,
    /// What kind of statement it is.
    pub predicate_type: String,
    /// The statement.
    #[serde(default)]
    pub predicate: Value,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

impl Statement {
    /// Reads a statement, of any subject.
    pub fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let statement: Self = serde_json::from_slice(bytes)
            .map_err(|_| Flaw::Read("the envelope holds no in-toto statement"))?;
        if TYPES.contains(&statement.type_.as_str()) {
            Ok(statement)
        } else {
            Err(Flaw::Read("the statement is of an unknown version of in-toto"))
        }
    }

    /// Whether one of its subjects is the artefact with this digest.
    pub(crate) fn is_about(&self, digest: &Digest) -> bool {
        let hex = digest.hex();
        self.subject
            .iter()
            .any(|subject| subject.digest.get("sha256") == Some(&hex))
    }

    /// The first of its subjects.
    pub(crate) fn shown_subjects(&self) -> String {
        let first = self
            .subject
            .first()
            .and_then(|subject| subject.digest.get("sha256"));
        let shown: String = first
            .map_or("of no digest", String::as_str)
            .chars()
            .take(64)
            .collect();
        format!("sha256:{shown}")
    }
}
