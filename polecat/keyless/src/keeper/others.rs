//! What is saved besides the clone's own work tree: linked work trees, copies of the clone and filled submodules where
//! they have uncommitted changes, and the commits of their repositories that were never pushed.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use gastown_api::git::Sha;

use super::bundle::{AgentRepository, Bundle};
use super::context::{Context, TakeSnapshot};
use super::read::{Read, Source, apart};
use super::remote_state::RemoteState;
use super::rules::Rules;
use super::work_trees::{Search, WorkTree, WorkTrees};
use crate::snapshot::denied_paths::{Change, Diff, Edit, held_path};
use crate::snapshot::message::SavedTree;
use crate::snapshot::quoted::quote;
use polecat_common::console::{escape, explain};

/// Where their files stand in the folder of held files, each below its number.
const FOLDER: &str = "work-trees";

/// The most bytes of large files that are saved of each: a linked work tree is for source code.
const MAX_LATE: u64 = 64 * 1024 * 1024;

/// A work tree with changes that no commit has.
pub struct Other {
    tree: WorkTree,
    read: Read,
    head: Option<Sha>,
    branch: Option<String>,
    against: Option<Sha>,
    changes: Vec<Change>,
}

/// All that is saved besides the clone's own work tree.
pub struct Others {
    /// The work trees with changes.
    pub changed: Vec<Other>,
    /// Those without: their repositories have it all.
    pub committed: Vec<Other>,
    /// What was left out of all of them, and why; paths begin with that of the work tree.
    pub skipped: Vec<(Vec<u8>, String)>,
    /// The repositories, the clone's first.
    pub repositories: Vec<AgentRepository>,
}

impl Others {
    /// The commits of all repositories that were never pushed.
    pub fn bundle(&self, notes: &mut Vec<String>) -> Bundle<'_> {
        let parts = self.repositories.iter();
        Bundle {
            parts: parts
                .map(|repository| (repository, repository.unpushed(notes)))
                .collect(),
        }
    }

    /// In words, to compare with what the last snapshot has.
    pub fn list(&self) -> Vec<String> {
        let changed = self.changed.iter();
        let words = changed.map(|other| format!("{} {}", other.read.tree, other.tree.path.display()));
        words.collect()
    }

    /// Puts their changed files below `folder`, and says what a later attempt needs to make them again. Where the commits
    /// of their repositories could not be saved, all files that no push has are changed ones.
    pub fn hold(&self, folder: &str, clone: &Path, commits_are_saved: bool) -> (Vec<Edit>, Vec<SavedTree>) {
        let (mut edits, mut saved) = (Vec::new(), Vec::new());
        let committed = self.committed.iter().filter(|_| !commits_are_saved);
        for (number, other) in (1..).zip(self.changed.iter().chain(committed)) {
            let folder = format!("{folder}/{FOLDER}/{number}");
            let mut deleted = Vec::new();
            for change in &other.changes {
                match &change.after {
                    Some(after) => edits.push(Edit::Put(after.clone(), held_path(&folder, &change.path))),
                    None => deleted.push(quote(&change.path)),
                }
            }
            let path = other.tree.path.strip_prefix(clone).unwrap_or(&other.tree.path);
            saved.push(SavedTree {
                path: path.to_string_lossy().into_owned(),
                folder: format!("{FOLDER}/{number}"),
                head: other.head.clone(),
                branch: other.branch.clone(),
                against: other.against.clone(),
                deleted,
            });
        }
        (edits, saved)
    }
}

