//! Trees and commits of the keeper's repository: compared, edited and made.

use std::collections::BTreeSet;
use std::path::PathBuf;

use gastown_api::git::Sha;

use super::bundle::Bundle;
use super::context::{Context, TakeSnapshot};
use crate::snapshot::denied_paths::{Blob, Change, Diff, Edit, index_info};
use crate::snapshot::{BUNDLE, HELD_FOLDER};
use polecat_common::console::explain;

/// The largest bundle; hosts refuse larger files.
const MAX_BUNDLE: u64 = 100 * 1024 * 1024;

impl Context<'_> {
    /// Adds to `diff` the changes from one tree or commit to another that `keep` asks for.
    pub(super) fn diff_tree(
        &self,
        from: &str,
        tree: &str,
        diff: &mut Diff,
        keep: impl Fn(&Change) -> bool,
    ) -> Result<(), TakeSnapshot> {
        let arguments = [
            "diff-tree",
            "-r",
            "-z",
            "--raw",
            "--no-renames",
            "--full-index",
            from,
            tree,
        ];
        let git = self.store.git(self.deadline);
        Ok(git.records(&arguments, 0, |record| diff.record(record, &keep))?)
    }

    /// The agent may have files below our folder's name itself.
    pub(super) fn free_name(&self, tree: &str) -> Result<String, TakeSnapshot> {
        let mut taken = BTreeSet::new();
        let git = self.store.git(self.deadline);
        git.records(&["ls-tree", "-z", "--name-only", tree], 0, |name| {
            if name.starts_with(HELD_FOLDER.as_bytes()) {
                taken.insert(String::from_utf8_lossy(name).into_owned());
            }
        })?;
        let numbered = (1..).map(|number| format!("{HELD_FOLDER}-{number}"));
        let mut names = std::iter::once(HELD_FOLDER.to_owned()).chain(numbered);
        Ok(names.find(|name| !taken.contains(name)).unwrap_or_default())
    }

    /// Puts the commits never pushed into the repository as one file; what cannot be put there goes to `notes`.
    pub(super) fn bundle(
        &self,
        bundle: &Bundle<'_>,
        folder: &str,
        notes: &mut Vec<String>,
    ) -> Result<Option<Edit>, TakeSnapshot> {
        if bundle.refs().is_empty() {
            return Ok(None);
        }
        let file: PathBuf = self.store.folder().join(BUNDLE);
        if let Err(error) = bundle.write(self.store.folder(), &file, self.deadline) {
            notes.push(format!(
                "the commits never pushed could not be saved: {}",
                explain(&error)
            ));
            return Ok(None);
        }
        let size = std::fs::metadata(&file).map_or(u64::MAX, |metadata| metadata.len());
        if size > MAX_BUNDLE.min(self.order.role.git.max_push_bytes) {
            notes.push(format!(
                "the commits never pushed are not saved: their bundle has {size} bytes"
            ));
            return Ok(None);
        }
        let path = file.to_string_lossy();
        let id = self
            .store
            .git(self.deadline)
            .text(&["hash-object", "-w", "--no-filters", "--", &path])?;
        // The objects are in the repository now; the file itself is made anew each time.
        let _next_one_replaces_it = std::fs::remove_file(&file);
        let blob = Blob {
            mode: "100644".to_owned(),
            id,
        };
        Ok(Some(Edit::Put(blob, format!("{folder}/{BUNDLE}").into_bytes())))
    }

    /// The tree that `edits` make of `tree`.
    pub(super) fn edit(&self, tree: &str, edits: &[Edit]) -> Result<String, TakeSnapshot> {
        if edits.is_empty() {
            return Ok(tree.to_owned());
        }
        let index = self.store.folder().join("index");
        let git = self.store.git(self.deadline).env("GIT_INDEX_FILE", &index);
        git.run(&["read-tree", tree])?;
        git.feed(
            &["update-index", "--add", "--replace", "-z", "--index-info"],
            &index_info(edits),
        )?;
        let edited = git.text(&["write-tree"])?;
        let _next_one_replaces_it = std::fs::remove_file(&index);
        Ok(edited)
    }

    /// Commits `tree` on `parent`.
    pub(super) fn commit(&self, tree: &str, parent: &Sha, message: &str) -> Result<Sha, TakeSnapshot> {
        let git = self.store.git(self.deadline);
        let id = git.feed(&["commit-tree", "-p", parent.as_str(), tree], message.as_bytes())?;
        let id: Sha = String::from_utf8_lossy(&id).trim().parse()?;
        git.run(&["update-ref", "refs/gastown/snapshot", id.as_str()])?;
        Ok(id)
    }
}
