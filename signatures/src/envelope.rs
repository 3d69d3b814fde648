//! DSSE envelopes: <https://github.com/secure-systems-lab/dsse/blob/master/envelope.md>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gastown_crypto::{Digest, PublicKey};
use serde::Deserialize;

use crate::flaw::Flaw;

/// The payload type that an envelope must have.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The maximum number of signatures of one envelope; one with more is refused.
const MOST_SIGNATURES: usize = 16;

/// A decoded envelope with a statement; it is not verified before [`Self::verify`].
pub(crate) struct Envelope {
    pub(crate) payload: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

/// An envelope in its serialized form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    payload: String,
    payload_type: String,
    signatures: Vec<WrittenSignature>,
}

#[derive(Deserialize)]
struct WrittenSignature {
    sig: String,
}

impl Envelope {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let written: Written =
            serde_json::from_slice(bytes).map_err(|_| Flaw::Read("it is no DSSE envelope"))?;
        Self::of(&written)
    }

    pub(crate) fn of(written: &Written) -> Result<Self, Flaw> {
        if written.payload_type != IN_TOTO {
            return Err(Flaw::Read("the envelope holds no in-toto statement"));
        }
        if written.signatures.len() > MOST_SIGNATURES {
            return Err(Flaw::Read("the envelope has more than 16 signatures"));
        }
        let decode = |text: &str| {
            STANDARD
                .decode(text)
                .map_err(|_| Flaw::Read("a part of the envelope is no base64"))
        };
        Ok(Self {
            payload: decode(&written.payload)?,
            signatures: written
                .signatures
                .iter()
                .map(|signature| decode(&signature.sig))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Returns the ID of the first of `keys` that verifies one of the signatures.
    pub(crate) fn verify(&self, keys: &[PublicKey]) -> Result<Digest, Flaw> {
        let message = pre_authentication(&self.payload);
        let signed = |key: &&PublicKey| {
            self.signatures
                .iter()
                .any(|signature| key.verifies(&message, signature))
        };
        keys.iter().find(signed).map(PublicKey::id).ok_or(Flaw::OtherKey)
    }
}

/// The pre-authentication encoding, which is signed in place of the payload:
/// <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pre_authentication_encoding_counts_type_and_payload() {
        let message = String::from_utf8(pre_authentication(b"hello")).unwrap();
        assert_eq!(message, "DSSEv1 28 application/vnd.in-toto+json 5 hello");
    }
}
