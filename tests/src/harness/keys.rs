//! The keys of a world, made when it is made.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::random;

/// What opens the git hosts and the model of one world.
pub struct Keys {
    /// The private key of the SSH server.
    pub ssh_host: String,
    /// Its line in `known_hosts`.
    pub known_hosts: String,
    /// A private key that may push.
    pub ssh: String,
    /// Its public half.
    pub ssh_public: String,
    /// A private key that nobody lets in.
    pub ssh_stranger: String,
    /// The authority that signed the HTTPS server's certificate, PEM.
    pub authority: String,
    /// That certificate.
    pub certificate: String,
    /// Its private key.
    pub certificate_key: String,
    /// The token of user `git` over HTTPS.
    pub token: String,
    /// The API key that the model accepts.
    pub model: String,
}

impl Keys {
    /// New keys for the namespace.
    pub async fn make(namespace: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ssh_host, host_public) = ssh_key(&folder.path().join("host")).await;
        let (ssh, ssh_public) = ssh_key(&folder.path().join("user")).await;
        let (ssh_stranger, _) = ssh_key(&folder.path().join("stranger")).await;
        let (authority, certificate, certificate_key) = certificate(namespace);
        Self {
            ssh_host,
            known_hosts: format!("testbed {host_public}"),
            ssh,
            ssh_public,
            ssh_stranger,
            authority,
            certificate,
            certificate_key,
            token: format!("gastown-token-{:016x}{:016x}", random(), random()),
            model: format!("sk-ant-test-{:016x}{:016x}", random(), random()),
        }
    }

    /// Every text that must never be seen where the agent is; of the private key each line.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let lines = |key: &str| {
            key.lines()
                .filter(|line| !line.starts_with("-----") && line.len() > 40)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let mut all = lines(&self.ssh);
        all.extend([self.token.clone(), self.model.clone()]);
        all
    }
}

async fn ssh_key(path: &Path) -> (String, String) {
    let made = tokio::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "gastown-tests", "-f"])
        .arg(path)
        .output()
        .await
        .unwrap_or_else(|error| panic!("failed to run ssh-keygen: {error}; install openssh-client"));
    assert!(made.status.success(), "ssh-keygen: {made:?}");
    let private = std::fs::read_to_string(path).unwrap();
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (private, public)
}

/// An authority, a certificate for `testbed` signed by it (which the operator reaches from another namespace), and the
/// certificate's key.
fn certificate(namespace: &str) -> (String, String, String) {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "gastown-tests");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["testbed".to_owned(), format!("testbed.{namespace}.svc")])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    (authority.pem(), certificate.pem(), key.serialize_pem())
}
