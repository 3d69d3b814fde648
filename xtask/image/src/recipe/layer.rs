//! Writes a tree as a layer: equal trees give equal bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::tree::{Entry, Tree};

/// A layer on disk, as a manifest and an image configuration name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `sha256:…` of the compressed bytes.
    pub digest: String,
    /// `sha256:…` of the tar archive.
    pub diff_id: String,
    /// Length of the compressed bytes.
    pub size: u64,
    /// The file that holds the compressed bytes.
    #[serde(skip)]
    pub file: PathBuf,
}

/// The layer in `folder`, made from what `tree` returns unless it is already there.
///
/// `folder` is named by a hash of all that the tree is made of; it appears complete or not at all.
pub fn cached(folder: &Path, epoch: u64, tree: impl FnOnce() -> Result<Tree>) -> Result<Layer> {
    let description = folder.join("layer.json");
    let blob = folder.join("layer.tar.gz");
    if !description.exists() {
        let parent = folder.parent().context("a layer folder has a parent")?;
        fs_err::create_dir_all(parent)?;
        let fresh = tempfile::tempdir_in(parent).context("failed to make a folder for a layer")?;
        let layer = write(
            &tree()?,
            epoch,
            fs_err::File::create(fresh.path().join("layer.tar.gz"))?,
        )?;
        fs_err::write(fresh.path().join("layer.json"), serde_json::to_vec(&layer)?)?;
        if fs_err::rename(fresh.path(), folder).is_ok() {
            // What was renamed is not there to be removed.
            let _gone = fresh.keep();
        }
    }
    let text = fs_err::read(&description)?;
    let layer =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", description.display()))?;
    Ok(Layer { file: blob, ..layer })
}

fn write(tree: &Tree, epoch: u64, output: impl Write) -> Result<Layer> {
    // The Rust back end of flate2, at a fixed level and without name or time: its output depends on nothing else.
    let compressed = flate2::write::GzEncoder::new(Measured::new(output), flate2::Compression::new(6));
    let plain = Measured::new(compressed);
    let plain = archive(tree, epoch, plain).context("failed to write a layer")?;
    let (diff_id, compressed) = (plain.digest(), plain.inner);
    let mut compressed = compressed.finish().context("failed to compress a layer")?;
    compressed.flush().context("failed to write a layer")?;
    Ok(Layer {
        digest: compressed.digest(),
        diff_id,
        size: compressed.length,
        file: PathBuf::new(),
    })
}

fn archive<W: Write>(tree: &Tree, epoch: u64, output: W) -> io::Result<W> {
    let mut builder = tar::Builder::new(output);
    let mut written = BTreeMap::new();
    for (path, entry) in tree.entries() {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(epoch);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        match entry {
            Entry::Directory { mode } => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                builder.append_data(&mut header, format!("{}/", path.as_str()), io::empty())?;
            }
            Entry::Link { target } => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                builder.append_link(&mut header, path.as_str(), target)?;
            }
            Entry::File { mode, content } => {
                header.set_mode(*mode);
                // Empty contents may share an address without being one file.
                let first = written.entry(Arc::as_ptr(content)).or_insert(path);
                if *first == path || content.is_empty() {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_size(content.len() as u64);
                    builder.append_data(&mut header, path.as_str(), &**content)?;
                } else {
                    header.set_entry_type(tar::EntryType::Link);
                    builder.append_link(&mut header, path.as_str(), first.as_str())?;
                }
            }
        }
    }
    builder.into_inner()
}

/// Passes bytes on, and knows their number and hash.
struct Measured<W> {
    inner: W,
    hash: Sha256,
    length: u64,
}

impl<W> Measured<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            length: 0,
        }
    }

    fn digest(&self) -> String {
        format!("sha256:{:x}", self.hash.clone().finalize())
    }
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::tree::TreePath;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn written(tree: &Tree) -> (Layer, Vec<u8>) {
        let mut bytes = Vec::new();
        let layer = write(tree, 1_700_000_000, &mut bytes).unwrap();
        (layer, bytes)
    }

    #[test]
    fn the_order_in_which_a_tree_is_filled_does_not_show() {
        let (mut one, mut two) = (Tree::default(), Tree::default());
        one.file(path("etc/a"), 0o644, *b"a").unwrap();
        one.link(path("etc/b"), "a").unwrap();
        one.directory(path("tmp"), 0o1777).unwrap();
        two.directory(path("tmp"), 0o1777).unwrap();
        two.link(path("etc/b"), "a").unwrap();
        two.file(path("etc/a"), 0o644, *b"a").unwrap();
        assert_eq!(written(&one), written(&two));
        two.replace_file(path("etc/a"), *b"b").unwrap();
        assert_ne!(written(&one).0.digest, written(&two).0.digest);
    }

    #[test]
    fn entries_belong_to_root_at_the_time_of_the_lock() {
        let mut tree = Tree::default();
        let long = format!("usr/share/{}", "long/".repeat(40));
        tree.file(path(&format!("{long}name")), 0o640, *b"content")
            .unwrap();
        tree.hard_link(path("usr/zzz"), &path(&format!("{long}name")))
            .unwrap();
        let (layer, bytes) = written(&tree);
        assert_eq!(layer.size, bytes.len() as u64);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), 1_700_000_000);
            names.push((entry.path().unwrap().display().to_string(), header.entry_type()));
        }
        assert!(names.contains(&(format!("{long}name"), tar::EntryType::Regular)));
        assert!(names.contains(&("usr/zzz".to_owned(), tar::EntryType::Link)));
    }

    #[test]
    fn a_layer_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let made = cached(&folder.path().join("key"), 0, || Ok(Tree::default())).unwrap();
        let found = cached(&folder.path().join("key"), 0, || panic!("made twice")).unwrap();
        assert_eq!(made, found);
    }
}
