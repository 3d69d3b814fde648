//! Whether an image may run: a pure function of a policy and of what is attached to the image.

use gastown_api::image_policy::ImagePolicy;
use gastown_api::reason::Reason;
use gastown_crypto::{Digest, PublicKey, ReadPublicKey};

use crate::attached::{Attached, Signed, Verified, verify};
use crate::flaw::Flaw;

/// A policy with its keys read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: String,
    keys: Vec<PublicKey>,
    require_attestations: Vec<String>,
}

/// Why a policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadPolicy {
    /// A key is none.
    #[error("keys[{index}] {shown:?}: {source}")]
    ReadKey {
        /// Which one.
        index: usize,
        /// Its first line.
        shown: String,
        /// What is wrong, with the remedy.
        source: ReadPublicKey,
    },
    /// Statements are asked for, and nobody may have signed them.
    #[error("requireAttestations {first:?} needs keys: a statement counts only if one of them signed it")]
    NeedKeys {
        /// The first of them.
        first: String,
    },
    /// A type of statements is none.
    #[error(
        "requireAttestations {shown:?} is no URI; write it as the attestation does, such as https://slsa.dev/provenance/v1"
    )]
    ReadType {
        /// It.
        shown: String,
    },
}

/// Why an image may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `ImageUnsigned` or `ImageSignatureInvalid`.
    pub reason: Reason,
    /// What the image lacks, and who asks for it.
    pub message: String,
}

impl Policy {
    /// Reads a policy; `name` says in messages whose it is.
    pub fn read(name: &str, policy: &ImagePolicy) -> Result<Self, ReadPolicy> {
        let keys = policy.keys.iter().enumerate().map(|(index, text)| {
            PublicKey::from_pem(text).map_err(|source| ReadPolicy::ReadKey {
                index,
                // A private key is not shown, nor is what stands in its place.
                shown: text
                    .trim()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(40)
                    .collect(),
                source,
            })
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let types = policy.require_attestations.iter();
        for kind in types.clone() {
            let is_uri = kind.split_once(':').is_some_and(|(scheme, rest)| {
                !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase()) && !rest.is_empty()
            });
            if !is_uri || kind.contains(' ') {
                return Err(ReadPolicy::ReadType { shown: kind.clone() });
            }
        }
        if let (true, Some(first)) = (keys.is_empty(), types.clone().next()) {
            return Err(ReadPolicy::NeedKeys { first: first.clone() });
        }
        Ok(Self {
            name: name.to_owned(),
            keys,
            require_attestations: types.cloned().collect(),
        })
    }

    /// Whether anything has to be looked up for it.
    #[must_use]
    pub fn asks_for_signatures(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether statements of that type are asked for.
    #[must_use]
    pub fn asks_for(&self, predicate_type: &str) -> bool {
        self.require_attestations
            .iter()
            .any(|wanted| wanted == predicate_type)
    }
}

/// Whether the image `digest` may run, given all that is attached to it. One good signature is enough: whoever may push
/// can put a bad one beside it.
pub fn decide(policy: &Policy, digest: &Digest, attached: &[Attached]) -> Result<(), Refused> {
    if !policy.asks_for_signatures() {
        return Ok(());
    }
    let mut verified = Vec::new();
    let mut flaws = Vec::new();
    for one in attached {
        match verify(one, &policy.keys, digest) {
            Ok(signed) => verified.push(signed),
            Err(flaw) => flaws.push((one, flaw)),
        }
    }
    let worst = flaws.iter().map(|(_, flaw)| flaw).max();
    let may_be_statement = |one: &Attached| !matches!(one, Attached::Simple { .. });
    let statements = flaws.iter().filter(|(one, _)| may_be_statement(one));
    let worst_statement = statements.map(|(_, flaw)| flaw).max();
    let is_signature = |signed: &Signed| signed.what == Verified::Signature;
    if !verified.iter().any(is_signature) {
        return Err(missing(policy, "signature", "a signature", worst));
    }
    let states = |signed: &Signed, wanted: &String| match &signed.what {
        Verified::Statement(statement) => statement.predicate_type == *wanted,
        Verified::Signature => false,
    };
    for wanted in &policy.require_attestations {
        if !verified.iter().any(|signed| states(signed, wanted)) {
            return Err(missing(
                policy,
                &format!("signed statement of type {wanted:?}"),
                "one",
                worst_statement,
            ));
        }
    }
    Ok(())
}

fn missing(policy: &Policy, what: &str, one: &str, worst: Option<&Flaw>) -> Refused {
    let name = &policy.name;
    match worst {
        None => Refused {
            reason: Reason::ImageUnsigned,
            message: format!("it has no {what}, and {name} asks for {one}"),
        },
        Some(flaw) => Refused {
            reason: Reason::ImageSignatureInvalid,
            message: format!("it has no {what} that {name} allows; of what is attached to it, {flaw}"),
        },
    }
}
