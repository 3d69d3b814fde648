//! A file system as a value: what a layer holds, in the one order in which it is written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

/// Directories of the root that Debian 13 has merged into `/usr`.
const MERGED: [&str; 5] = ["bin", "sbin", "lib", "lib32", "lib64"];

/// A path below the root of an image, without leading slash, `.` or `..`; the root itself is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreePath(String);

impl TreePath {
    /// Reads a path as archives write it: `./usr/bin/git`, `/usr/bin/git` and `usr/bin/git/` are one.
    ///
    /// A path that climbs out of the root is refused: it would name a file of the machine that builds.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => bail!("path {text:?} contains \"..\""),
                part => parts.push(part),
            }
        }
        ensure!(!text.contains('\0'), "path {text:?} contains a zero byte");
        Ok(Self(parts.join("/")))
    }

    /// The same file where Debian 13 has it: `bin/sh` is `usr/bin/sh`.
    pub fn merged(self) -> Self {
        match self.0.split_once('/') {
            Some((first, _)) if MERGED.contains(&first) => Self(format!("usr/{}", self.0)),
            _ => self,
        }
    }

    /// Whether this is one of the root's links into `/usr`.
    pub fn is_merged_root(&self) -> bool {
        MERGED.contains(&self.0.as_str())
    }

    /// The path without leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parents(&self) -> impl Iterator<Item = Self> {
        self.0
            .match_indices('/')
            .map(|(end, _)| Self(self.0[..end].to_owned()))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// What stands at a path. Owner and group are always root, the time always the lock file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory and its permission bits.
    Directory { mode: u32 },
    /// A regular file; entries that share `content` become hard links of each other.
    File { mode: u32, content: Arc<[u8]> },
    /// A symbolic link, its target as written.
    Link { target: String },
}

/// Permission bits that may stand in an image: set-user-ID and set-group-ID may not.
const PERMISSIONS: u32 = 0o1777;

/// A file system below the root of an image, sorted by path.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tree(BTreeMap<TreePath, Entry>);

impl Tree {
    /// Adds a directory; its mode replaces the one that an entry below it has implied.
    pub fn directory(&mut self, path: TreePath, mode: u32) -> Result<()> {
        if let Some(Entry::File { .. } | Entry::Link { .. }) = self.0.get(&path) {
            bail!("{path} is a directory and also something else");
        }
        self.insert(
            path,
            Entry::Directory {
                mode: mode & PERMISSIONS,
            },
        )
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: TreePath, mode: u32, content: impl Into<Arc<[u8]>>) -> Result<()> {
        self.add(
            path,
            Entry::File {
                mode: mode & PERMISSIONS,
                content: content.into(),
            },
        )
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: TreePath, target: impl Into<String>) -> Result<()> {
        self.add(
            path,
            Entry::Link {
                target: target.into(),
            },
        )
    }

    /// Puts a regular file where one may already be.
    pub fn replace_file(&mut self, path: TreePath, content: impl Into<Arc<[u8]>>) -> Result<()> {
        self.0.remove(&path);
        self.file(path, 0o644, content)
    }

    /// Adds a second name for the file at `target`.
    pub fn hard_link(&mut self, path: TreePath, target: &TreePath) -> Result<()> {
        match self.0.get(target) {
            Some(file @ Entry::File { .. }) => {
                let file = file.clone();
                self.add(path, file)
            }
            _ => bail!("hard link {path} names {target}, which is no file before it"),
        }
    }

    /// Adds all of `other`; a file in both must be the same in both.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        for (path, entry) in other.0 {
            match entry {
                Entry::Directory { mode } => self.directory(path, mode)?,
                entry => self.add(path, entry)?,
            }
        }
        Ok(())
    }

    /// What stands at `path`.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.0.get(path)
    }

    /// All entries, each directory before what is in it.
    pub fn entries(&self) -> impl Iterator<Item = (&TreePath, &Entry)> {
        self.0.iter()
    }

    fn add(&mut self, path: TreePath, entry: Entry) -> Result<()> {
        match self.0.get(&path) {
            Some(there) if *there != entry => bail!("{path} is added twice, with different content"),
            _ => self.insert(path, entry),
        }
    }

    fn insert(&mut self, path: TreePath, entry: Entry) -> Result<()> {
        for parent in path.parents() {
            let parent = self
                .0
                .entry(parent.clone())
                .or_insert(Entry::Directory { mode: 0o755 });
            // Writing through a link would reach a path that nobody checked.
            ensure!(
                matches!(parent, Entry::Directory { .. }),
                "{path} is below something that is no directory"
            );
        }
        self.0.insert(path, entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    #[test]
    fn a_path_that_climbs_out_of_the_root_is_refused() {
        let error = TreePath::parse("./usr/../../etc/passwd").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"path "./usr/../../etc/passwd" contains "..""#
        );
    }

    #[test]
    fn files_of_the_merged_directories_are_below_usr() {
        assert_eq!(path("./bin/sh").merged(), path("usr/bin/sh"));
        assert_eq!(path("/bin").merged(), path("bin"));
        assert_eq!(path("binary/sh").merged(), path("binary/sh"));
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let mut tree = Tree::default();
        tree.link(path("run"), "/etc").unwrap();
        let error = tree.file(path("run/passwd"), 0o644, *b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "/run/passwd is below something that is no directory"
        );
    }

    #[test]
    fn set_user_id_bits_are_dropped() {
        let mut tree = Tree::default();
        tree.file(path("usr/bin/su"), 0o6755, *b"").unwrap();
        assert!(matches!(
            tree.get(&path("usr/bin/su")),
            Some(Entry::File { mode: 0o755, .. })
        ));
    }

    #[test]
    fn one_path_with_two_contents_is_refused() {
        let mut tree = Tree::default();
        tree.file(path("etc/x"), 0o644, *b"1").unwrap();
        tree.file(path("etc/x"), 0o644, *b"1").unwrap();
        let error = tree.file(path("etc/x"), 0o644, *b"2").unwrap_err();
        assert_eq!(error.to_string(), "/etc/x is added twice, with different content");
    }
}
