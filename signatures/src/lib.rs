//! What cosign attaches to an image, read and verified with public keys: signatures in the layout of cosign 2 (tag `.sig`),
//! in-toto statements in DSSE envelopes (tag `.att`), and Sigstore bundles v0.3, which cosign 3 finds by referrers.
//!
//! No I/O, no clock, no network: a signature of a key pair needs no transparency log. Certificates of keyless signatures
//! are not verified here; they need one.

mod attached;
mod bundle;
mod envelope;
mod flaw;
mod policy;
mod simple;
mod statement;

pub use attached::{Attached, Signed, Verified, verify};
pub use flaw::Flaw;
pub use policy::{Policy, ReadPolicy, Refused, decide};
pub use statement::{CYCLONEDX, OPENVEX, PROVENANCE, SIGNATURE, SPDX, Statement};

/// Media type of a bundle.
pub const BUNDLE: &str = bundle::MEDIA_TYPE;
/// Media type of an envelope.
pub const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Media type of cosign 2's signed payload.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of a payload's layer that holds its signature, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// The annotation of a bundle's manifest that names the type of its statement.
pub const PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";

#[cfg(test)]
mod vectors;
