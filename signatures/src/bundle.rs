//! Sigstore bundles v0.3: <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto>.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::envelope::{Envelope, Written};
use crate::flaw::Flaw;

/// The media type of a bundle.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
}

/// The envelope of a bundle.
pub(crate) fn read(bytes: &[u8]) -> Result<Envelope, Flaw> {
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(|_| Flaw::Read("it is no Sigstore bundle"))?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(Flaw::Read("it is a bundle of another version than 0.3"));
    }
    let material = bundle.verification_material;
    if material.certificate.is_some() || material.x509_certificate_chain.is_some() {
        return Err(Flaw::Keyless);
    }
    let envelope = bundle
        .dsse_envelope
        .ok_or(Flaw::Read("the bundle signs a file, not an image"))?;
    Envelope::of(&envelope)
}
