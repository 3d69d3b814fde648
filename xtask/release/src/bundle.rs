//! Sigstore bundles v0.3 of a key pair: <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto>.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::keys::{Signer, Verifier};

/// Media type of a bundle.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What an envelope holds.
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Signs a file's content.
pub fn of_blob(signer: &Signer, content: &[u8]) -> Result<Value> {
    Ok(json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": signer.hint() } },
        "messageSignature": {
            "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(Sha256::digest(content)) },
            "signature": signer.sign(content)?,
        },
    }))
}

/// Signs an in-toto statement, in a DSSE envelope.
pub fn of_statement(signer: &Signer, statement: &Value) -> Result<Value> {
    let payload = serde_json::to_vec(statement)?;
    let signature = signer.sign(&pre_authentication(&payload))?;
    Ok(json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": signer.hint() } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": IN_TOTO,
            "signatures": [{ "sig": signature }],
        },
    }))
}

/// Fails unless the bundle signs this file's content.
pub fn verify_blob(verifier: &Verifier, bundle: &Value, content: &[u8]) -> Result<()> {
    check_type(bundle)?;
    let signature = bundle["messageSignature"]["signature"]
        .as_str()
        .context("the bundle signs no file")?;
    verifier.verify(signature, content)
}

/// The statement in an envelope, once its signature is verified.
pub fn verify_statement(verifier: &Verifier, bundle: &Value) -> Result<Value> {
    check_type(bundle)?;
    verify_envelope(verifier, &bundle["dsseEnvelope"])
}

/// The statement in a bare envelope, once its signature is verified.
pub fn verify_envelope(verifier: &Verifier, envelope: &Value) -> Result<Value> {
    let payload = envelope["payload"]
        .as_str()
        .context("there is no envelope with a statement")?;
    ensure!(
        envelope["payloadType"] == IN_TOTO,
        "the envelope holds {}, not an in-toto statement",
        envelope["payloadType"]
    );
    let payload = STANDARD
        .decode(payload)
        .context("the envelope's payload is no base64")?;
    let signature = envelope["signatures"][0]["sig"]
        .as_str()
        .context("the envelope has no signature")?;
    verifier.verify(signature, &pre_authentication(&payload))?;
    serde_json::from_slice(&payload).context("the envelope holds no JSON")
}

fn check_type(bundle: &Value) -> Result<()> {
    ensure!(
        bundle["mediaType"] == MEDIA_TYPE,
        "the bundle is {}, not {MEDIA_TYPE:?}",
        bundle["mediaType"]
    );
    Ok(())
}

/// What is signed in place of the payload: <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pre_authentication_encoding_counts_type_and_payload() {
        assert_eq!(
            String::from_utf8(pre_authentication(b"hello")).unwrap(),
            "DSSEv1 28 application/vnd.in-toto+json 5 hello"
        );
    }

    #[test]
    fn a_statement_comes_out_of_its_bundle_only_as_it_was_signed() {
        let signer = Signer::fresh();
        let verifier = Verifier::from_pem(signer.public()).unwrap();
        let statement = json!({"_type": "x", "subject": []});
        let mut bundle = of_statement(&signer, &statement).unwrap();
        assert_eq!(verify_statement(&verifier, &bundle).unwrap(), statement);
        bundle["dsseEnvelope"]["payload"] = STANDARD.encode(r#"{"_type":"y"}"#).into();
        verify_statement(&verifier, &bundle).unwrap_err();
        let blob = of_blob(&signer, b"file").unwrap();
        verify_blob(&verifier, &blob, b"file").unwrap();
        verify_blob(&verifier, &blob, b"File").unwrap_err();
        verify_statement(&verifier, &blob).unwrap_err();
        verify_blob(
            &Verifier::from_pem(Signer::fresh().public()).unwrap(),
            &blob,
            b"file",
        )
        .unwrap_err();
    }

    #[test]
    fn an_older_bundle_is_refused() {
        let signer = Signer::fresh();
        let mut blob = of_blob(&signer, b"file").unwrap();
        blob["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2".into();
        let error = verify_blob(&Verifier::from_pem(signer.public()).unwrap(), &blob, b"file").unwrap_err();
        assert!(error.to_string().contains("version=0.2"), "{error}");
        let verifier = Verifier::from_pem(signer.public()).unwrap();
        let error = verify_statement(&verifier, &blob).unwrap_err();
        assert!(error.to_string().contains("version=0.2"), "{error}");
    }
}
