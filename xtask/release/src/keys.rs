//! Key pairs: ECDSA on P-256, as PKCS #8 or as cosign encrypts them.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use sigstore::crypto::signing_key::SigStoreKeyPair;
use sigstore::crypto::{CosignVerificationKey, SigStoreSigner, Signature, SigningScheme};

/// The environment variable with the password of an encrypted key; cosign reads it too.
pub const PASSWORD: &str = xtask_image::process::SECRETS[1];

/// In place of a file: the environment variable with the key, as cosign names it.
const IN_ENVIRONMENT: &str = "env://";
const KEY: &str = xtask_image::process::SECRETS[0];

const SCHEME: SigningScheme = SigningScheme::ECDSA_P256_SHA256_ASN1;

/// A private key.
pub struct Signer {
    private: SigStoreSigner,
    public: String,
    hint: String,
}

/// A public key.
pub struct Verifier(CosignVerificationKey);

/// A new key pair: the private key, not encrypted, and the public key, both in PEM form.
pub fn pair() -> Result<(String, String)> {
    let made = SCHEME
        .create_signer()
        .and_then(|signer| signer.to_sigstore_keypair());
    let made = made.context("failed to make a key")?;
    let private = made.private_key_to_pem().context("failed to write a key")?;
    let public = made.public_key_to_pem().context("failed to write a key")?;
    Ok((private.to_string(), public))
}

impl Signer {
    /// Reads a private key, with its password if it is encrypted.
    pub fn from_pem(pem: &str, password: Option<&str>) -> Result<Self> {
        let pair = if pem.contains("ENCRYPTED") {
            let password =
                password.with_context(|| format!("the key is encrypted; set {PASSWORD} to its password"))?;
            SigStoreKeyPair::from_encrypted_pem(pem.as_bytes(), password.as_bytes())
                .map_err(|_| anyhow!("the key cannot be decrypted; is {PASSWORD} its password?"))?
        } else {
            SigStoreKeyPair::from_pem(pem.as_bytes())
                .map_err(|_| anyhow!("the file holds no private key in PEM form"))?
        };
        let signer = pair
            .to_sigstore_signer(&SCHEME)
            .map_err(|_| anyhow!("the key is no ECDSA key on P-256; `cosign generate-key-pair` makes one"))?;
        let der = pair.public_key_to_der().context("the key has no public half")?;
        Ok(Self {
            public: pair.public_key_to_pem().context("the key has no public half")?,
            hint: STANDARD.encode(Sha256::digest(der)),
            private: signer,
        })
    }

    /// Reads the private key in a file, or `env://COSIGN_PRIVATE_KEY`; its password is that of the environment.
    pub fn read(file: &Path) -> Result<Self> {
        let password = std::env::var(PASSWORD).ok();
        let pem = match file.to_str().and_then(|name| name.strip_prefix(IN_ENVIRONMENT)) {
            // Of other variables nobody knows that programs must not get them.
            Some(name) if name != KEY => bail!("a key is read from no variable but {KEY}, not from {name:?}"),
            Some(_) => std::env::var(KEY).with_context(|| format!("{KEY} is not set"))?,
            None => fs_err::read_to_string(file)?,
        };
        Self::from_pem(&pem, password.as_deref()).with_context(|| format!("failed to read the key {file:?}"))
    }

    /// A new key pair, for tests.
    #[cfg(test)]
    pub fn fresh() -> Self {
        Self::from_pem(&pair().unwrap().0, None).unwrap()
    }

    /// The public key in PEM form.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// By what a verifier chooses the public key: the hash of its DER form, in base64, as cosign does.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// Signs, in base64.
    pub fn sign(&self, message: &[u8]) -> Result<String> {
        let signature = self.private.sign(message).context("failed to sign")?;
        Ok(STANDARD.encode(signature))
    }
}

impl Verifier {
    /// Reads a public key.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let key = CosignVerificationKey::from_pem(pem.as_bytes(), &SCHEME);
        Ok(Self(key.map_err(|_| {
            anyhow!("this is no public ECDSA key on P-256 in PEM form")
        })?))
    }

    /// Reads the public key in a file.
    pub fn read(file: &Path) -> Result<Self> {
        Self::from_pem(&fs_err::read_to_string(file)?)
            .with_context(|| format!("failed to read the key {file:?}"))
    }

    /// Fails unless `signature`, in base64, is one of this key over `message`.
    pub fn verify(&self, signature: &str, message: &[u8]) -> Result<()> {
        if self
            .0
            .verify_signature(Signature::Base64Encoded(signature.as_bytes()), message)
            .is_err()
        {
            bail!("the signature is not one of this key over this content")
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_over_one_message() {
        let (signer, other) = (Signer::fresh(), Signer::fresh());
        let verifier = Verifier::from_pem(signer.public()).unwrap();
        let signature = signer.sign(b"witness me").unwrap();
        verifier.verify(&signature, b"witness me").unwrap();
        verifier.verify(&signature, b"witness him").unwrap_err();
        verifier.verify("", b"witness me").unwrap_err();
        let other = other.sign(b"witness me").unwrap();
        verifier.verify(&other, b"witness me").unwrap_err();
    }

    #[test]
    fn a_key_in_the_environment_is_in_the_one_variable_that_no_program_gets() {
        let fails = |name: &str| Signer::read(Path::new(name)).err().map(|error| error.to_string());
        assert!(
            fails("env://HOME").is_some_and(|error| error.contains("no variable but COSIGN_PRIVATE_KEY"))
        );
        assert!(fails("env://COSIGN_PRIVATE_KEY").is_some_and(|error| error.contains("is not set")));
    }

    #[test]
    fn an_encrypted_key_needs_its_password() {
        let pair = SCHEME.create_signer().unwrap().to_sigstore_keypair().unwrap();
        let pem = pair.private_key_to_encrypted_pem(b"chrome").unwrap();
        let fails = |password| match Signer::from_pem(&pem, password) {
            Ok(_) => panic!("{password:?} opened the key"),
            Err(error) => error.to_string(),
        };
        assert_eq!(
            Signer::from_pem(&pem, Some("chrome")).unwrap().public(),
            pair.public_key_to_pem().unwrap()
        );
        assert!(fails(None).contains("set COSIGN_PASSWORD"), "{}", fails(None));
        assert!(fails(Some("rust")).contains("is COSIGN_PASSWORD its password?"));
    }

    #[test]
    fn a_key_that_cosign_cannot_use_by_default_is_refused() {
        let pair = SigningScheme::ED25519
            .create_signer()
            .unwrap()
            .to_sigstore_keypair()
            .unwrap();
        let pem = pair.private_key_to_pem().unwrap();
        let error = Signer::from_pem(&pem, None).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("no ECDSA key on P-256")));
    }
}
