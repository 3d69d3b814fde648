use gastown_api::image::ImageReference;
use gastown_crypto::{PublicKey, sha256};
use gastown_registry::Challenge;
use gastown_signatures::{Attached, Statement, verify};

use super::first;

/// The key that signed the seeds, which are of other images than those that are asked about.
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEe4ubhsFRLeV52ktjhfsvtXzEBnhO
H/ugQTl5ur/AbEepyksIcahhvUjs1GrLec9a7UefBkucLDt4k4UNYooG7g==
-----END PUBLIC KEY-----
";

/// What a registry says of an image. The first byte is how it is read: a bundle, an envelope, a payload and its signature
/// between which a zero byte stands, a statement, the challenge of a header, the name of an image.
pub fn attached(data: &[u8]) {
    let (kind, data) = first(data);
    let text = String::from_utf8_lossy(data);
    let attached = match kind % 6 {
        0 => Attached::Bundle(data.to_vec()),
        1 => Attached::Envelope(data.to_vec()),
        2 => {
            let (payload, signature) = text.split_once('\0').unwrap_or((&text, ""));
            Attached::Simple {
                payload: payload.as_bytes().to_vec(),
                signature: signature.to_owned(),
            }
        }
        3 => return drop(Statement::read(data)),
        4 => return drop(Challenge::read(&text)),
        _ => {
            if let Ok(image) = text.parse::<ImageReference>() {
                let pinned = image.pinned(&sha256(data).to_string());
                let again: ImageReference = pinned.parse().expect("a pinned name is one");
                assert_eq!((again.registry(), again.path()), (image.registry(), image.path()));
            }
            return;
        }
    };
    let keys = [PublicKey::from_pem(KEY).expect("it is a key")];
    let outcome = verify(&attached, &keys, &sha256(data));
    assert!(outcome.is_err(), "nobody signed such an image");
}
