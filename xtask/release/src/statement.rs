//! in-toto statements about artefacts: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The statement by which cosign 3 signs an image.
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// How an artefact was built.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// A bill of materials in `CycloneDX`.
pub const CYCLONEDX: &str = "https://cyclonedx.org/bom";
/// A bill of materials in SPDX.
pub const SPDX: &str = "https://spdx.dev/Document";

/// What known vulnerabilities mean for an artefact.
pub const OPENVEX: &str = "https://openvex.dev/ns/v0.2.0";

/// How tests of an artefact ended.
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// What was seen of the validated module in the programs of an image.
pub const FIPS_EVIDENCE: &str =
    "https://github.com/boshu2/gastown-operator/blob/main/docs/release.md#fips-evidence-v1";

/// What the fields of a provenance mean: `docs/release.md` says it.
const BUILD_TYPE: &str = "https://github.com/boshu2/gastown-operator/blob/main/docs/release.md#build-type-v1";
/// A build by hand or by a script: no service vouches for it, so it claims SLSA Build L1.
const BUILDER: &str = "https://github.com/boshu2/gastown-operator/blob/main/docs/release.md#local-builder";

/// Something that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name: a repository, or a file.
    pub name: String,
    /// `sha256:…`
    pub digest: String,
}

/// Something that went into a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Material {
    /// A package URL, or the address of a repository.
    pub uri: String,
    /// Its hash, by the name of the algorithm.
    pub digest: std::collections::BTreeMap<String, String>,
}

/// What is known of a build.
#[derive(Debug, Clone)]
pub struct Build {
    /// The repository.
    pub source: String,
    /// The commit.
    pub commit: String,
    /// What whoever started the build chose.
    pub parameters: Value,
    /// Versions of the tools on the machine.
    pub tools: Value,
    /// The packages that went into it.
    pub materials: Vec<Material>,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    pub finished: String,
}

/// The statement of type `kind` with content `predicate` about `subject`.
pub fn new(subject: &Subject, kind: &str, predicate: &Value) -> Value {
    let hash = subject.digest.trim_start_matches("sha256:");
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": subject.name, "digest": { "sha256": hash } }],
        "predicateType": kind,
        "predicate": predicate,
    })
}

/// How `subject` was built: <https://slsa.dev/spec/v1.2/build-provenance>.
pub fn provenance(subject: &Subject, build: &Build) -> Value {
    let source = json!({
        "uri": format!("git+{}@{}", build.source, build.commit),
        "digest": { "gitCommit": build.commit },
    });
    let materials = build.materials.iter().map(|material| json!(material));
    let dependencies: Vec<_> = std::iter::once(source).chain(materials).collect();
    let predicate = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": build.parameters,
            "internalParameters": build.tools,
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": { "id": BUILDER },
            "metadata": { "startedOn": build.started, "finishedOn": build.finished },
        },
    });
    new(subject, PROVENANCE, &predicate)
}

/// Whether a statement is about the artefact with this digest.
pub fn is_about(statement: &Value, digest: &str) -> bool {
    let hash = digest.trim_start_matches("sha256:");
    let subjects = statement["subject"].as_array().into_iter().flatten();
    subjects
        .into_iter()
        .any(|subject| subject["digest"]["sha256"] == hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provenance_names_the_commit_first_and_everything_that_went_in() {
        let subject = Subject {
            name: "x/operator".to_owned(),
            digest: "sha256:ab".to_owned(),
        };
        let material = Material {
            uri: "pkg:cargo/serde@1.0.0".to_owned(),
            digest: [("sha256".to_owned(), "cd".to_owned())].into(),
        };
        let build = Build {
            source: "https://example.invalid/repo".to_owned(),
            commit: "c0ffee".to_owned(),
            parameters: json!({ "edition": "fips" }),
            tools: json!({ "rustc": "1.95.0" }),
            materials: vec![material],
            started: "2026-01-01T00:00:00Z".to_owned(),
            finished: "2026-01-01T00:01:00Z".to_owned(),
        };
        let statement = provenance(&subject, &build);
        let definition = &statement["predicate"]["buildDefinition"];
        assert_eq!(
            definition["resolvedDependencies"],
            json!([
                { "uri": "git+https://example.invalid/repo@c0ffee", "digest": { "gitCommit": "c0ffee" } },
                { "uri": "pkg:cargo/serde@1.0.0", "digest": { "sha256": "cd" } },
            ])
        );
        assert_eq!(definition["externalParameters"]["edition"], "fips");
        assert!(is_about(&statement, "sha256:ab"));
        assert!(!is_about(&statement, "sha256:cd"));
    }
}
