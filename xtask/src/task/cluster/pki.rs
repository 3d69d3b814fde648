//! Keys and certificates of the `api` tier: good for one run on this machine's loopback.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

/// The files that the API server and its clients read.
#[derive(Debug)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// Makes new keys and certificates in `folder`.
    pub fn create(folder: &Path) -> Result<Self> {
        fs_err::create_dir_all(folder)?;
        let pki = Self {
            folder: folder.to_path_buf(),
        };
        let authority_key = KeyPair::generate().context("failed to make the authority's key")?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "gastown-operator api tier");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params
            .self_signed(&authority_key)
            .context("failed to sign the authority")?;
        fs_err::write(pki.authority(), certificate.pem())?;
        let authority = Issuer::new(params, authority_key);

        let names = ["localhost", "127.0.0.1", "kubernetes", "kubernetes.default.svc"].map(str::to_owned);
        let mut server = CertificateParams::new(names).context("failed to name the server")?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        pki.issue("server", &server, &authority)?;

        let mut admin = CertificateParams::default();
        admin
            .distinguished_name
            .push(DnType::CommonName, "kubernetes-admin");
        // The group that the API server lets do everything.
        admin
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        pki.issue("admin", &admin, &authority)?;

        let accounts = KeyPair::generate().context("failed to make the service accounts' key")?;
        fs_err::write(pki.key("accounts"), accounts.serialize_pem())?;
        fs_err::write(pki.public_key("accounts"), accounts.public_key_pem())?;
        Ok(pki)
    }

    fn issue(&self, name: &str, params: &CertificateParams, authority: &Issuer<'_, KeyPair>) -> Result<()> {
        let key = KeyPair::generate().with_context(|| format!("failed to make the key of {name}"))?;
        let certificate = params
            .signed_by(&key, authority)
            .with_context(|| format!("failed to sign {name}"))?;
        fs_err::write(self.certificate(name), certificate.pem())?;
        Ok(fs_err::write(self.key(name), key.serialize_pem())?)
    }

    /// The certificate of the authority that signed all others.
    pub fn authority(&self) -> PathBuf {
        self.certificate("authority")
    }

    /// The certificate of `name`.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    /// The private key of `name`.
    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// The public key of `name`, which the API server wants on its own for service accounts.
    pub fn public_key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pub"))
    }

    /// A kubeconfig for the administrator at `server`.
    pub fn kubeconfig(&self, server: &str) -> Vec<u8> {
        kubeconfig(
            server,
            &self.authority(),
            &self.certificate("admin"),
            &self.key("admin"),
        )
    }
}

fn kubeconfig(server: &str, authority: &Path, certificate: &Path, key: &Path) -> Vec<u8> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "api",
        "contexts": [{ "name": "api", "context": { "cluster": "api", "user": "admin" } }],
        "clusters": [{ "name": "api", "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": "admin", "user": { "client-certificate": certificate, "client-key": key } }],
    });
    format!("{config:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_kubeconfig_names_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(folder.path()).unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&pki.kubeconfig("https://127.0.0.1:1")).unwrap();
        let user = &config["users"][0]["user"];
        for file in [
            &user["client-certificate"],
            &user["client-key"],
            &config["clusters"][0]["cluster"]["certificate-authority"],
        ] {
            let text = fs_err::read_to_string(file.as_str().unwrap()).unwrap();
            assert!(text.starts_with("-----BEGIN "), "{file}");
        }
    }
}