impl Context<'_> {
    /// The clone, and all others that the agent may have changed.
    pub(super) fn find(&self, known: &RemoteState) -> WorkTrees {
        let search = Search {
            clone: self.work_tree,
            volumes: self.volumes,
            deadline: self.deadline,
        };
        search.run(|tree| self.is_copy(tree, known))
    }

    /// Whether the objects of a work tree's repository have a commit that the remote has: then it is a copy of the clone,
    /// even where git takes it for no repository, since the agent broke its HEAD or configuration.
    fn is_copy(&self, tree: &WorkTree, known: &RemoteState) -> bool {
        let git = self
            .store
            .git(self.deadline)
            .env("GIT_OBJECT_DIRECTORY", tree.common_dir.join("objects"));
        let has = |commit: &Sha| {
            git.run(&["cat-file", "-e", &format!("{commit}^{{commit}}")])
                .is_ok()
        };
        known.all().iter().any(has)
    }

    /// The submodules of the clone that are filled.
    pub(super) fn modules(
        &self,
        clone: &WorkTree,
        known: &RemoteState,
    ) -> Result<Vec<WorkTree>, TakeSnapshot> {
        let search = Search {
            clone: self.work_tree,
            volumes: self.volumes,
            deadline: self.deadline,
        };
        let modules = self.filled_modules(&clone.path, known.branch().as_str())?;
        let roots = modules
            .iter()
            .map(|module| clone.path.join(super::path_of(module)));
        Ok(roots.filter_map(|root| search.tree_at(&root)).collect())
    }

    /// Reads every work tree but the clone's own, and opens their repositories.
    pub(super) fn others(
        &self,
        trees: &WorkTrees,
        clone: &WorkTree,
        known: &RemoteState,
        rules: &mut Rules,
        notes: &mut Vec<String>,
    ) -> Others {
        let (mut changed, mut committed, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for tree in &trees.others {
            match self.other(tree, trees, known, rules, &mut skipped) {
                Ok((other, true)) => committed.push(other),
                Ok((other, false)) => changed.push(other),
                Err(error) => notes.push(format!(
                    "the work tree {} could not be read: {}",
                    escape(&tree.path.to_string_lossy()),
                    explain(&error)
                )),
            }
        }
        let common: BTreeSet<_> = trees.others.iter().map(|tree| &tree.common_dir).collect();
        let common = common.into_iter().filter(|folder| **folder != clone.common_dir);
        let folders = std::iter::once(&clone.common_dir).chain(common);
        let repositories = folders.map(|folder| self.repository(folder, known)).collect();
        Others {
            changed,
            committed,
            skipped,
            repositories,
        }
    }

    /// With whether all of it is committed, but for what goes to `skipped`.
    fn other(
        &self,
        tree: &WorkTree,
        trees: &WorkTrees,
        known: &RemoteState,
        rules: &mut Rules,
        skipped: &mut Vec<(Vec<u8>, String)>,
    ) -> Result<(Other, bool), TakeSnapshot> {
        let repository = self.repository(&tree.git_dir, known);
        let head = repository.head();
        let shared = head.as_ref().and_then(|head| repository.shared(head));
        let against = match shared {
            Some(shared) => self.store.commit(shared.as_str(), self.deadline)?,
            None => None,
        };
        let compared = match &against {
            Some(commit) => commit.to_string(),
            None => self.store.empty_tree(self.deadline)?,
        };
        let mut inside = apart(&tree.path, &trees.others);
        inside.extend(
            trees
                .clone
                .iter()
                .flat_map(|clone| apart(&tree.path, std::slice::from_ref(clone))),
        );
        let source = Source {
            work_tree: tree,
            repository: &repository,
            against: &compared,
            apart: &inside,
        };
        let mut read = self.read(&source, rules)?;
        self.add_small_late(tree, &mut read)?;
        let root = tree.path.as_os_str().as_bytes();
        let named = |(path, why): &(Vec<u8>, String)| ([root, b"/", path].concat(), why.clone());
        skipped.extend(read.seen.skipped.iter().map(named));
        let committed = head.as_ref().and_then(|head| repository.tree(head));
        let is_committed = committed.as_deref() == Some(read.tree.as_str());
        let mut diff = Diff::default();
        self.diff_tree(&compared, &read.tree, &mut diff, |_| true)?;
        let other = Other {
            tree: tree.clone(),
            branch: repository.branch(),
            changes: diff.changes,
            read,
            head,
            against,
        };
        Ok((other, is_committed))
    }

    /// Adds the smallest of the files that were put off.
    fn add_small_late(&self, tree: &WorkTree, read: &mut Read) -> Result<(), TakeSnapshot> {
        let mut late = std::mem::take(&mut read.seen.put_off);
        late.sort_by_key(|(_, size)| *size);
        let mut left = MAX_LATE;
        let (fitting, others): (Vec<_>, Vec<_>) = late.into_iter().partition(|(_, size)| {
            left = left.saturating_sub(*size);
            left > 0
        });
        for (path, size) in others {
            let why = format!("its {size} bytes, with those of smaller files, are more than {MAX_LATE}");
            read.unread.push(path.clone());
            read.seen.skipped.push((path, why));
        }
        let paths: Vec<_> = fitting.into_iter().map(|(path, _)| path).collect();
        self.add_late(&tree.path, read, &paths)
    }
}
