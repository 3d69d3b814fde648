//! `kubectl gt verify`.

mod manifest;

use std::path::{Path, PathBuf};

use gastown_api::image::ImageReference;
use gastown_crypto::{Digest, PublicKey};
use gastown_registry::{Ask, Credentials, Open, Places, Registries};
use gastown_signatures::Attached;
use serde_json::json;

use self::manifest::Checked;
use crate::error::{CommandError, Error};
use crate::output::OutputArgs;
use crate::output::detail::Detail;
use crate::session::Session;

/// Where distributions keep the certificates that they trust, unless `SSL_CERT_FILE` says otherwise.
const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Flags of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image: `[HOST/]NAME[:TAG][@sha256:DIGEST]`.
    #[arg(value_name = "IMAGE")]
    image: ImageReference,
    /// A public key (cosign.pub); if given several times, one of the keys must have signed.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// A Sigstore bundle to verify with, without a registry; the image must be named by digest.
    #[arg(long, value_name = "FILE")]
    bundle: Vec<PathBuf>,
    /// Require only the signature, not the provenance or the bill of materials.
    #[arg(long)]
    signature_only: bool,
    /// A file with CA certificates (PEM) to trust for the registry, in addition to the system's.
    #[arg(long, value_name = "FILE")]
    registry_ca: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Verifies the image and, of an index, each of its images.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let keys = self.keys()?;
        let checked = if self.bundle.is_empty() {
            self.ask(&keys).await?
        } else {
            vec![self.by_bundles(&keys)?]
        };
        let value = json!({
            "image": self.image.to_string(),
            "digest": checked.first().map(|first| first.digest.to_string()),
            "manifests": checked.iter().map(Checked::value).collect::<Vec<_>>(),
        });
        let name = self.image.to_string();
        session.out.object(&self.output.output, &value, &name, |out, _| {
            let mut detail = Detail::default();
            detail.field("Image", &name);
            for one in &checked {
                one.tell(&mut detail);
            }
            detail.print(out)
        })?;
        let missing: Vec<_> = checked
            .iter()
            .flat_map(|one| {
                one.missing(self.signature_only)
                    .into_iter()
                    .map(|what| format!("{}: {what}", one.platform))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(CommandError::Invalid(format!(
            "{name} is not verified: {}; do not run it, or verify it with the key that signed it",
            missing.join("; ")
        ))
        .into())
    }

    fn keys(&self) -> Result<Vec<PublicKey>, CommandError> {
        let read = |path: &PathBuf| {
            let text = String::from_utf8_lossy(&file(path)?).into_owned();
            PublicKey::from_pem(&text).map_err(|error| {
                CommandError::Invalid(format!("{:?} holds no key to verify with: {error}", shown(path)))
            })
        };
        self.key.iter().map(read).collect()
    }

    async fn ask(&self, keys: &[PublicKey]) -> Result<Vec<Checked>, Error> {
        let registries = self.registries()?;
        let digest = registries.digest_of(&self.image).await.map_err(asked)?;
        let platforms = registries
            .platforms_of(&self.image, &digest)
            .await
            .map_err(asked)?;
        let kind = if platforms.is_empty() { "image" } else { "index" };
        let mut manifests = vec![(kind.to_owned(), digest)];
        manifests.extend(platforms);
        let mut checked = Vec::new();
        for (platform, digest) in manifests {
            let attached = registries.attached_to(&self.image, &digest, &|_| true);
            let attached = attached.await.map_err(asked)?;
            checked.push(Checked::of(platform, digest, &attached, keys));
        }
        Ok(checked)
    }

    fn by_bundles(&self, keys: &[PublicKey]) -> Result<Checked, Error> {
        let digest: Option<Digest> = self.image.digest().and_then(|digest| digest.parse().ok());
        let digest = digest.ok_or_else(|| {
            CommandError::Usage(format!(
                "{} has no digest, and without a registry a tag means nothing; write NAME@sha256:DIGEST",
                self.image
            ))
        })?;
        let bundles = self.bundle.iter().map(|path| file(path).map(Attached::Bundle));
        let bundles = bundles.collect::<Result<Vec<_>, _>>()?;
        Ok(Checked::of("image".to_owned(), digest, &bundles, keys))
    }

    fn registries(&self) -> Result<Registries, Error> {
        let config = docker_config().map(|path| (std::fs::read(&path), path));
        let credentials = match config {
            Some((Ok(json), path)) => Credentials::read(&json).map_err(|error| {
                CommandError::Invalid(format!("{error}; correct {:?}, or log in again", shown(&path)))
            })?,
            // Public images need none.
            Some((Err(_), _)) | None => Credentials::default(),
        };
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let mut roots = named.into_iter().chain(SYSTEM_ROOTS.map(PathBuf::from));
        let system = roots
            .find_map(|path| std::fs::read(path).ok())
            .unwrap_or_default();
        let extra = self.registry_ca.as_deref().map(file).transpose()?;
        let registries = Registries::open(Places::default(), credentials, &system, extra.as_deref());
        let told = |error: Open| {
            let words = gastown_api::text::chain(&error);
            CommandError::Invalid(format!("{words}; check --registry-ca"))
        };
        Ok(registries.map_err(told)?)
    }
}

fn file(path: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).map_err(|source| CommandError::ReadFile {
        path: shown(path),
        source,
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Where `docker login`, or else podman, keeps credentials.
fn docker_config() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let docker = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
    variable("REGISTRY_AUTH_FILE").or_else(|| Some(docker?.join("config.json")))
}

fn asked(error: Ask) -> CommandError {
    CommandError::AskRegistry(error)
}
