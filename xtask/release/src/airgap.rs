//! `cargo xtask release bundle`: a release in one file, for clusters that reach no registry: one OCI layout with everything that ships
//! and all that is attached to it, the files to download, and what clusters need to find the images elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xtask_image::{Lock, progress};

use crate::folder::{self, Shipped, names};
use crate::keys::Verifier;
use crate::layout::Layout;
use crate::pipeline::pushed_name;

/// By this annotation containerd names what it imports; others go by that of OCI, which [`Layout::name`] sets.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// zstd's default, and on one thread: the same bytes everywhere.
const LEVEL: i32 = 3;

/// Verifies the release in `folder`, and packs it into `to`, for a registry `mirror`, as `HOST/PATH`.
pub fn pack(folder: &Path, verifier: &Verifier, mirror: &str, to: &Path) -> Result<()> {
    progress::step("verify the release", || {
        folder::everything(folder, verifier).map(drop)
    })?;
    let place = tempfile::tempdir().context("failed to make a folder for the bundle")?;
    let shipped = folder::shipped(folder)?;
    merge(folder, &shipped, &place.path().join("oci"))?;
    for from in ["files", "signatures"] {
        fs_err::create_dir(place.path().join(from))?;
        for name in names(&folder.join(from))? {
            fs_err::copy(folder.join(from).join(&name), place.path().join(from).join(&name))?;
        }
    }
    for name in ["cosign.pub", "images.json", "artefacts.json"] {
        fs_err::copy(folder.join(name), place.path().join(name))?;
    }
    fs_err::write(place.path().join("images.txt"), list(&shipped))?;
    let described = for_openshift(&shipped, mirror).map(|(name, value)| (name, vec![value]));
    for (name, documents) in described.into_iter().chain(for_others(&shipped)?) {
        // JSON is YAML.
        let documents: Vec<_> = documents.iter().map(|one| format!("{one:#}\n")).collect();
        fs_err::write(place.path().join(name), documents.join("---\n"))?;
    }
    progress::step(format!("write {}", to.display()), || archive(place.path(), to))
}

/// One layout of all: each manifest under its whole name, because several repositories have the same tags.
fn merge(folder: &Path, shipped: &[Shipped], to: &Path) -> Result<()> {
    let merged = Layout::create(to)?;
    let repositories: BTreeMap<_, _> = shipped.iter().map(|one| (&one.name, &one.repository)).collect();
    for (name, repository) in repositories {
        let from = folder.join("images").join(name);
        for blob in names(&from.join("blobs/sha256"))? {
            let copy = to.join("blobs/sha256").join(&blob);
            if !copy.exists() {
                fs_err::copy(from.join("blobs/sha256").join(&blob), copy)?;
            }
        }
        for mut entry in Layout::open(&from)?.entries()? {
            let whole = entry.tag().map(|tag| format!("{repository}:{tag}"));
            if let Some(whole) = &whole {
                entry
                    .annotations
                    .insert(CONTAINERD_NAME.to_owned(), whole.clone());
            }
            merged.name(entry, whole.as_deref())?;
        }
    }
    Ok(())
}

/// Each image by tag and digest, a line each.
fn list(shipped: &[Shipped]) -> String {
    let lines = shipped.iter().flat_map(|one| {
        one.tags
            .iter()
            .map(|tag| format!("{}:{tag}@{}\n", one.repository, one.digest))
    });
    lines.collect()
}

