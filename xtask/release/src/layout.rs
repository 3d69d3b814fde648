//! An OCI image layout in a folder: images, indexes, and what is attached to them, as a registry will have it.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xtask_image::workspace;

/// Media type of an image's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of a list of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Where a layout's index says under which tag a manifest is known.
const TAG: &str = "org.opencontainers.image.ref.name";

/// A manifest or blob, as others name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    /// `sha256:…`
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A layout.
#[derive(Debug, Clone)]
pub struct Layout {
    folder: PathBuf,
}

/// `index.json`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Descriptor>,
}

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

impl Descriptor {
    /// Describes `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: digest(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The tag in a layout's index.
    pub fn tag(&self) -> Option<&str> {
        self.annotations.get(TAG).map(String::as_str)
    }

    /// Whether it names other manifests or blobs.
    pub fn is_manifest(&self) -> bool {
        [MANIFEST, INDEX].contains(&&*self.media_type)
    }
}

impl Layout {
    /// A new, empty layout in place of what may be in the folder.
    pub fn create(folder: &Path) -> Result<Self> {
        if folder.exists() {
            fs_err::remove_dir_all(folder)?;
        }
        fs_err::create_dir_all(folder.join("blobs/sha256"))?;
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        fs_err::write(folder.join("oci-layout"), version.to_string())?;
        let layout = Self {
            folder: folder.to_owned(),
        };
        layout.save(Vec::new())?;
        Ok(layout)
    }

    /// The layout in the folder.
    pub fn open(folder: &Path) -> Result<Self> {
        ensure!(
            folder.join("index.json").exists(),
            "{folder:?} is no OCI image layout: it has no index.json"
        );
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// All manifests that are named in the index, tagged or not.
    pub fn entries(&self) -> Result<Vec<Descriptor>> {
        let index = fs_err::read(self.folder.join("index.json"))?;
        let index: Index = serde_json::from_slice(&index)
            .with_context(|| format!("the index of {:?} is damaged", self.folder))?;
        Ok(index.manifests)
    }

    /// The manifest with this tag.
    pub fn tagged(&self, tag: &str) -> Result<Option<Descriptor>> {
        let mut entries = self.entries()?.into_iter();
        Ok(entries.find(|entry| entry.tag() == Some(tag)))
    }

    /// The content of a blob, checked against its digest.
    pub fn read(&self, digest: &str) -> Result<Vec<u8>> {
        let bytes = fs_err::read(self.path(digest)?)?;
        let found = self::digest(&bytes);
        ensure!(
            found == digest,
            "blob {digest} of {:?} was changed: it is {found}",
            self.folder
        );
        Ok(bytes)
    }

    /// The content of a manifest.
    pub fn manifest(&self, digest: &str) -> Result<Value> {
        serde_json::from_slice(&self.read(digest)?).with_context(|| format!("manifest {digest} is no JSON"))
    }

    /// Adds a blob.
    pub fn add(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        workspace::write_whole(&self.path(&descriptor.digest)?, bytes)?;
        Ok(descriptor)
    }

    /// Adds a manifest or index as JSON.
    pub fn add_json(&self, media_type: &str, value: &Value) -> Result<Descriptor> {
        let mut value = value.clone();
        value.sort_all_objects();
        self.add(media_type, &serde_json::to_vec(&value)?)
    }

    /// Names a manifest in the index, under `tag`, which from then on names nothing else, or under none.
    pub fn name(&self, mut descriptor: Descriptor, tag: Option<&str>) -> Result<()> {
        let mut entries = self.entries()?;
        if let Some(tag) = tag {
            entries.retain(|entry| entry.tag() != Some(tag));
            descriptor.annotations.insert(TAG.to_owned(), tag.to_owned());
        }
        if !entries.contains(&descriptor) {
            entries.push(descriptor);
        }
        self.save(entries)
    }

    /// Takes the image out of an archive that holds one, without a name, and describes its manifest.
    pub fn import(&self, archive: &Path, digest: &str) -> Result<Descriptor> {
        let mut found = None;
        let mut archive = tar::Archive::new(fs_err::File::open(archive)?);
        for entry in archive.entries().context("the archive is damaged")? {
            let mut entry = entry.context("the archive is damaged")?;
            let path = entry
                .path()
                .context("the archive is damaged")?
                .display()
                .to_string();
            let mut content = Vec::new();
            entry
                .read_to_end(&mut content)
                .context("the archive is cut short")?;
            if path == "index.json" {
                let index: Index =
                    serde_json::from_slice(&content).context("the archive's index is damaged")?;
                found = index.manifests.into_iter().find(|entry| entry.digest == digest);
            } else if path.starts_with("blobs/") {
                self.add("", &content)?;
            }
        }
        let mut descriptor = found.with_context(|| format!("the archive has no image {digest:?}"))?;
        descriptor.annotations.clear();
        Ok(descriptor)
    }

    fn path(&self, digest: &str) -> Result<PathBuf> {
        let hash = digest.strip_prefix("sha256:");
        let hash = hash.filter(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let hash = hash.with_context(|| format!("digest {digest:?} is no sha256"))?;
        Ok(self.folder.join("blobs/sha256").join(hash))
    }

    fn save(&self, manifests: Vec<Descriptor>) -> Result<()> {
        let index = Index {
            schema_version: 2,
            media_type: INDEX.to_owned(),
            manifests,
        };
        workspace::write_whole(
            &self.folder.join("index.json"),
            &serde_json::to_vec_pretty(&index)?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_what_was_named_last_and_what_has_none_stays() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::create(folder.path()).unwrap();
        let one = layout.add_json(MANIFEST, &json!({"a": 1})).unwrap();
        let two = layout.add_json(MANIFEST, &json!({"a": 2})).unwrap();
        layout.name(one.clone(), None).unwrap();
        layout.name(one.clone(), Some("1.0")).unwrap();
        layout.name(two.clone(), Some("1.0")).unwrap();
        layout.name(one.clone(), None).unwrap();
        let named: Vec<_> = layout
            .entries()
            .unwrap()
            .into_iter()
            .map(|entry| entry.digest)
            .collect();
        assert_eq!(named, [one.digest, two.digest.clone()]);
        assert_eq!(layout.tagged("1.0").unwrap().unwrap().digest, two.digest);
    }

    #[test]
    fn a_changed_blob_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::create(folder.path()).unwrap();
        let blob = layout.add("text/plain", b"shiny").unwrap();
        assert_eq!(layout.read(&blob.digest).unwrap(), b"shiny");
        fs_err::write(layout.path(&blob.digest).unwrap(), "chrome").unwrap();
        let error = layout.read(&blob.digest).unwrap_err().to_string();
        assert!(error.starts_with(&format!("blob {} of", blob.digest)), "{error}");
        assert!(layout.read("sha256:../../etc/passwd").is_err());
    }
}
