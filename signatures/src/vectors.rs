//! What cosign 3.1.3 signed (`vectors/`), and what is left of it when somebody changes something.

use std::collections::BTreeMap;

use gastown_api::image_policy::ImagePolicy;
use gastown_api::reason::Reason;
use gastown_crypto::{Digest, sha256};
use serde::Deserialize;
use serde_json::Value;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    images: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
    manifests: BTreeMap<String, String>,
    blobs: BTreeMap<String, String>,
}

impl Vectors {
    fn read() -> Self {
        serde_json::from_str(include_str!("../vectors/cosign-3.1.3.json")).unwrap()
    }

    fn digest(&self, image: &str) -> Digest {
        self.images[image].parse().unwrap()
    }

    fn layers(&self, manifest: &str) -> Vec<(Value, Vec<u8>)> {
        let Some(text) = self.manifests.get(manifest) else {
            return Vec::new();
        };
        let manifest: Value = serde_json::from_str(text).unwrap();
        let layers = manifest["layers"].as_array().unwrap().clone();
        let content = |layer: Value| {
            let blob = self.blobs[layer["digest"].as_str().unwrap()].clone().into_bytes();
            (layer, blob)
        };
        layers.into_iter().map(content).collect()
    }

    fn at(&self, image: &str, end: &str) -> Vec<Attached> {
        let tag = format!("{}{end}", self.images[image].replace(':', "-"));
        match end {
            "" => {
                let Some(list) = self.manifests.get(&tag) else {
                    return Vec::new();
                };
                let list: Value = serde_json::from_str(list).unwrap();
                let manifests = list["manifests"].as_array().unwrap().iter();
                let layers = manifests.flat_map(|one| self.layers(one["digest"].as_str().unwrap()));
                layers.map(|(_, blob)| Attached::Bundle(blob)).collect()
            }
            ".sig" => {
                let layers = self.layers(&tag).into_iter();
                let simple = layers.map(|(layer, payload)| Attached::Simple {
                    payload,
                    signature: layer["annotations"][SIGNATURE_ANNOTATION]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                });
                simple.collect()
            }
            _ => self
                .layers(&tag)
                .into_iter()
                .map(|(_, blob)| Attached::Envelope(blob))
                .collect(),
        }
    }

    fn policy(&self, keys: &[&str], types: &[&str]) -> Policy {
        let policy = ImagePolicy {
            keys: keys.iter().map(|name| self.keys[*name].clone()).collect(),
            require_digest: false,
            require_attestations: types.iter().map(|&kind| kind.to_owned()).collect(),
        };
        Policy::read("the test's policy", &policy).unwrap()
    }
}

fn reason(outcome: Result<(), Refused>) -> &'static str {
    outcome.map_or_else(|refused| refused.reason.as_str(), |()| "allowed")
}

#[test]
fn what_cosign_signed_is_allowed_by_its_key_alone_in_each_layout() {
    let vectors = Vectors::read();
    for (image, end, keys, wanted) in [
        ("signed", ".sig", &["a"][..], "allowed"),
        ("signed", "", &["a"], "allowed"),
        ("signed", ".sig", &["b", "a"], "allowed"),
        ("signed", ".sig", &["b"], "ImageSignatureInvalid"),
        ("signed", "", &["b"], "ImageSignatureInvalid"),
        ("stranger", ".sig", &["a"], "ImageSignatureInvalid"),
        ("stranger", "", &["a"], "ImageSignatureInvalid"),
        ("stranger", ".sig", &["b"], "allowed"),
        ("plain", ".sig", &["a"], "allowed"),
        ("plain", ".sig", &["rsa"], "allowed"),
        ("plain", "", &["rsa"], "allowed"),
        ("bundled", "", &["a"], "allowed"),
        ("bundled", ".sig", &["a"], "ImageUnsigned"),
        ("unsigned", ".sig", &["a"], "ImageUnsigned"),
        ("unsigned", "", &["a"], "ImageUnsigned"),
        ("unsigned", "", &[], "allowed"),
        // A statement about an image is no signature of it.
        ("signed", ".att", &["a"], "ImageUnsigned"),
    ] {
        let (digest, policy) = (vectors.digest(image), vectors.policy(keys, &[]));
        let found = reason(decide(&policy, &digest, &vectors.at(image, end)));
        assert_eq!(found, wanted, "{image}{end} {keys:?}");
    }
}