/// What tells OpenShift where the images are: by digest, by tag, and for its own mirroring program.
/// <https://docs.redhat.com/en/documentation/openshift_container_platform/4.20/html/disconnected_environments/>
fn for_openshift(shipped: &[Shipped], mirror: &str) -> [(&'static str, Value); 3] {
    let repositories: BTreeSet<_> = shipped.iter().map(|one| &one.repository).collect();
    let mirrors: Vec<_> = repositories
        .iter()
        .map(|name| json!({ "source": name, "mirrors": [pushed_name(mirror, name)] }))
        .collect();
    let set = |kind: &str, key: &str| {
        let mut spec = serde_json::Map::new();
        spec.insert(key.to_owned(), json!(mirrors));
        json!({
            "apiVersion": "config.openshift.io/v1", "kind": kind,
            "metadata": { "name": "gastown-operator" }, "spec": spec,
        })
    };
    let images: Vec<_> = shipped
        .iter()
        .map(|one| json!({ "name": format!("{}@{}", one.repository, one.digest) }))
        .collect();
    let copied = json!({
        "apiVersion": "mirror.openshift.io/v2alpha1", "kind": "ImageSetConfiguration",
        "mirror": { "additionalImages": images },
    });
    [
        ("idms.yaml", set("ImageDigestMirrorSet", "imageDigestMirrors")),
        ("itms.yaml", set("ImageTagMirrorSet", "imageTagMirrors")),
        ("imageset-config.yaml", copied),
    ]
}

/// What zarf packs (<https://docs.zarf.dev/ref/create/>), and hauler (<https://docs.hauler.dev/docs/hauler-usage/store/sync>).
fn for_others(shipped: &[Shipped]) -> Result<[(&'static str, Vec<Value>); 2]> {
    let chart = shipped
        .iter()
        .find(|one| one.name == "chart")
        .context("no chart ships")?;
    let version = chart.tags.first().context("the chart has a version")?;
    let (repository, name) = chart
        .repository
        .rsplit_once('/')
        .context("the chart is in a registry")?;
    let tagged = |one: &Shipped| one.tags.first().map(|tag| format!("{}:{tag}", one.repository));
    let images: Vec<_> = shipped
        .iter()
        .filter(|one| one.edition.is_some())
        .filter_map(tagged)
        .collect();
    let zarf = json!({
        "kind": "ZarfPackageConfig",
        "metadata": { "name": name, "version": version, "description": "Gas Town's polecats as pods" },
        "components": [{
            "name": name, "required": true, "images": images,
            "charts": [{
                "name": name, "version": version, "namespace": "gastown-system",
                "localPath": format!("files/{name}-{version}.tgz"),
            }],
        }],
    });
    let hauler = |kind: &str, key: &str, list: Value| {
        let mut spec = serde_json::Map::new();
        spec.insert(key.to_owned(), list);
        json!({
            "apiVersion": "content.hauler.cattle.io/v1", "kind": kind,
            "metadata": { "name": name }, "spec": spec,
        })
    };
    let images = images
        .iter()
        .map(|image| json!({ "name": image, "key": "cosign.pub" }))
        .collect();
    let charts = json!([{ "name": name, "version": version, "repoURL": format!("oci://{repository}") }]);
    Ok([
        ("zarf.yaml", vec![zarf]),
        (
            "hauler.yaml",
            vec![
                hauler("Images", "images", images),
                hauler("Charts", "charts", charts),
            ],
        ),
    ])
}

/// A compressed archive of a folder: the same bytes for the same files.
fn archive(folder: &Path, to: &Path) -> Result<()> {
    let epoch = Lock::load()?.epoch;
    let file = fs_err::File::create(to)?;
    let compressed = zstd::Encoder::new(file, LEVEL).context("failed to compress the bundle")?;
    let mut builder = tar::Builder::new(compressed);
    for path in below(folder)? {
        let name = path.strip_prefix(folder).context("a file is below its folder")?;
        let file = fs_err::File::open(&path)?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(epoch);
        header.set_size(file.metadata()?.len());
        builder
            .append_data(&mut header, name, file)
            .with_context(|| format!("failed to pack {name:?}"))?;
    }
    let compressed = builder.into_inner().context("failed to pack the bundle")?;
    compressed.finish().context("failed to compress the bundle")?;
    Ok(())
}

/// The files below a folder, sorted.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let path = entry?.path();
            let into = if path.is_dir() { &mut open } else { &mut found };
            into.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Signer;
    use crate::verify;
    use xtask_image::process::Command;

    /// The folder of a release with one signed image, which two repositories have.
    fn release(folder: &Path, signer: &Signer) -> Vec<Shipped> {
        let shipped = |name: &str, layout: &Layout| Shipped {
            repository: format!("ghcr.io/x/{name}"),
            name: name.to_owned(),
            tags: vec![verify::tests::TAG.to_owned()],
            edition: None,
            digest: layout.tagged(verify::tests::TAG).unwrap().unwrap().digest,
            platforms: Vec::new(),
        };
        let mut all = Vec::new();
        for name in ["operator", "agent"] {
            let layout = folder.join("images").join(name);
            fs_err::create_dir_all(&layout).unwrap();
            all.push(shipped(
                name,
                &verify::tests::signed(&layout, signer, &verify::tests::ALL).0,
            ));
        }
        all
    }

    #[test]
    fn everything_is_in_one_layout_under_its_whole_name_and_can_be_copied_from_there() {
        let (folder, bundle) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let signer = Signer::fresh();
        let shipped = release(folder.path(), &signer);
        let oci = bundle.path().join("oci");
        merge(folder.path(), &shipped, &oci).unwrap();
        let layout = Layout::open(&oci).unwrap();
        for one in &shipped {
            let name = format!("{}:{}", one.repository, verify::tests::TAG);
            let entry = layout.tagged(&name).unwrap().unwrap();
            assert_eq!(
                (&entry.digest, &entry.annotations[CONTAINERD_NAME]),
                (&one.digest, &name)
            );
            for end in [".sig", ".att", ""] {
                let attached = crate::attach::tag_of(&one.digest, end);
                assert!(
                    layout
                        .tagged(&format!("{}:{attached}", one.repository))
                        .unwrap()
                        .is_some(),
                    "{end:?}"
                );
            }
        }
        // Bundles that refer to an image have no name, and are listed all the same.
        assert!(
            layout
                .entries()
                .unwrap()
                .iter()
                .any(|entry| entry.tag().is_none())
        );
        let copy = Command::new("skopeo").args(["copy", "--quiet", "--all"]);
        let signature = crate::attach::tag_of(&shipped[0].digest, ".sig");
        let from = format!("oci:{}:{}:{signature}", oci.display(), shipped[0].repository);
        if xtask_image::machine::find("skopeo").is_some() {
            copy.arg(from)
                .arg(format!("dir:{}", bundle.path().join("copied").display()))
                .output()
                .unwrap();
        }
    }

    #[test]
    fn the_archive_is_the_same_for_the_same_files() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("in")).unwrap();
        fs_err::write(folder.path().join("in/a"), "shiny").unwrap();
        let out = tempfile::tempdir().unwrap();
        let pack = |name: &str| {
            archive(&folder.path().join("in"), &out.path().join(name)).unwrap();
            fs_err::read(out.path().join(name)).unwrap()
        };
        assert_eq!(pack("one"), pack("two"));
    }

    #[test]
    fn clusters_are_told_of_each_repository_once() {
        let shipped = |name: &str, digest: &str| Shipped {
            repository: format!("ghcr.io/x/{name}"),
            name: name.to_owned(),
            tags: vec!["1".to_owned(), "latest".to_owned()],
            edition: None,
            digest: digest.to_owned(),
            platforms: Vec::new(),
        };
        let all = [
            shipped("operator", "sha256:a"),
            shipped("operator", "sha256:b"),
            shipped("charts/operator", "sha256:c"),
        ];
        assert_eq!(list(&all).lines().count(), 6);
        assert!(
            list(&all).starts_with("ghcr.io/x/operator:1@sha256:a\nghcr.io/x/operator:latest@sha256:a\n")
        );
        let [(_, digests), (_, tags), (_, copied)] = for_openshift(&all, "mirror.example/team");
        let wanted = json!([
            { "source": "ghcr.io/x/charts/operator", "mirrors": ["mirror.example/team/charts/operator"] },
            { "source": "ghcr.io/x/operator", "mirrors": ["mirror.example/team/operator"] },
        ]);
        assert_eq!(digests["spec"]["imageDigestMirrors"], wanted);
        assert_eq!(tags["spec"]["imageTagMirrors"], wanted);
        assert_eq!(
            copied["mirror"]["additionalImages"][1]["name"],
            "ghcr.io/x/operator@sha256:b"
        );
    }

    #[test]
    fn zarf_and_hauler_are_told_of_the_images_of_both_editions_and_of_the_chart() {
        let shipped = |name: &str, repository: &str, tag: &str, edition: Option<&str>| Shipped {
            repository: format!("ghcr.io/x/{repository}"),
            name: name.to_owned(),
            tags: vec![tag.to_owned(), "latest".to_owned()],
            edition: edition.map(str::to_owned),
            digest: "sha256:a".to_owned(),
            platforms: Vec::new(),
        };
        let all = [
            shipped("operator", "operator", "1", Some("community")),
            shipped("operator", "operator", "1-fips", Some("fips")),
            shipped("chart", "charts/operator", "1", None),
            shipped("definitions", "definitions", "1", None),
        ];
        let [(_, zarf), (_, hauler)] = for_others(&all).unwrap();
        let component = &zarf[0]["components"][0];
        assert_eq!(
            component["images"],
            json!(["ghcr.io/x/operator:1", "ghcr.io/x/operator:1-fips"])
        );
        assert_eq!(component["charts"][0]["localPath"], "files/operator-1.tgz");
        assert_eq!(
            hauler[0]["spec"]["images"][1],
            json!({ "name": "ghcr.io/x/operator:1-fips", "key": "cosign.pub" })
        );
        assert_eq!(
            hauler[1]["spec"]["charts"][0]["repoURL"],
            "oci://ghcr.io/x/charts"
        );
        assert!(for_others(&all[..2]).is_err(), "no chart");
    }
}
