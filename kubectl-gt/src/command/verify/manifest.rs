//! What is known of one manifest: an image, or an index of images for several platforms.

use gastown_crypto::{Digest, PublicKey};
use gastown_signatures::{Attached, CYCLONEDX, Flaw, OPENVEX, PROVENANCE, SPDX, Statement, Verified, verify};
use serde_json::{Value, json};

use crate::output::detail::Detail;

/// A manifest, and what one of the keys vouches for.
pub(super) struct Checked {
    /// `linux/amd64`, `index`, or `image` where nothing says more.
    pub(super) platform: String,
    pub(super) digest: Digest,
    /// The key that signed it.
    key: Option<Digest>,
    statements: Vec<Statement>,
    /// Why the rest does not count.
    flaws: Vec<Flaw>,
}

/// Who built it from what, as its provenance says.
struct Built<'a> {
    builder: &'a str,
    source: &'a str,
    commit: &'a str,
}

impl Checked {
    pub(super) fn of(platform: String, digest: Digest, attached: &[Attached], keys: &[PublicKey]) -> Self {
        let mut checked = Self {
            platform,
            digest,
            key: None,
            statements: Vec::new(),
            flaws: Vec::new(),
        };
        for one in attached {
            match verify(one, keys, &digest) {
                Ok(signed) => match signed.what {
                    Verified::Signature => checked.key = Some(signed.key),
                    // Both layouts have the same statement.
                    Verified::Statement(statement) if checked.statements.contains(&statement) => {}
                    Verified::Statement(statement) => checked.statements.push(statement),
                },
                Err(flaw) => checked.flaws.push(flaw),
            }
        }
        checked.flaws.sort();
        checked.flaws.dedup();
        checked
    }

    fn has(&self, kind: &str) -> bool {
        self.statements
            .iter()
            .any(|statement| statement.predicate_type == kind)
    }

    /// What it lacks. An index holds no software of its own, so it has no bill of materials.
    pub(super) fn missing(&self, signature_only: bool) -> Vec<String> {
        let mut missing = Vec::new();
        if self.key.is_none() {
            let why = self
                .flaws
                .last()
                .map_or_else(String::new, |flaw| format!(" (of what is attached, {flaw})"));
            missing.push(format!("no signature of the key{why}"));
        }
        if !signature_only {
            if !self.has(PROVENANCE) {
                missing.push("no signed provenance".to_owned());
            }
            if self.platform != "index" && !self.has(CYCLONEDX) && !self.has(SPDX) {
                missing.push("no signed bill of materials".to_owned());
            }
        }
        missing
    }

    fn built(&self) -> Option<Built<'_>> {
        let provenance = self
            .statements
            .iter()
            .find(|statement| statement.predicate_type == PROVENANCE)?;
        let text = |pointer: &str| {
            provenance
                .predicate
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("unknown")
        };
        Some(Built {
            builder: text("/runDetails/builder/id"),
            source: text("/buildDefinition/resolvedDependencies/0/uri"),
            commit: text("/buildDefinition/resolvedDependencies/0/digest/gitCommit"),
        })
    }

    pub(super) fn value(&self) -> Value {
        let built = self.built();
        json!({
            "platform": self.platform,
            "digest": self.digest.to_string(),
            "key": self.key.map(|key| key.to_string()),
            "statements": self.statements.iter().map(|one| one.predicate_type.as_str()).collect::<Vec<_>>(),
            "builder": built.as_ref().map(|built| built.builder),
            "source": built.as_ref().map(|built| built.source),
            "commit": built.as_ref().map(|built| built.commit),
            "notCounted": self.flaws.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    pub(super) fn tell(&self, detail: &mut Detail) {
        let kinds: Vec<_> = self
            .statements
            .iter()
            .map(|one| short(&one.predicate_type))
            .collect();
        detail
            .section(&self.platform)
            .field("Digest", self.digest.to_string())
            .field(
                "Signed by key",
                self.key
                    .map_or_else(|| "none of those given".to_owned(), |key| key.to_string()),
            )
            .field("Statements", kinds.join(", "));
        if let Some(built) = self.built() {
            detail
                .field("Built by", built.builder)
                .field("From", built.source)
                .field("Commit", built.commit);
        }
        let flaws: Vec<_> = self.flaws.iter().map(ToString::to_string).collect();
        detail.field("Not counted", flaws.join("; "));
    }
}

/// What people call a type of statements.
fn short(kind: &str) -> &str {
    match kind {
        PROVENANCE => "SLSA provenance",
        CYCLONEDX => "CycloneDX",
        SPDX => "SPDX",
        OPENVEX => "OpenVEX",
        other => other,
    }
}