#[test]
fn a_statement_that_is_asked_for_must_be_there_and_signed() {
    let vectors = Vectors::read();
    let all = |image: &str| ["", ".sig", ".att"].map(|end| vectors.at(image, end)).concat();
    for (image, types, wanted) in [
        ("signed", &[PROVENANCE][..], "allowed"),
        ("signed", &[PROVENANCE, SPDX], "ImageUnsigned"),
        ("bundled", &[PROVENANCE], "ImageUnsigned"),
        ("stranger", &[PROVENANCE], "ImageSignatureInvalid"),
    ] {
        let policy = vectors.policy(&["a"], types);
        let found = reason(decide(&policy, &vectors.digest(image), &all(image)));
        assert_eq!(found, wanted, "{image} {types:?}");
    }
    let signed = vectors.at("signed", ".att");
    let keys = [gastown_crypto::PublicKey::from_pem(&vectors.keys["a"]).unwrap()];
    let Verified::Statement(statement) = verify(&signed[0], &keys, &vectors.digest("signed")).unwrap().what
    else {
        panic!("it is no statement");
    };
    let commit = statement
        .predicate
        .pointer("/buildDefinition/resolvedDependencies/0/digest/gitCommit");
    assert_eq!(commit.unwrap(), "0123456789abcdef0123456789abcdef01234567");
}

#[test]
fn a_signature_of_another_image_and_a_statement_about_one_are_invalid() {
    let vectors = Vectors::read();
    let policy = vectors.policy(&["a"], &[]);
    for end in ["", ".sig"] {
        let refused = decide(&policy, &sha256(b"another"), &vectors.at("signed", end)).unwrap_err();
        assert_eq!(refused.reason, Reason::ImageSignatureInvalid, "{end}");
        assert!(
            refused.message.contains(&vectors.images["signed"]),
            "{}",
            refused.message
        );
    }
}

#[test]
fn a_bad_signature_beside_a_good_one_does_no_harm() {
    let vectors = Vectors::read();
    let mut attached = vectors.at("stranger", ".sig");
    attached.push(Attached::Bundle(b"{".to_vec()));
    attached.extend(vectors.at("signed", ".sig"));
    let (policy, digest) = (vectors.policy(&["a"], &[]), vectors.digest("signed"));
    assert_eq!(decide(&policy, &digest, &attached), Ok(()));
}

/// Every byte of every thing that was signed or signs: what does not change its meaning (white space, a name that does
/// not count) may stay allowed, nothing else.
#[test]
fn a_changed_byte_makes_a_signature_invalid() {
    let vectors = Vectors::read();
    let (policy, digest) = (vectors.policy(&["a"], &[]), vectors.digest("signed"));
    let allowed = |attached: Attached| decide(&policy, &digest, &[attached]).is_ok();
    let Attached::Simple { payload, signature } = vectors.at("signed", ".sig").remove(0) else {
        panic!("it is no payload");
    };
    for index in 0..payload.len() {
        let mut payload = payload.clone();
        payload[index] ^= 1;
        let signature = signature.clone();
        assert!(
            !allowed(Attached::Simple { payload, signature }),
            "byte {index} of the payload"
        );
    }
    for index in 0..signature.len() {
        let mut changed = signature.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let (payload, signature) = (payload.clone(), String::from_utf8(changed).unwrap());
        assert!(
            !allowed(Attached::Simple { payload, signature }),
            "digit {index} of the signature"
        );
    }
    let bundles = vectors
        .at("signed", "")
        .into_iter()
        .filter(|bundle| allowed(bundle.clone()));
    let [Attached::Bundle(bundle)] = &bundles.collect::<Vec<_>>()[..] else {
        panic!("there is one bundle with a signature");
    };
    let text = String::from_utf8(bundle.clone()).unwrap();
    for part in [
        "\"payload\":\"",
        "\"sig\":\"",
        "\"payloadType\":\"",
        "\"mediaType\":\"",
    ] {
        let start = text.find(part).unwrap() + part.len();
        let end = start + text[start..].find('"').unwrap();
        for index in start..end {
            let mut changed = bundle.clone();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            assert!(!allowed(Attached::Bundle(changed)), "byte {index}, in {part}");
        }
    }
}

