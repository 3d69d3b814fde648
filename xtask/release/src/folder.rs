//! The folder of a release, as whoever verifies it finds it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::keys::Verifier;
use crate::layout::Layout;
use crate::verify;

/// An image of the release as `images.json` lists it, or another artefact as `artefacts.json` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// Registry and path.
    pub repository: String,
    /// Name of its layout.
    pub name: String,
    /// Tags, the most precise first.
    pub tags: Vec<String>,
    /// The cryptography of its programs, if it has any.
    pub edition: Option<String>,
    /// `sha256:…` of the index, or of the manifest where there is none.
    pub digest: String,
    pub platforms: Vec<Platform>,
}

impl Shipped {
    /// Its package URL.
    pub fn purl(&self) -> String {
        let name = self.repository.rsplit('/').next().unwrap_or(&self.repository);
        let digest = self.digest.replace(':', "%3A");
        format!("pkg:oci/{name}@{digest}?repository_url={}", self.repository)
    }
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    pub architecture: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// Bytes that a registry stores for it.
    pub size: u64,
}

/// Verifies all of a release's folder, and says what was found, one line for each.
pub fn everything(folder: &Path, verifier: &Verifier) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for image in shipped(folder)? {
        let layout = Layout::open(&folder.join("images").join(&image.name))?;
        for found in verify::image(&layout, &image.tags[0], verifier, verify::Depth::Layers)? {
            ensure!(
                found.digest == image.digest || image.platforms.iter().any(|one| one.digest == found.digest),
                "{} has manifest {}, which neither images.json nor artefacts.json lists",
                image.repository,
                found.digest
            );
            lines.push(format!("{}@{} {found}", image.repository, found.digest));
        }
    }
    let files = folder.join("files");
    for name in names(&files)? {
        verify::file_with(
            &files.join(&name),
            &verify::bundle_of(&folder.join("signatures").join(&name)),
            verifier,
        )?;
        lines.push(format!("{name} signed"));
    }
    check_sums(&files)?;
    Ok(lines)
}

/// Fails unless `SHA256SUMS` names every file of the folder with its hash.
fn check_sums(folder: &Path) -> Result<()> {
    let sums = fs_err::read_to_string(folder.join("SHA256SUMS"))?;
    for name in names(folder)?.iter().filter(|name| *name != "SHA256SUMS") {
        let hash = Sha256::digest(fs_err::read(folder.join(name))?);
        let line = format!("{hash:x}  {name}");
        ensure!(
            sums.lines().any(|one| one == line),
            "SHA256SUMS has no line {line:?}"
        );
    }
    Ok(())
}

/// The images of a release.
pub fn images(folder: &Path) -> Result<Vec<Shipped>> {
    list(&folder.join("images.json"))
}

/// The images and the other artefacts of a release.
pub fn shipped(folder: &Path) -> Result<Vec<Shipped>> {
    let mut all = images(folder)?;
    all.extend(list(&folder.join("artefacts.json"))?);
    Ok(all)
}

fn list(file: &Path) -> Result<Vec<Shipped>> {
    serde_json::from_slice(&fs_err::read(file)?).with_context(|| format!("{file:?} is damaged"))
}

/// A copy of a layout.
pub fn copy(from: &Path, to: &Path) -> Result<Layout> {
    Layout::create(to)?;
    for name in names(&from.join("blobs/sha256"))? {
        fs_err::copy(
            from.join("blobs/sha256").join(&name),
            to.join("blobs/sha256").join(&name),
        )?;
    }
    fs_err::copy(from.join("index.json"), to.join("index.json"))?;
    Layout::open(to)
}

/// Names of the files in a folder, sorted.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = fs_err::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_cover_every_file() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("a"), "abc").unwrap();
        let line = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n";
        fs_err::write(folder.path().join("SHA256SUMS"), line).unwrap();
        check_sums(folder.path()).unwrap();
        fs_err::write(folder.path().join("b"), "").unwrap();
        assert!(
            check_sums(folder.path())
                .unwrap_err()
                .to_string()
                .contains("  b\"")
        );
        fs_err::write(folder.path().join("SHA256SUMS"), "").unwrap();
        assert!(check_sums(folder.path()).is_err());
    }
}
