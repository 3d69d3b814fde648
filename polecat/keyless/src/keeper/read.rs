//! Reads one work tree into a tree of the keeper's repository, as it would be if all of it were checked out.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::bundle::AgentRepository;
use super::context::{Context, TakeSnapshot};
use super::end::Version;
use super::import::Import;
use super::index::NotCheckedOut;
use super::open::import_late;
use super::rules::Rules;
use super::unread::Unread;
use super::walk::{Seen, Walk};
use super::work_trees::{WorkTree, below};
use crate::snapshot::denied_paths::{Blob, Change, Diff, Edit, GITLINK, entry, put_back, stands_in_place_of};

/// Larger files are skipped; hosts refuse them as well.
const MAX_FILE: u64 = 100 * 1024 * 1024;

/// Files up to here are read as the walk comes to them, since source code is. Larger ones wait until all others are read.
const MAX_PROMPT_FILE: u64 = 1024 * 1024;

/// How much of the time that is left the walk may take; the rest is for the commit and the push.
const WALK_SHARE: (u32, u32) = (2, 3);

/// A work tree as it was read.
pub struct Read {
    /// The id of its tree.
    pub tree: String,
    /// What the walk saw.
    pub seen: Seen,
    /// Large files that are in it as they were on disk.
    pub whole: Vec<(Version, Blob)>,
    /// Files and symbolic links.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Paths of which the tree says nothing: they stand in it as in what the work tree was compared with.
    pub unread: Vec<Vec<u8>>,
    /// Why no path that is missing counts as deleted, if that is so.
    pub deletions_unknown: Option<String>,
}

/// A work tree to read, and what to compare it with.
pub struct Source<'a> {
    /// The work tree.
    pub work_tree: &'a WorkTree,
    /// Its repository.
    pub repository: &'a AgentRepository,
    /// A commit or tree of the keeper's repository.
    pub against: &'a str,
    /// Folders in it that are read on their own.
    pub apart: &'a BTreeSet<Vec<u8>>,
}

