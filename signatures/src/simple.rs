//! Cosign 2's signed payload: <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gastown_crypto::{Digest, PublicKey};
use serde::Deserialize;

use crate::flaw::Flaw;

/// What the payload says of itself.
const TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    type_: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// The key that signed `payload`, if that is of the image `digest`. The name of the image in it does not count: it is that
/// of the registry where it was signed, and mirrors have others.
pub(crate) fn verify(
    payload: &[u8],
    signature: &str,
    keys: &[PublicKey],
    digest: &Digest,
) -> Result<Digest, Flaw> {
    let signature = STANDARD
        .decode(signature)
        .map_err(|_| Flaw::Read("the signature of the payload is no base64"))?;
    let key = keys.iter().find(|key| key.verifies(payload, &signature));
    let key = key.ok_or(Flaw::OtherKey)?.id();
    let payload: Payload =
        serde_json::from_slice(payload).map_err(|_| Flaw::Read("the payload is none of cosign's"))?;
    if payload.critical.type_ != TYPE {
        return Err(Flaw::Read("the payload is no signature of an image"));
    }
    if payload.critical.image.digest != digest.to_string() {
        return Err(Flaw::OtherImage(payload.critical.image.digest));
    }
    Ok(key)
}
