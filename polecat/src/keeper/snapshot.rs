//! One snapshot: walk, compare, hold what may not be pushed, commit, push.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gastown_api::git::{ParseGitName, Sha};
use gastown_api::work_order::WorkOrder;

use super::bundle::{AgentRepository, Refs, list};
use super::hold::{Change, Diff, Edit, Unread, hold, index_info, is_held, put_back};
use super::import::{Import, ImportTree};
use super::known::Known;
use super::message::{self, Facts};
use super::rules::{ApplyRules, Rules};
use super::serve::Purpose;
use super::store::{Last, Store, Tips, UseStore};
use super::walk::{Seen, Walk, WalkTree};
use crate::console::{explain, say};
use crate::git::RunGit;

/// Larger files are skipped; hosts refuse them as well.
const MAX_FILE: u64 = 100 * 1024 * 1024;

/// Where held files stand.
pub const HELD_FOLDER: &str = "gastown-held";

/// The name of the bundle in the folder of held files.
pub const BUNDLE: &str = "unpushed.bundle";

/// Nothing has to be saved.
const DELIVERED: &str = "the work tree equals the branch on the remote";

/// One part in so many of the time is for asking the broker what it has: it may not answer.
const REFRESH_SHARE: u32 = 4;

/// The part of the time that is left for the walk; the rest is for the commit and the push.
const WALK_SHARE: (u32, u32) = (2, 3);

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum TakeSnapshot {
    /// The keeper's repository failed.
    #[error(transparent)]
    Store(#[from] UseStore),
    /// The rules failed.
    #[error(transparent)]
    Rules(#[from] ApplyRules),
    /// The import failed.
    #[error(transparent)]
    Import(#[from] ImportTree),
    /// The walk failed.
    #[error(transparent)]
    Walk(#[from] WalkTree),
    /// Git failed.
    #[error("failed to commit the snapshot")]
    Commit {
        /// What git said.
        #[from]
        source: RunGit,
    },
    /// Git's answer is no object id.
    #[error("failed to read the id of the snapshot")]
    ReadId {
        /// What is wrong with it.
        #[from]
        source: ParseGitName,
    },
}

/// What became of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It reached the broker.
    Saved {
        /// Its commit.
        commit: Sha,
        /// What it holds, in words.
        words: String,
        /// Whether that is all: the agent's repository may not be readable, or hold more than a bundle may.
        whole: bool,
    },
    /// There is nothing that is not saved already.
    Nothing(&'static str),
}

/// What a snapshot is made of.
#[derive(Debug)]
pub struct Context<'a> {
    /// The order.
    pub order: &'a WorkOrder,
    /// The keeper's repository.
    pub store: &'a Store,
    /// The work tree.
    pub work_tree: &'a Path,
    /// When all of it must be over.
    pub deadline: Instant,
    /// What it is for.
    pub purpose: Purpose,
}

/// The work tree as it was read.
struct Read {
    tree: String,
    seen: Seen,
    files: u64,
    bytes: u64,
}

impl Context<'_> {
    /// Takes a snapshot and pushes it, unless everything is saved already.
    pub fn take(&self) -> Result<Outcome, TakeSnapshot> {
        // The clone appears as a whole; what the agent did to its `.git` is no reason to save nothing.
        if !self.work_tree.exists() {
            return Ok(Outcome::Nothing("there is no clone yet"));
        }
        let known = self.known()?;
        let read = self.read(&known)?;
        let agent = AgentRepository::open(self.work_tree, self.store.folder(), &known.all(), self.deadline);
        let mut notes = Vec::new();
        let unpushed = agent.unpushed(&mut notes);
        // Of what was not seen nobody knows whether it is saved.
        if notes.is_empty()
            && let Some(why) = self.is_saved(&known, &read, &unpushed)?
        {
            message::say_skipped(&read.seen);
            if why == DELIVERED && self.purpose == Purpose::Last {
                // Everything is saved all the same; the last checkpoint then stays on the remote.
                if let Err(error) = self.conclude(&known, &read) {
                    say(&format!(
                        "polecat keeper: failed to conclude: {}",
                        explain(&error)
                    ));
                }
            }
            return Ok(Outcome::Nothing(why));
        }
        let diff = self.diff(&known.base, &read)?;
        let folder = self.free_name(&read.tree)?;
        let mut held = hold(&diff.changes, &folder);
        let bundle = self.bundle(&agent, &unpushed, &folder, &mut notes)?;
        // Commits that are in no bundle are not saved: the next snapshot tries again.
        let bundled = bundle.as_ref().map_or_else(Vec::new, |_| list(&unpushed));
        held.edits.extend(bundle);
        message::say_notes(&notes);
        let tree = self.edit(&read.tree, &held.edits)?;
        let facts = Facts {
            order: self.order,
            base: &known.base,
            branch: known.branch(),
            folder: &folder,
            read: (read.files, read.bytes),
            changed: diff.count,
            held: &held,
            seen: &read.seen,
            unpushed: &unpushed,
            notes: &notes,
        };
        let commit = self.commit(
            &tree,
            &known.parent(self.store, self.deadline)?,
            &message::compose(&facts),
        )?;
        self.store.push(&commit, self.deadline)?;
        self.store.remember(&Last {
            commit: commit.clone(),
            tree: read.tree,
            unpushed: bundled,
        })?;
        Ok(Outcome::Saved {
            words: message::summary(&facts),
            whole: notes.is_empty(),
            commit,
        })
    }

    fn known(&self) -> Result<Known, TakeSnapshot> {
        // A broker that stopped for good refuses fetches and still takes snapshots.
        let left = self.deadline.saturating_duration_since(Instant::now());
        let tips = match self.store.refresh(Instant::now() + left / REFRESH_SHARE) {
            Ok(tips) => tips,
            Err(error) => {
                say(&format!(
                    "polecat keeper: going by what was fetched before: {}",
                    explain(&error)
                ));
                Tips {
                    work: self.store.known_work(self.deadline)?,
                    wip: None,
                }
            }
        };
        Ok(Known {
            base: self.store.base(self.deadline)?,
            base_branch: self.store.base_branch(self.deadline)?,
            last: self.store.last()?,
            tips,
        })
    }

    fn read(&self, known: &Known) -> Result<Read, TakeSnapshot> {
        let mut rules = Rules::of(self.store, &known.base, known.tips.work.as_ref(), self.deadline)?;
        let mut import = Import::begin(self.store, self.deadline)?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut walk = Walk {
            rules: &mut rules,
            import: &mut import,
            max_file: MAX_FILE.min(self.order.git.max_push_bytes),
            deadline: Instant::now() + left * WALK_SHARE.0 / WALK_SHARE.1,
            seen: Seen::default(),
        };
        walk.run(self.work_tree)?;
        let seen = walk.seen;
        let (files, bytes) = (import.files, import.bytes);
        let commit = import.finish()?;
        let mut tree = self.store.tree(&commit, self.deadline)?;
        let branch = known.branch();
        let mut diff = Diff::default();
        let unread = Unread::of(&seen);
        self.diff_tree(branch, &tree, &mut diff, |change| unread.holds(change))?;
        let back = put_back(diff.changes);
        if !back.is_empty() {
            tree = self.edit(&tree, &back)?;
        }
        Ok(Read {
            tree,
            seen,
            files,
            bytes,
        })
    }

    fn is_saved(
        &self,
        known: &Known,
        read: &Read,
        unpushed: &Refs,
    ) -> Result<Option<&'static str>, TakeSnapshot> {
        let branch = known.branch();
        if unpushed.is_empty() && self.store.tree(branch, self.deadline)? == read.tree {
            return Ok(Some(DELIVERED));
        }
        let last = known.last.as_ref();
        let held = last.is_some_and(|last| last.tree == read.tree && last.unpushed == list(unpushed));
        Ok(held.then_some("the last snapshot holds it all"))
    }

    /// Everything was delivered, but an earlier checkpoint may hold what was not at the time, such as commits that have
    /// been pushed since. A last snapshot without them lets the broker see that nothing is held any more.
    fn conclude(&self, known: &Known, read: &Read) -> Result<(), TakeSnapshot> {
        let Some(wip) = &known.tips.wip else {
            return Ok(());
        };
        if self.store.commit(wip.as_str(), self.deadline)?.is_none()
            || self.store.tree(wip, self.deadline)? == read.tree
        {
            return Ok(());
        }
        let commit = self.commit(&read.tree, wip, &message::concluded(self.order))?;
        self.store.push(&commit, self.deadline)?;
        self.store.remember(&Last {
            commit,
            tree: read.tree.clone(),
            unpushed: Vec::new(),
        })?;
        Ok(())
    }

    fn diff(&self, base: &Sha, read: &Read) -> Result<Diff, TakeSnapshot> {
        let long: BTreeSet<&[u8]> = read.seen.long_attributes.iter().map(|path| &path[..]).collect();
        let denied = &self.order.git.denied_paths;
        let mut diff = Diff::default();
        self.diff_tree(base, &read.tree, &mut diff, |change| {
            is_held(change, denied, &long)
        })?;
        Ok(diff)
    }

    fn diff_tree(
        &self,
        from: &Sha,
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
            from.as_str(),
            tree,
        ];
        let git = self.store.git(self.deadline);
        Ok(git.records(&arguments, 0, |record| diff.record(record, &keep))?)
    }

    /// The agent may have files below our folder's name itself.
    fn free_name(&self, tree: &str) -> Result<String, TakeSnapshot> {
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

    fn bundle(
        &self,
        agent: &AgentRepository,
        unpushed: &Refs,
        folder: &str,
        notes: &mut Vec<String>,
    ) -> Result<Option<Edit>, TakeSnapshot> {
        if unpushed.is_empty() {
            return Ok(None);
        }
        let file: PathBuf = self.store.folder().join(BUNDLE);
        if let Err(error) = agent.write(unpushed, &file) {
            notes.push(format!(
                "the commits never pushed could not be saved: {}",
                explain(&error)
            ));
            return Ok(None);
        }
        let size = std::fs::metadata(&file).map_or(u64::MAX, |metadata| metadata.len());
        if size > MAX_FILE.min(self.order.git.max_push_bytes) {
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
        let blob = super::hold::Blob {
            mode: "100644".to_owned(),
            id,
        };
        Ok(Some(Edit::Put(blob, format!("{folder}/{BUNDLE}").into_bytes())))
    }

    fn edit(&self, tree: &str, edits: &[Edit]) -> Result<String, TakeSnapshot> {
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

    fn commit(&self, tree: &str, parent: &Sha, message: &str) -> Result<Sha, TakeSnapshot> {
        let git = self.store.git(self.deadline);
        let id = git.feed(&["commit-tree", "-p", parent.as_str(), tree], message.as_bytes())?;
        let id: Sha = String::from_utf8_lossy(&id).trim().parse()?;
        git.run(&["update-ref", "refs/gastown/snapshot", id.as_str()])?;
        Ok(id)
    }
}
