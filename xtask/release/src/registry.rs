//! Registries: a layout with everything that is attached to its images goes there, and comes back to be verified.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use xtask_image::progress;

use crate::attach;
use crate::layout::{Descriptor, INDEX, Layout, MANIFEST, digest};

/// A repository of a registry: `HOST/PATH`.
pub struct Repository {
    client: Client,
    runtime: Runtime,
    auth: RegistryAuth,
    name: Reference,
}

impl Repository {
    /// The repository `name`; credentials are those of `docker login`.
    pub fn open(name: &str) -> Result<Self> {
        let parsed: Reference = name
            .parse()
            .with_context(|| format!("{name:?} is no name of a repository"))?;
        let host = parsed.registry().to_owned();
        let protocol = if is_local(&host) {
            ClientProtocol::HttpsExcept(vec![host.clone()])
        } else {
            ClientProtocol::Https
        };
        let config = ClientConfig {
            protocol,
            ..ClientConfig::default()
        };
        Ok(Self {
            client: Client::new(config),
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .context("failed to start a runtime")?,
            auth: credentials(&host)?,
            name: parsed,
        })
    }

    /// Pushes all that the layout's index names, blobs before manifests.
    pub fn push(&self, layout: &Layout) -> Result<()> {
        self.log_in(RegistryOperation::Push)?;
        let entries = layout.entries()?;
        // What refers to a manifest comes after it, and lists of referrers last: some registries make them themselves.
        let is_list = |entry: &&Descriptor| {
            entry
                .tag()
                .is_some_and(|tag| tag.starts_with("sha256-") && !tag.contains('.'))
        };
        for entry in entries.iter().filter(|entry| !is_list(entry)) {
            self.push_manifest(layout, entry, entry.tag())?;
        }
        for list in entries.iter().filter(is_list) {
            self.push_list(layout, list)?;
        }
        Ok(())
    }

    fn push_manifest(&self, layout: &Layout, manifest: &Descriptor, tag: Option<&str>) -> Result<()> {
        let bytes = layout.read(&manifest.digest)?;
        let value: Value = serde_json::from_slice(&bytes).context("a manifest is no JSON")?;
        for child in children(&value)? {
            if child.is_manifest() {
                self.push_manifest(layout, &child, None)?;
            } else {
                self.push_blob(layout, &child)?;
            }
        }
        // A digest is put where a tag stands: of a registry that gives a manifest no location, the library expects the
        // address to end with a tag, and panics where it ends with a digest.
        let to = self.tagged(tag.unwrap_or(&manifest.digest));
        let kind = manifest.media_type.parse().context("a media type is wrong")?;
        let push = self.client.push_manifest_raw(&to, bytes, kind);
        self.runtime
            .block_on(push)
            .with_context(|| format!("failed to push {to}"))?;
        progress::record(&format!("pushed {to}"));
        Ok(())
    }

    fn push_blob(&self, layout: &Layout, blob: &Descriptor) -> Result<()> {
        let what = || format!("failed to push blob {} to {}", blob.digest, self.name);
        let exists = || {
            self.runtime
                .block_on(self.client.blob_exists(&self.name, &blob.digest))
        };
        if exists().with_context(what)? {
            return Ok(());
        }
        let push = self
            .client
            .push_blob(&self.name, layout.read(&blob.digest)?, &blob.digest);
        match self.runtime.block_on(push) {
            Ok(_) => Ok(()),
            // A registry that does not say where the blob is, against its specification, may have it nevertheless.
            Err(OciDistributionError::RegistryNoLocationError) if exists().with_context(what)? => Ok(()),
            Err(error) => Err(error).with_context(what),
        }
    }

    /// Pushes the tag that lists referrers, unless the registry lists them itself.
    fn push_list(&self, layout: &Layout, list: &Descriptor) -> Result<()> {
        let wanted = children(&layout.manifest(&list.digest)?)?;
        let Some(subject) = list.tag().map(|tag| tag.replacen('-', ":", 1)) else {
            bail!("a list of referrers has a tag")
        };
        let there = self.referrers(&subject)?;
        if wanted.iter().all(|one| there.contains(&one.digest)) {
            return Ok(());
        }
        self.push_manifest(layout, list, list.tag())
    }

    /// The digests of what refers to a manifest.
    fn referrers(&self, subject: &str) -> Result<Vec<String>> {
        let at = self.at(subject);
        let pull = self.client.pull_referrers(&at, None);
        let list = self
            .runtime
            .block_on(pull)
            .with_context(|| format!("failed to ask what refers to {at}"))?;
        Ok(list.manifests.into_iter().map(|one| one.digest).collect())
    }

