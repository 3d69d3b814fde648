//! The chart, and the definitions with the templates, as OCI artefacts: the same bytes from the same commit.
//!
//! Helm's layout: <https://helm.sh/docs/topics/registries/#helm-chart-manifest>. The definitions are one archive in a manifest
//! of their own type (<https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage>).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xtask_image::krew::pack;
use xtask_image::process::Command;
use xtask_image::{Lock, Name, repository, workspace};

use crate::folder::{Shipped, images};
use crate::layout::{Descriptor, Layout, MANIFEST};
use crate::pipeline::{Release, timestamp};
use crate::plan::IMAGES;
use crate::sbom::{Artefact, Class};
use crate::statement::Material;

/// Media type of a chart's configuration, by which its manifest is told from others.
pub const CHART: &str = "application/vnd.cncf.helm.config.v1+json";
/// Type of the manifest of the definitions.
pub const DEFINITIONS: &str = "application/vnd.gastown.definitions.v1";

const CHART_CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// Where the bills of materials of these artefacts are.
pub const BILLS: &str = "artefacts/boms";

const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Where the chart is in the checkout, and where its archive lists the digests of images.
const CHART_FOLDER: &str = "helm/gastown-operator";
const PINS: &str = "files/images.json";

/// An artefact that is no image of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Chart,
    Definitions,
}

/// A file of an archive: its path, mode and content.
type File = (String, u32, Vec<u8>);

impl Kind {
    pub const ALL: [Self; 2] = [Self::Chart, Self::Definitions];

    /// Its name in `images/names.toml`, and that of its layout.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chart => "chart",
            Self::Definitions => "definitions",
        }
    }

    /// The name of its archive as a file to download.
    pub fn archive(self, version: &str) -> String {
        match self {
            Self::Chart => format!("gastown-operator-{version}.tgz"),
            Self::Definitions => format!("gastown-definitions-{version}.tgz"),
        }
    }

    /// Its files in this checkout.
    fn files(self, images: &[Shipped]) -> Result<Vec<File>> {
        match self {
            Self::Chart => {
                let mut files = committed(CHART_FOLDER, "gastown-operator")?;
                let pins = format!("{:#}\n", pins(images));
                files.push((format!("gastown-operator/{PINS}"), 0o644, pins.into_bytes()));
                files.sort();
                Ok(files)
            }
            Self::Definitions => {
                let mut files = committed(&format!("{CHART_FOLDER}/crds"), "crds")?;
                files.extend(committed("templates", "templates")?);
                files.push((
                    "LICENSE".to_owned(),
                    0o644,
                    fs_err::read(workspace::root().join("LICENSE"))?,
                ));
                Ok(files)
            }
        }
    }
}

impl Release {
    /// Makes the layouts, the archives to download, and their bills of materials.
    pub fn artefacts(&self) -> Result<()> {
        let images = images(&self.folder)?;
        let epoch = Lock::load()?.epoch;
        let mut shipped = Vec::new();
        for kind in Kind::ALL {
            let folder = self.folder.join("artefacts");
            let layout = Layout::create(&folder.join(kind.as_str()))?;
            let archive = pack(&kind.files(&images)?, epoch)?;
            workspace::write_whole(&folder.join(kind.archive(&self.plan.version)), &archive)?;
            let manifest = match kind {
                Kind::Chart => self.chart(&layout, &archive)?,
                Kind::Definitions => self.definitions(&layout, &archive)?,
            };
            layout.name(manifest.clone(), Some(&self.plan.version))?;
            let named = repository(kind.as_str())?;
            let bill = Artefact {
                name: named.clone(),
                version: self.plan.version.clone(),
                digest: manifest.digest.clone(),
                class: Class::Archive,
                edition: None,
                created: timestamp(self.plan.epoch)?,
                images: if kind == Kind::Chart {
                    images.iter().collect()
                } else {
                    Vec::new()
                },
                ..Artefact::default()
            };
            let materials: Vec<_> = bill.images.iter().map(|image| material(image)).collect();
            self.write_bill(BILLS.as_ref(), kind.as_str(), &bill, &materials)?;
            shipped.push(Shipped {
                repository: named,
                name: kind.as_str().to_owned(),
                tags: vec![self.plan.version.clone()],
                edition: None,
                digest: manifest.digest,
                platforms: Vec::new(),
            });
        }
        let list = serde_json::to_vec_pretty(&shipped)?;
        workspace::write_whole(&self.folder.join("artefacts.json"), &list)
    }

