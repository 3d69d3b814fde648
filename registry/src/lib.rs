//! A registry as whoever verifies an image asks it: the digest of a tag, and what is attached to a digest (the OCI
//! distribution specification; referrers by the API, else by the tag that stands in for it).
//!
//! Every answer is bounded in size and time. Credentials go to the registry that they are for and to the token service
//! that it names, both over TLS, and never where a redirect leads. What is asked for by digest is checked against it.

mod ask;
mod challenge;
mod credentials;
mod location;
mod transport;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use ask::Ask;
pub use challenge::Challenge;
pub use credentials::{Credentials, ReadCredentials};
pub use location::Places;

use gastown_api::image::ImageReference;
use gastown_crypto::{Digest, sha256};
use gastown_signatures::{
    Attached, BUNDLE, ENVELOPE, PREDICATE_ANNOTATION, SIGNATURE, SIGNATURE_ANNOTATION, SIMPLE_SIGNING,
};
use serde::Deserialize;
use std::collections::BTreeMap;

use self::location::Location;
use self::transport::{Get, Transport};

/// Media types of images and their indexes.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// Types under which lists name a bundle, other than its own: go-containerregistry's registry lists the type of the bundle's
/// configuration, as cosign 2.5 did in the tag that stands in for the API; where an older registry knows no type of a manifest, it
/// is empty or that of a configuration of an image. The layers of the manifest decide.
const MAY_BE_BUNDLE: [&str; 4] = [
    BUNDLE,
    "application/vnd.oci.empty.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "",
];
/// The most bytes of a manifest or list: what registries take at most.
const MANIFEST: usize = 4 << 20;
/// The most bytes of a signed thing: bills of materials have a few.
const BLOB: usize = 16 << 20;
/// The most things of one kind that are looked at.
const MOST: usize = 64;
/// The most bytes of all that is attached to one image.
const ALL: usize = 64 << 20;

/// Registries, and how they are reached.
pub struct Registries {
    places: Places,
    transport: Transport,
}

