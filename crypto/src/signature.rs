//! Public keys that signatures of artefacts are verified with.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

use crate::{Digest, sha256};

/// What cosign makes by itself, and what it takes from others. With both, it signs SHA-256 digests.
const ALGORITHMS: [&dyn VerificationAlgorithm; 2] = [&ECDSA_P256_SHA256_ASN1, &RSA_PKCS1_2048_8192_SHA256];

/// A public key, ECDSA on P-256 or RSA of 2,048 to 8,192 bits.
#[derive(Clone)]
pub struct PublicKey {
    key: ParsedPublicKey,
    id: Digest,
}

/// Why a text is no public key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadPublicKey {
    /// It is a private key, and may be one that nobody else should have seen.
    #[error(
        "it is a private key; write the public one, which `cosign public-key --key FILE` prints, and replace the pair"
    )]
    IsPrivate,
    /// It is no public key in PEM.
    #[error(
        "it is no public key in PEM; write the content of cosign.pub, from -----BEGIN PUBLIC KEY----- on"
    )]
    ReadPem,
    /// It is a key of another kind.
    #[error(
        "its kind is not supported; make an ECDSA key on P-256 with `cosign generate-key-pair`, or RSA of 2048 to 8192 bits"
    )]
    ReadKey,
}

impl PublicKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`.
    pub fn from_pem(text: &str) -> Result<Self, ReadPublicKey> {
        if text.contains("PRIVATE KEY-----") {
            return Err(ReadPublicKey::IsPrivate);
        }
        let der =
            SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| ReadPublicKey::ReadPem)?;
        let parse = |algorithm| ParsedPublicKey::new(algorithm, &*der).ok();
        let key = ALGORITHMS.into_iter().find_map(parse);
        Ok(Self {
            key: key.ok_or(ReadPublicKey::ReadKey)?,
            id: sha256(&der),
        })
    }

    /// The SHA-256 digest of the key as DER, by which people tell keys apart.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.id
    }

    /// Whether `signature` (ASN.1 for ECDSA) is this key's, of the SHA-256 digest of `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for PublicKey {}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    };

    use super::*;

    fn pem(der: &[u8]) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
        for part in der.chunks(3) {
            let bits =
                part.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
            for index in 0..4 {
                let digit = alphabet[(bits >> (18 - 6 * index) & 63) as usize];
                text.push(if index <= part.len() {
                    char::from(digit)
                } else {
                    '='
                });
            }
        }
        text + "\n-----END PUBLIC KEY-----\n"
    }

    #[test]
    fn a_signature_counts_for_its_message_and_key_alone() {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let key = |pair: &EcdsaKeyPair| {
            PublicKey::from_pem(&pem(pair.public_key().as_der().unwrap().as_ref())).unwrap()
        };
        let signature = pair.sign(&random, b"message").unwrap();
        assert!(key(&pair).verifies(b"message", signature.as_ref()));
        assert!(!key(&pair).verifies(b"Message", signature.as_ref()));
        assert!(!key(&pair).verifies(b"message", &[]));
        assert!(!key(&other).verifies(b"message", signature.as_ref()));
        assert_ne!(key(&pair), key(&other));
    }

    #[test]
    fn an_rsa_key_verifies_too() {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let der = pair.public_key().as_der().unwrap();
        let key = PublicKey::from_pem(&pem(der.as_ref())).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            b"message",
            &mut signature,
        )
        .unwrap();
        assert!(key.verifies(b"message", &signature));
        signature[7] ^= 1;
        assert!(!key.verifies(b"message", &signature));
    }

    #[test]
    fn what_is_no_such_key_is_refused_with_the_remedy() {
        let p384 = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEHD+1zRSavkZP0Mhs+CC9QxR1g4UzYepZ\n\
            YfZQzOyp3lZT1iY5G1oEvFYcRyx6arAU26LYzxDL5IjWDdcJb+fYMU2jgc9Hz+tm\nqUwmuznluaS66D1i/sh0pbabCF2m8Aun\n\
            -----END PUBLIC KEY-----\n";
        let empty = "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n";
        for (text, flaw) in [
            ("", ReadPublicKey::ReadPem),
            ("cosign.pub", ReadPublicKey::ReadPem),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
                ReadPublicKey::ReadPem,
            ),
            (
                "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END",
                ReadPublicKey::IsPrivate,
            ),
            (empty, ReadPublicKey::ReadKey),
            (&p384.replace("            ", ""), ReadPublicKey::ReadKey),
        ] {
            assert_eq!(PublicKey::from_pem(text), Err(flaw), "{text}");
        }
    }
}