    fn chart(&self, layout: &Layout, archive: &[u8]) -> Result<Descriptor> {
        let file = workspace::root().join(CHART_FOLDER).join("Chart.yaml");
        let metadata: Value = serde_yaml_ng::from_str(&fs_err::read_to_string(&file)?)
            .with_context(|| format!("{file:?} is wrong"))?;
        let text = |key: &str| metadata[key].as_str().unwrap_or_default();
        let annotations = self.annotations(text("name"), text("description"))?;
        let config = layout.add_json(CHART, &metadata)?;
        let content = layout.add(CHART_CONTENT, archive)?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [content], "annotations": annotations,
        });
        layout.add_json(MANIFEST, &manifest)
    }

    fn definitions(&self, layout: &Layout, archive: &[u8]) -> Result<Descriptor> {
        let mut content = layout.add(&format!("{DEFINITIONS}.tar+gzip"), archive)?;
        // The name under which `oras pull` writes it.
        let file = Kind::Definitions.archive(&self.plan.version);
        content.annotations = BTreeMap::from([("org.opencontainers.image.title".to_owned(), file)]);
        let about = "The custom resource definitions of gastown-operator, and templates of its objects";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": DEFINITIONS,
            "config": layout.add(EMPTY, b"{}")?, "layers": [content],
            "annotations": self.annotations("gastown-definitions", about)?,
        });
        let mut descriptor = layout.add_json(MANIFEST, &manifest)?;
        descriptor.artifact_type = Some(DEFINITIONS.to_owned());
        Ok(descriptor)
    }

    fn annotations(&self, title: &str, about: &str) -> Result<Value> {
        let plan = &self.plan;
        Ok(json!({
            "org.opencontainers.image.title": title,
            "org.opencontainers.image.description": about,
            "org.opencontainers.image.version": plan.version,
            "org.opencontainers.image.source": plan.source,
            "org.opencontainers.image.revision": plan.commit,
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.created": timestamp(plan.epoch)?,
        }))
    }
}

/// The digest of each image by its tag. A tag that moves with each release, such as `latest`, has none: whoever names it wants
/// what it names then.
fn pins(images: &[Shipped]) -> Value {
    let mut pins: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for image in images
        .iter()
        .filter(|image| IMAGES.map(Name::as_str).contains(&image.name.as_str()))
    {
        let tags = image.tags.iter().filter(|tag| !tag.starts_with("latest"));
        let tags = tags.map(|tag| (tag.as_str(), image.digest.as_str()));
        pins.entry(&image.name).or_default().extend(tags);
    }
    json!(pins)
}

fn material(image: &Shipped) -> Material {
    let hash = image.digest.trim_start_matches("sha256:").to_owned();
    Material {
        uri: image.purl(),
        digest: BTreeMap::from([("sha256".to_owned(), hash)]),
    }
}

/// The files that git has below `folder`, under `prefix`, sorted: what lies about in a checkout is not shipped.
fn committed(folder: &str, prefix: &str) -> Result<Vec<File>> {
    let root = workspace::root();
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--", folder])
        .current_dir(&root)
        .text()?;
    let read = |path: &str| {
        let name = path.trim_start_matches(folder).trim_start_matches('/');
        Ok((format!("{prefix}/{name}"), 0o644, fs_err::read(root.join(path))?))
    };
    listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(read)
        .collect()
}

#[cfg(test)]
mod tests;
