//! Pushing images to the registry of a cluster that is not ours.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::machine;
use crate::process::Command;

/// Pushes the image `digest` of the OCI archive to `registry`, under the last part of `name`, and returns the name
/// by digest that pods can use. Credentials are those of `docker login` or `skopeo login`.
pub fn push(archive: &Path, name: &str, digest: &str, registry: &str) -> Result<String> {
    machine::ensure(&["skopeo"])?;
    let layout = tempfile::tempdir().context("failed to make a folder for the image")?;
    let file = File::open(archive).with_context(|| format!("failed to open {archive:?}"))?;
    tar::Archive::new(file)
        .unpack(layout.path())
        .with_context(|| format!("failed to unpack {archive:?}"))?;
    let index = layout.path().join("index.json");
    let only = index_of_one(&fs_err::read(&index)?, digest)?;
    fs_err::write(&index, only)?;
    let (repository, target) = (pushed_name(name, registry), tag(digest));
    Command::new(machine::path("skopeo"))
        .args(["copy", "--quiet", "--preserve-digests"])
        .arg(format!("--dest-tls-verify={}", !is_local(registry)))
        .arg(format!("oci:{}", layout.path().display()))
        .arg(format!("docker://{repository}:{target}"))
        .output()?;
    Ok(format!("{repository}@{digest}"))
}

/// An index that has the manifest `digest` once and without a name: skopeo refuses to choose between several.
fn index_of_one(index: &[u8], digest: &str) -> Result<Vec<u8>> {
    let index: Value = serde_json::from_slice(index).context("the archive's index is no JSON")?;
    let mut manifest = index["manifests"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|manifest| manifest["digest"] == digest)
        .with_context(|| format!("the archive has no image {digest:?}; build it again"))?
        .clone();
    if let Some(manifest) = manifest.as_object_mut() {
        manifest.remove("annotations");
    }
    let only = json!({ "schemaVersion": 2, "mediaType": index["mediaType"], "manifests": [manifest] });
    Ok(serde_json::to_vec(&only)?)
}

/// `HOST/PATH/image` for an image whose own name is `elsewhere/image`.
fn pushed_name(name: &str, registry: &str) -> String {
    format!("{registry}/{}", name.rsplit('/').next().unwrap_or(name))
}

/// A tag that no other content gets; pods use the digest, but registries forget what no tag names.
fn tag(digest: &str) -> String {
    digest.replace(':', "-")
}

/// Registries of this machine speak plain HTTP, as Docker assumes too.
fn is_local(registry: &str) -> bool {
    let host = registry.split('/').next().unwrap_or(registry);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host == "localhost" || host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_manifest_is_chosen_by_its_digest() {
        let index = json!({ "schemaVersion": 2, "manifests": [
            { "digest": "sha256:a", "size": 1, "annotations": { "name": "x:1" } },
            { "digest": "sha256:a", "size": 1, "annotations": { "name": "x@sha256:a" } },
            { "digest": "sha256:b", "size": 2 },
        ]});
        let index = serde_json::to_vec(&index).unwrap();
        let only: Value = serde_json::from_slice(&index_of_one(&index, "sha256:a").unwrap()).unwrap();
        assert_eq!(only["manifests"], json!([{ "digest": "sha256:a", "size": 1 }]));
        assert!(
            index_of_one(&index, "sha256:c")
                .unwrap_err()
                .to_string()
                .contains("sha256:c")
        );
    }

    #[test]
    fn an_image_keeps_the_last_part_of_its_name() {
        assert_eq!(
            pushed_name("ghcr.io/org/agent", "registry.example/team"),
            "registry.example/team/agent"
        );
    }

    #[test]
    fn only_this_machines_registries_are_spoken_to_without_tls() {
        assert!(is_local("localhost:5000/a") && is_local("127.0.0.1/a"));
        assert!(!is_local("registry.example:5000/localhost"));
    }
}
