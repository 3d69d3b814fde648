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
    use std::fmt::Write as _;

    use super::*;
    use crate::bundle;
    use crate::keys::Signer;

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

    /// A release of one image and these files, signed.
    fn released(folder: &Path, signer: &Signer, files: &[&str]) {
        let (layout, manifest) =
            verify::tests::signed(&folder.join("images/operator"), signer, &verify::tests::ALL);
        let index = layout.tagged(verify::tests::TAG).unwrap().unwrap();
        let shipped = Shipped {
            repository: "x/y".to_owned(),
            name: "operator".to_owned(),
            tags: vec![verify::tests::TAG.to_owned()],
            edition: Some("community".to_owned()),
            digest: index.digest,
            platforms: vec![Platform {
                architecture: "arm64".to_owned(),
                digest: manifest.digest,
                size: 1,
            }],
        };
        fs_err::write(
            folder.join("images.json"),
            serde_json::to_vec(&[shipped]).unwrap(),
        )
        .unwrap();
        fs_err::write(folder.join("artefacts.json"), "[]").unwrap();
        for name in ["files", "signatures"] {
            fs_err::create_dir(folder.join(name)).unwrap();
        }
        let mut sums = String::new();
        for name in files {
            fs_err::write(folder.join("files").join(name), format!("content of {name}")).unwrap();
            let hash = Sha256::digest(format!("content of {name}"));
            writeln!(sums, "{hash:x}  {name}").unwrap();
        }
        fs_err::write(folder.join("files/SHA256SUMS"), sums).unwrap();
        for name in names(&folder.join("files")).unwrap() {
            let content = fs_err::read(folder.join("files").join(&name)).unwrap();
            let signature = bundle::of_blob(signer, &content).unwrap().to_string();
            fs_err::write(
                verify::bundle_of(&folder.join("signatures").join(&name)),
                signature,
            )
            .unwrap();
        }
    }

    #[test]
    fn one_changed_byte_of_each_kind_of_artefact_is_found_and_named() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let signer = Signer::fresh();
        let verifier = Verifier::from_pem(signer.public()).unwrap();
        let files = [
            "kubectl-gt-linux-amd64",
            "gastown-operator-1.0.tgz",
            "a.cdx.json",
            "install.sh",
        ];
        released(folder, &signer, &files);
        assert_eq!(everything(folder, &verifier).unwrap().len(), 2 + files.len() + 1);
        // Manifests, configurations, layers, signatures and statements are blobs.
        let mut paths: Vec<_> = names(&folder.join("images/operator/blobs/sha256"))
            .unwrap()
            .into_iter()
            .map(|name| (folder.join("images/operator/blobs/sha256").join(&name), name))
            .collect();
        for name in names(&folder.join("files")).unwrap() {
            paths.push((folder.join("files").join(&name), name.clone()));
            paths.push((verify::bundle_of(&folder.join("signatures").join(&name)), name));
        }
        for (path, name) in paths {
            let before = fs_err::read(&path).unwrap();
            let mut after = before.clone();
            // Of a bundle, its signature.
            let text = String::from_utf8_lossy(&before).into_owned();
            let at = text
                .find("\"signature\":\"")
                .map_or(before.len() / 2, |at| at + 30);
            after[at] = if after[at] == b'A' { b'B' } else { b'A' };
            fs_err::write(&path, &after).unwrap();
            let found = format!("{:#}", everything(folder, &verifier).unwrap_err());
            assert!(found.contains(&name), "{path:?} byte {at}: {found}");
            fs_err::write(&path, before).unwrap();
        }
        everything(folder, &verifier).unwrap();
    }
}