impl Context<'_> {
    /// Reads all of a work tree but the files that the walk puts off.
    pub(super) fn read(&self, source: &Source<'_>, rules: &mut Rules) -> Result<Read, TakeSnapshot> {
        let not_checked_out = NotCheckedOut::of(source.work_tree, source.repository.command());
        let mut import = Import::begin(self.store, self.deadline)?;
        let mut walk = Walk {
            rules,
            import: &mut import,
            max_file: MAX_FILE.min(self.order.role.git.max_push_bytes),
            max_prompt: MAX_PROMPT_FILE,
            apart: source.apart,
            deadline: Instant::now() + self.time_to_read(),
            seen: Seen::default(),
        };
        walk.run(&source.work_tree.path)?;
        let seen = walk.seen;
        let (files, bytes) = (import.files, import.bytes);
        let tree = self.store.tree(&import.finish()?, self.deadline)?;
        let mut diff = Diff::default();
        let unread = Unread::of(&seen, source.apart, &not_checked_out);
        self.diff_tree(source.against, &tree, &mut diff, |change| unread.holds(change))?;
        let stale = self.stale(source, &not_checked_out, &diff.changes)?;
        let absent = self.without_replaced(source.against, &tree, diff.changes)?;
        let tree = self.edit(&tree, &put_back(absent))?;
        Ok(Read {
            tree,
            unread: seen
                .skipped
                .iter()
                .map(|(path, _)| path.clone())
                .chain(source.apart.iter().cloned())
                .chain(stale)
                .collect(),
            seen,
            whole: Vec::new(),
            files,
            bytes,
            deletions_unknown: match not_checked_out {
                NotCheckedOut::Paths(_) => None,
                NotCheckedOut::Unknown(why) => Some(why),
            },
        })
    }

    /// Those of the `absent` paths at whose place nothing else stands: a file where a folder was, or a folder where a file
    /// was, is the agent's work, and shows that the path is no longer wanted.
    fn without_replaced(
        &self,
        against: &str,
        tree: &str,
        mut absent: Vec<Change>,
    ) -> Result<Vec<Change>, TakeSnapshot> {
        if absent.is_empty() {
            return Ok(absent);
        }
        let paths: BTreeSet<_> = absent.iter().map(|change| change.path.clone()).collect();
        let mut added = Diff::default();
        self.diff_tree(against, tree, &mut added, |change| {
            change.before.is_none() && stands_in_place_of(&change.path, &paths)
        })?;
        let added: BTreeSet<_> = added.changes.into_iter().map(|change| change.path).collect();
        absent.retain(|change| !stands_in_place_of(&change.path, &added));
        Ok(absent)
    }

    fn time_to_read(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left * WALK_SHARE.0 / WALK_SHARE.1
    }

    /// Files that are not checked out, and of which the agent's commits have another version than `against`: the tree
    /// has the older one, which must not count as a change.
    fn stale(
        &self,
        source: &Source<'_>,
        not_checked_out: &NotCheckedOut,
        deleted: &[Change],
    ) -> Result<Vec<Vec<u8>>, TakeSnapshot> {
        let NotCheckedOut::Paths(paths) = not_checked_out else {
            return Ok(Vec::new());
        };
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let other = |change: &&Change| {
            let before = change.before.as_ref().map(|blob| &blob.id);
            paths.get(&change.path).is_some_and(|id| Some(id) != before)
        };
        let mut stale: BTreeSet<_> = deleted
            .iter()
            .filter(other)
            .map(|change| change.path.clone())
            .collect();
        let mut new: BTreeSet<_> = paths.keys().cloned().collect();
        let list = ["ls-tree", "-r", "-z", "--name-only", source.against];
        self.store.git(self.deadline).records(&list, 0, |path| {
            new.remove(path);
        })?;
        stale.append(&mut new);
        Ok(stale.into_iter().collect())
    }

    /// Adds the files `paths` of `root` that a walk put off.
    pub(super) fn add_late(
        &self,
        root: &Path,
        read: &mut Read,
        paths: &[Vec<u8>],
    ) -> Result<(), TakeSnapshot> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut import = Import::begin(self.store, self.deadline)?;
        let late = import_late(root, paths, &mut import, Instant::now() + self.time_to_read())?;
        read.unread
            .extend(late.skipped.iter().map(|(path, _)| path.clone()));
        read.seen.skipped.extend(late.skipped);
        read.files += import.files;
        read.bytes += import.bytes;
        let commit = import.finish()?;
        let mut edits = Vec::new();
        let list = ["ls-tree", "-r", "-z", commit.as_str()];
        self.store.git(self.deadline).records(&list, 0, |record| {
            let Some((blob, path)) = entry(record) else { return };
            let version = late.whole.get(&path).cloned();
            read.whole.extend(version.map(|version| (version, blob.clone())));
            edits.push(Edit::Put(blob, path));
        })?;
        read.tree = self.edit(&read.tree, &edits)?;
        Ok(())
    }

    /// The submodules of `against` that are filled: their files are no files of this work tree.
    pub(super) fn filled_modules(&self, root: &Path, against: &str) -> Result<Vec<Vec<u8>>, TakeSnapshot> {
        let mut modules = Vec::new();
        let list = ["ls-tree", "-r", "-z", against];
        self.store.git(self.deadline).records(&list, 0, |record| {
            let module = entry(record).filter(|(blob, _)| blob.mode == GITLINK);
            modules.extend(module.map(|(_, path)| path));
        })?;
        let filled =
            |path: &Vec<u8>| std::fs::symlink_metadata(root.join(super::path_of(path)).join(".git")).is_ok();
        modules.retain(filled);
        Ok(modules)
    }
}

/// Folders of `root` that are work trees of their own.
pub fn apart(root: &Path, others: &[WorkTree]) -> BTreeSet<Vec<u8>> {
    others
        .iter()
        .filter_map(|other| below(root, &other.path))
        .collect()
}