    /// Brings an image into the layout, under `tag`, with what is attached to it, but without its layers.
    pub fn pull(&self, layout: &Layout, tag: Option<&str>, digest: Option<&str>, name: &str) -> Result<()> {
        self.log_in(RegistryOperation::Pull)?;
        let from = match (tag, digest) {
            (_, Some(digest)) => self.at(digest),
            (tag, None) => self.tagged(tag.unwrap_or("latest")),
        };
        let index = self.pull_manifest(layout, &from)?;
        layout.name(index.clone(), Some(name))?;
        let mut subjects = vec![index.clone()];
        if index.media_type == INDEX {
            for manifest in children(&layout.manifest(&index.digest)?)? {
                self.pull_manifest(layout, &self.at(&manifest.digest))?;
                subjects.push(manifest);
            }
        }
        for subject in subjects {
            self.pull_attached(layout, &subject)?;
        }
        Ok(())
    }

    fn pull_attached(&self, layout: &Layout, subject: &Descriptor) -> Result<()> {
        for end in [".sig", ".att"] {
            let tag = attach::tag_of(&subject.digest, end);
            let manifest = self.pull_manifest(layout, &self.tagged(&tag))?;
            self.pull_layers(layout, &manifest)?;
            layout.name(manifest, Some(&tag))?;
        }
        let mut referrers = Vec::new();
        for digest in self.referrers(&subject.digest)? {
            let mut manifest = self.pull_manifest(layout, &self.at(&digest))?;
            self.pull_layers(layout, &manifest)?;
            let value = layout.manifest(&digest)?;
            manifest.annotations = serde_json::from_value(value["annotations"].clone()).unwrap_or_default();
            referrers.push(manifest);
        }
        let list = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": referrers });
        let list = layout.add_json(INDEX, &list)?;
        layout.name(list, Some(&attach::tag_of(&subject.digest, "")))
    }

    fn pull_manifest(&self, layout: &Layout, from: &Reference) -> Result<Descriptor> {
        let pull = self
            .client
            .pull_manifest_raw(from, &self.auth, &[MANIFEST, INDEX]);
        let (bytes, _) = self
            .runtime
            .block_on(pull)
            .with_context(|| format!("failed to pull {from}"))?;
        if let Some(wanted) = from.digest() {
            anyhow::ensure!(
                digest(&bytes) == wanted,
                "the registry gave something else for {from}"
            );
        }
        let value: Value = serde_json::from_slice(&bytes).with_context(|| format!("{from} is no JSON"))?;
        let kind = value["mediaType"].as_str().unwrap_or(MANIFEST);
        layout.add(kind, &bytes)
    }

    fn pull_layers(&self, layout: &Layout, manifest: &Descriptor) -> Result<()> {
        for blob in children(&layout.manifest(&manifest.digest)?)? {
            let mut bytes = Vec::new();
            let pull = self
                .client
                .pull_blob(&self.name, blob.digest.as_str(), &mut bytes);
            self.runtime
                .block_on(pull)
                .with_context(|| format!("failed to pull blob {} of {}", blob.digest, self.name))?;
            anyhow::ensure!(
                digest(&bytes) == blob.digest,
                "the registry gave something else for {}",
                blob.digest
            );
            layout.add(&blob.media_type, &bytes)?;
        }
        Ok(())
    }

    fn log_in(&self, operation: RegistryOperation) -> Result<()> {
        let auth = self.client.auth(&self.name, &self.auth, operation);
        self.runtime.block_on(auth).with_context(|| {
            format!(
                "failed to log in to {}; `docker login` first",
                self.name.registry()
            )
        })?;
        Ok(())
    }

    fn tagged(&self, tag: &str) -> Reference {
        let (registry, repository) = (self.name.registry(), self.name.repository());
        Reference::with_tag(registry.to_owned(), repository.to_owned(), tag.to_owned())
    }

    fn at(&self, digest: &str) -> Reference {
        self.name.clone_with_digest(digest.to_owned())
    }
}

/// What a manifest or index names.
fn children(manifest: &Value) -> Result<Vec<Descriptor>> {
    let named = ["manifests", "layers"]
        .into_iter()
        .filter_map(|key| manifest[key].as_array());
    let all = manifest.get("config").into_iter().chain(named.flatten());
    let parse = |one: &Value| {
        serde_json::from_value(one.clone()).context("a manifest names something without digest")
    };
    all.map(parse).collect()
}

/// Registries of this machine speak plain HTTP, as Docker assumes too.
pub fn is_local(host: &str) -> bool {
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host == "localhost" || host.starts_with("127.")
}