#[test]
fn keyless_bundles_are_told_and_what_is_no_bundle_is_damaged() {
    let vectors = Vectors::read();
    let keys = [gastown_crypto::PublicKey::from_pem(&vectors.keys["a"]).unwrap()];
    let digest = vectors.digest("signed");
    let Attached::Bundle(bundle) = vectors.at("bundled", "").remove(0) else {
        panic!("it is no bundle");
    };
    let bundle: Value = serde_json::from_slice(&bundle).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut changed = bundle.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        verify(
            &Attached::Bundle(changed.to_string().into_bytes()),
            &keys,
            &digest,
        )
        .unwrap_err()
    };
    let certificate = serde_json::json!({"certificate": {"rawBytes": "AAAA"}});
    assert_eq!(with("/verificationMaterial", certificate), Flaw::Keyless);
    for (pointer, value, word) in [
        (
            "/mediaType",
            Value::from("application/vnd.dev.sigstore.bundle+json;version=0.2"),
            "0.3",
        ),
        ("/dsseEnvelope", Value::Null, "signs a file"),
        ("/dsseEnvelope/payloadType", Value::from("text/plain"), "in-toto"),
        ("/dsseEnvelope/payload", Value::from("%"), "base64"),
        (
            "/dsseEnvelope/signatures",
            Value::from(vec![serde_json::json!({"sig": ""}); 17]),
            "more than 16",
        ),
    ] {
        let flaw = with(pointer, value).to_string();
        assert!(flaw.contains(word), "{pointer}: {flaw}");
    }
    for text in ["", "{", "[]", "null", "{\"mediaType\":1}"] {
        let flaw = verify(&Attached::Bundle(text.into()), &keys, &digest).unwrap_err();
        assert!(matches!(flaw, Flaw::Read(_)), "{text}: {flaw:?}");
        let flaw = verify(&Attached::Envelope(text.into()), &keys, &digest).unwrap_err();
        assert!(matches!(flaw, Flaw::Read(_)), "{text}: {flaw:?}");
    }
}

#[test]
fn a_policy_that_cannot_be_used_is_refused_with_field_value_and_remedy() {
    let key = Vectors::read().keys["a"].clone();
    let read = |keys: &[&str], types: &[&str]| {
        let policy = ImagePolicy {
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            require_digest: false,
            require_attestations: types.iter().map(|&kind| kind.to_owned()).collect(),
        };
        Policy::read("p", &policy)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(read(&[&key], &[PROVENANCE]), Ok(()));
    for (keys, types, field, value, remedy) in [
        (
            &["cosign.pub"][..],
            &[][..],
            "keys[0]",
            "cosign.pub",
            "write the content of cosign.pub",
        ),
        (
            &[&key, ""],
            &[],
            "keys[1]",
            "\"\"",
            "write the content of cosign.pub",
        ),
        (
            &["-----BEGIN EC PRIVATE KEY-----\nhunter2"],
            &[],
            "keys[0]",
            "BEGIN EC",
            "replace the pair",
        ),
        (
            &[&key],
            &["slsa"],
            "requireAttestations",
            "slsa",
            "https://slsa.dev/provenance/v1",
        ),
        (
            &[&key],
            &["a: b"],
            "requireAttestations",
            "a: b",
            "https://slsa.dev/provenance/v1",
        ),
        (
            &[],
            &[PROVENANCE],
            "requireAttestations",
            PROVENANCE,
            "needs keys",
        ),
    ] {
        let error = read(keys, types).unwrap_err();
        assert!(
            [field, value, remedy].iter().all(|part| error.contains(part)),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}