/// Why no registry can be asked.
#[derive(Debug, thiserror::Error)]
pub enum Open {
    /// `ca.crt` is there and holds no certificate.
    #[error("failed to read the certificates to trust")]
    ReadRoots(#[from] gastown_crypto::ReadRoots),
    /// The credentials cannot be read.
    #[error(transparent)]
    ReadCredentials(#[from] ReadCredentials),
    /// The provider refused.
    #[error("failed to configure TLS")]
    ConfigureTls(#[source] rustls::Error),
}

/// What of it concerns us.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    artifact_type: Option<String>,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

impl Manifest {
    /// What an index lists for a platform; builders put attestations beside it, for none.
    fn images(self) -> Vec<(String, Digest)> {
        let listed = self.manifests.into_iter().take(MOST).filter_map(|one| {
            let platform = one.platform.filter(|platform| platform.os != "unknown")?;
            Some((
                format!("{}/{}", platform.os, platform.architecture),
                one.digest.parse().ok()?,
            ))
        });
        listed.collect()
    }
}

impl Registries {
    /// Asks those of `places`, with `credentials`, and trusts the `system`'s certificates and those of `extra`, both PEM.
    pub fn open(
        places: Places,
        credentials: Credentials,
        system: &[u8],
        extra: Option<&[u8]>,
    ) -> Result<Self, Open> {
        let roots = gastown_crypto::roots(system, extra)?;
        let tls = gastown_crypto::client_config(roots).map_err(Open::ConfigureTls)?;
        Ok(Self {
            places,
            transport: Transport::new(tls, credentials),
        })
    }

    /// The digest that the image's tag (`latest` where it has none) leads to now, or the digest that it is named by.
    pub async fn digest_of(&self, image: &ImageReference) -> Result<Digest, Ask> {
        if let Some(digest) = image.digest() {
            return digest.parse().map_err(|_| Ask::NoImage {
                image: image.to_string(),
            });
        }
        let path = format!("manifests/{}", image.tag().unwrap_or("latest"));
        let mut outcome = Err(Ask::NoImage {
            image: image.to_string(),
        });
        for location in self.locations(image)? {
            match self.transport.get(&location, &Get::manifest(&path)).await {
                Ok(Some(manifest)) => return Ok(sha256(&manifest)),
                Ok(None) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// What is attached to the image `digest`: all signatures, and statements of the types that are `wanted`. Of several
    /// locations, the first that has any counts.
    pub async fn attached_to(
        &self,
        image: &ImageReference,
        digest: &Digest,
        wanted: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<Vec<Attached>, Ask> {
        let mut outcome = Ok(Vec::new());
        for location in self.locations(image)? {
            let looking = Looking::at(&self.transport, &location, digest, wanted);
            match looking.look().await {
                Ok(found) if !found.is_empty() => return Ok(found),
                Ok(_) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// The images of the index `digest`, each with its platform (`linux/amd64`); none where it is an image itself.
    pub async fn platforms_of(
        &self,
        image: &ImageReference,
        digest: &Digest,
    ) -> Result<Vec<(String, Digest)>, Ask> {
        let mut outcome = Err(Ask::NoImage {
            image: image.pinned(&digest.to_string()),
        });
        for location in self.locations(image)? {
            let manifest = Looking::at(&self.transport, &location, digest, &|_| false)
                .manifest(&digest.to_string())
                .await;
            match manifest {
                Ok(Some(manifest)) => return Ok(manifest.images()),
                Ok(None) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    fn locations(&self, image: &ImageReference) -> Result<Vec<Location>, Ask> {
        let locations = self.places.of(image);
        if locations.is_empty() {
            let registry = image.registry().to_owned();
            return Err(Ask::NotListed { registry });
        }
        Ok(locations)
    }
}

/// A look at one location.
struct Looking<'a> {
    transport: &'a Transport,
    location: &'a Location,
    digest: &'a Digest,
    wanted: &'a (dyn Fn(&str) -> bool + Send + Sync),
    left: usize,
}

impl<'a> Looking<'a> {
    fn at(
        transport: &'a Transport,
        location: &'a Location,
        digest: &'a Digest,
        wanted: &'a (dyn Fn(&str) -> bool + Send + Sync),
    ) -> Self {
        Self {
            transport,
            location,
            digest,
            wanted,
            left: ALL,
        }
    }

    async fn look(mut self) -> Result<Vec<Attached>, Ask> {
        let mut found = self.bundles().await?;
        found.extend(self.layers(".sig", SIMPLE_SIGNING).await?);
        found.extend(self.layers(".att", ENVELOPE).await?);
        Ok(found)
    }

    fn is_wanted(&self, annotations: &BTreeMap<String, String>, key: &str) -> bool {
        let kind = annotations.get(key);
        kind.is_none_or(|kind| kind == SIGNATURE || (self.wanted)(kind))
    }

    async fn bundles(&mut self) -> Result<Vec<Attached>, Ask> {
        let mut found = Vec::new();
        let may_be_bundle = |one: &&Descriptor| {
            let kind = one.artifact_type.as_deref();
            kind.is_none_or(|kind| MAY_BE_BUNDLE.contains(&kind))
        };
        let referrers = self.referrers().await?;
        for referrer in referrers.iter().filter(may_be_bundle).take(MOST) {
            if !self.is_wanted(&referrer.annotations, PREDICATE_ANNOTATION) {
                continue;
            }
            let Some(manifest) = self.manifest(&referrer.digest).await? else {
                continue;
            };
            if !self.is_wanted(&manifest.annotations, PREDICATE_ANNOTATION) {
                continue;
            }
            for layer in manifest
                .layers
                .iter()
                .filter(|layer| layer.media_type == BUNDLE)
                .take(MOST)
            {
                found.push(Attached::Bundle(self.blob(&layer.digest).await?));
            }
        }
        Ok(found)
    }

    /// By the API; a registry without it has a tag that lists them.
    async fn referrers(&self) -> Result<Vec<Descriptor>, Ask> {
        let listed = Get::referrers(self.digest);
        let listed = match self.transport.get(self.location, &listed).await? {
            Some(list) => serde_json::from_slice(&list).ok(),
            None => None,
        };
        let list = match listed {
            Some(list) => Some(list),
            None => self.manifest(&tag_of(self.digest, "")).await?,
        };
        Ok(list.map_or_else(Vec::new, |list: Manifest| list.manifests))
    }

    async fn layers(&mut self, end: &str, media_type: &str) -> Result<Vec<Attached>, Ask> {
        let Some(manifest) = self.manifest(&tag_of(self.digest, end)).await? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let layers = manifest.layers.into_iter();
        for mut layer in layers.filter(|layer| layer.media_type == media_type).take(MOST) {
            if media_type == SIMPLE_SIGNING {
                let payload = self.blob(&layer.digest).await?;
                let signature = layer.annotations.remove(SIGNATURE_ANNOTATION).unwrap_or_default();
                found.push(Attached::Simple { payload, signature });
            } else if self.is_wanted(&layer.annotations, "predicateType") {
                found.push(Attached::Envelope(self.blob(&layer.digest).await?));
            }
        }
        Ok(found)
    }

    /// A manifest by tag or digest, if there is one.
    async fn manifest(&self, reference: &str) -> Result<Option<Manifest>, Ask> {
        let path = format!("manifests/{reference}");
        let Some(bytes) = self.transport.get(self.location, &Get::manifest(&path)).await? else {
            return Ok(None);
        };
        if reference.contains(':') {
            self.check(reference, &bytes)?;
        }
        let manifest = serde_json::from_slice(&bytes);
        manifest
            .map(Some)
            .map_err(|_| self.damaged(&format!("manifest {reference} is none")))
    }

    async fn blob(&mut self, digest: &str) -> Result<Vec<u8>, Ask> {
        let get = Get::blob(format!("blobs/{digest}"), self.left.min(BLOB));
        let blob = self.transport.get(self.location, &get).await?;
        let blob = blob.ok_or_else(|| self.damaged(&format!("blob {digest} is missing")))?;
        self.check(digest, &blob)?;
        self.left -= blob.len();
        Ok(blob.to_vec())
    }

    fn check(&self, digest: &str, bytes: &[u8]) -> Result<(), Ask> {
        if sha256(bytes).to_string() == digest {
            Ok(())
        } else {
            Err(self.damaged(&format!("what it gave for {digest:?} has another digest")))
        }
    }

    fn damaged(&self, what: &str) -> Ask {
        Ask::Damaged {
            host: self.location.host().to_owned(),
            what: what.to_owned(),
        }
    }
}

/// The tag under which cosign and registries without the referrers API keep what belongs to a digest.
fn tag_of(digest: &Digest, end: &str) -> String {
    format!("sha256-{}{end}", digest.hex())
}