/// What `docker login` left for a registry.
fn credentials(host: &str) -> Result<RegistryAuth> {
    let folder = match std::env::var_os("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("neither DOCKER_CONFIG nor HOME is set")?)
            .join(".docker"),
    };
    let file = folder.join("config.json");
    if !file.exists() {
        return Ok(RegistryAuth::Anonymous);
    }
    let config =
        serde_json::from_slice(&fs_err::read(&file)?).with_context(|| format!("{file:?} is no JSON"))?;
    parse_credentials(&config, host).with_context(|| format!("{file:?} cannot be used"))
}

fn parse_credentials(config: &Value, host: &str) -> Result<RegistryAuth> {
    let Some(encoded) = config["auths"][host]["auth"]
        .as_str()
        .filter(|text| !text.is_empty())
    else {
        if config["credHelpers"].get(host).is_some() || config.get("credsStore").is_some() {
            bail!("the password for {host} is in a credential helper, which is not asked; use `auths`")
        }
        return Ok(RegistryAuth::Anonymous);
    };
    let decoded = STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let (user, password) = decoded
        .as_deref()
        .and_then(|text| text.split_once(':'))
        .with_context(|| format!("the entry for {host} is not USER:PASSWORD in base64"))?;
    Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

pub mod real;

#[cfg(test)]
mod fake;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Signer, Verifier};
    use crate::verify;
    use serde_json::json;

    #[test]
    fn an_image_comes_back_from_a_registry_as_it_was_signed() {
        for lists_referrers in [true, false] {
            let (host, stored) = fake::start(lists_referrers);
            let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let signer = Signer::fresh();
            let (layout, _) = verify::tests::signed(there.path(), &signer, &verify::tests::ALL);
            let repository = Repository::open(&format!("{host}/x")).unwrap();
            repository.push(&layout).unwrap();
            let lists = stored
                .lock()
                .unwrap()
                .manifests
                .keys()
                .filter(|name| name.starts_with("sha256-") && !name.contains('.'))
                .count();
            assert_eq!(
                lists,
                if lists_referrers { 0 } else { 2 },
                "a tag for what no API lists"
            );
            let pulled = Layout::create(here.path()).unwrap();
            repository
                .pull(&pulled, Some(verify::tests::TAG), None, "wanted")
                .unwrap();
            let verifier = Verifier::from_pem(signer.public()).unwrap();
            let found = verify::image(&pulled, "wanted", &verifier, verify::Depth::Manifests).unwrap();
            assert_eq!(found.len(), 2);
            assert_eq!(found[1].statements.len(), 4);
        }
    }

    #[test]
    fn what_a_registry_gives_in_place_of_a_digest_is_refused() {
        let (host, stored) = fake::start(true);
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let signer = Signer::fresh();
        let (layout, manifest) = verify::tests::signed(there.path(), &signer, &verify::tests::ALL);
        let repository = Repository::open(&format!("{host}/x")).unwrap();
        repository.push(&layout).unwrap();
        let other = json!({ "mediaType": MANIFEST, "layers": [] })
            .to_string()
            .into_bytes();
        stored.lock().unwrap().manifests.insert(manifest.digest, other);
        let pulled = Layout::create(here.path()).unwrap();
        let outcome = repository.pull(&pulled, Some(verify::tests::TAG), None, "wanted");
        let reason = format!("{:#}", outcome.unwrap_err());
        assert!(
            reason.contains("digest") || reason.contains("something else"),
            "{reason}"
        );
    }

    #[test]
    fn credentials_are_those_of_docker_login() {
        let config = json!({ "auths": { "ghcr.io": { "auth": STANDARD.encode("me:s3:cret") } } });
        assert!(matches!(
            parse_credentials(&config, "ghcr.io").unwrap(),
            RegistryAuth::Basic(user, password) if user == "me" && password == "s3:cret"
        ));
        assert!(matches!(
            parse_credentials(&config, "quay.io").unwrap(),
            RegistryAuth::Anonymous
        ));
        let helper = json!({ "credsStore": "desktop" });
        assert!(parse_credentials(&helper, "ghcr.io").is_err());
        let damaged = json!({ "auths": { "ghcr.io": { "auth": "?" } } });
        assert!(parse_credentials(&damaged, "ghcr.io").is_err());
    }

    #[test]
    fn children_are_config_layers_and_manifests() {
        let one = |digest: &str| json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
        let manifest = json!({ "config": one("c"), "layers": [one("l")], "manifests": [one("m")] });
        let digests: Vec<_> = children(&manifest)
            .unwrap()
            .into_iter()
            .map(|child| child.digest)
            .collect();
        assert_eq!(digests, ["c", "m", "l"]);
        assert!(children(&json!({ "layers": [{}] })).is_err());
    }
}
