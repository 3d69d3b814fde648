//! One snapshot: find the work trees, read and compare them, hold what may not be pushed, commit, push.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gastown_api::git::{ParseGitName, Sha};
use gastown_api::work_order::WorkOrder;

use super::bundle::{AgentRepository, Bundle, list};
use super::end::End;
use super::hold::{Diff, hold, is_held};
use super::import::ImportTree;
use super::known::Known;
use super::left_out::LeftOut;
use super::message::{self, Facts, Record};
use super::others::Others;
use super::read::{Read, Source, apart};
use super::rules::{ApplyRules, Rules};
use super::serve::Purpose;
use super::store::{Last, Store, Tips, UseStore};
use super::walk::WalkTree;
use super::work_trees::WorkTree;
use polecat_common::console::{explain, say};
use polecat_common::git::RunGit;

/// Where held files stand.
pub const HELD_FOLDER: &str = "gastown-held";

/// The name of the bundle in the folder of held files.
pub const BUNDLE: &str = "unpushed.bundle";

/// Why nothing has to be saved.
const DELIVERED: &str = "the work tree equals the branch on the remote";
const HELD: &str = "the last snapshot holds it all";
const UNCHANGED: &str = "the work tree equals the commit that is checked out, which is on the remote";

/// One part in so many of the time is for asking the broker what it has: it may not answer.
const REFRESH_SHARE: u32 = 4;

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
        /// What it lacks.
        left_out: LeftOut,
    },
    /// There is nothing that is not saved already.
    Nothing {
        /// Why.
        reason: &'static str,
        /// What could not be looked at, or cannot be saved.
        left_out: LeftOut,
    },
    /// No clone was found, at its place or elsewhere: before it is made there is nothing to save, afterwards everything
    /// is lost that no earlier snapshot has.
    NoClone,
}

impl Outcome {
    /// Says what is lacking in the end.
    pub(super) fn lacking(&mut self, all: LeftOut) {
        match self {
            Self::Saved { left_out, .. } | Self::Nothing { left_out, .. } => {
                // Whether the commits could be saved was found out last.
                let notes = std::mem::take(&mut left_out.notes);
                *left_out = LeftOut { notes, ..all };
            }
            Self::NoClone => {}
        }
    }
}

/// What a snapshot is made of.
#[derive(Debug)]
pub struct Context<'a> {
    /// The order.
    pub order: &'a WorkOrder,
    /// The keeper's repository.
    pub store: &'a Store,
    /// Where the clone is made.
    pub work_tree: &'a Path,
    /// The roots of the volumes that the agent can write.
    pub volumes: &'a [PathBuf],
    /// When all of it must be over.
    pub deadline: Instant,
    /// What it is for.
    pub purpose: Purpose,
    /// The end of the pod, where it has begun.
    pub end: Option<&'a End>,
    /// The most bytes of new files in one push; below the order's limit, and less after pushes that failed.
    pub push_bytes: u64,
}

/// All that was read of the agent's work, and what it is compared with.
pub(super) struct Work<'a> {
    pub(super) known: &'a Known,
    pub(super) clone: &'a WorkTree,
    repository: &'a AgentRepository,
    pub(super) read: Read,
    others: &'a Others,
    bundle: Bundle<'a>,
    /// The commit that is checked out in the clone.
    head: Option<Sha>,
    /// The commit that was pushed last of this snapshot.
    pushed: Option<Sha>,
    /// Paths that follow in a later push: the tree has them as they were saved last, or on the branch.
    pub(super) pending: Vec<Vec<u8>>,
    /// What went wrong.
    notes: Vec<String>,
}

impl Context<'_> {
    /// Takes a snapshot and pushes it, unless everything is saved already. Large files follow in pushes of their own.
    pub fn take(&self) -> Result<Outcome, TakeSnapshot> {
        let known = match self.known() {
            Ok(known) => known,
            Err(UseStore::FindBase { .. }) if !self.work_tree.exists() => return Ok(Outcome::NoClone),
            Err(error) => return Err(error.into()),
        };
        let mut trees = self.find(&known);
        let Some(clone) = trees.clone.clone() else {
            return Ok(Outcome::NoClone);
        };
        let mut notes = std::mem::take(&mut trees.notes);
        let mut rules = Rules::of(self.store, &known.base, known.tips.work.as_ref(), self.deadline)?;
        trees.others.extend(self.modules(&clone, &known)?);
        let repository = self.repository(&clone.git_dir, &known);
        let read = self.read(
            &Source {
                work_tree: &clone,
                repository: &repository,
                against: known.branch().as_str(),
                apart: &apart(&clone.path, &trees.others),
            },
            &mut rules,
        )?;
        let others = self.others(&trees, &clone, &known, &mut rules, &mut notes);
        if let Some(why) = &read.deletions_unknown {
            notes.push(format!("whether missing files were deleted is not known: {why}"));
        }
        let mut work = Work {
            known: &known,
            clone: &clone,
            repository: &repository,
            bundle: others.bundle(&mut notes),
            head: repository.head(),
            pushed: None,
            pending: Vec::new(),
            others: &others,
            read,
            notes,
        };
        self.save_in_rounds(&mut work)
    }

    fn known(&self) -> Result<Known, UseStore> {
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

    pub(super) fn repository(&self, git_dir: &Path, known: &Known) -> AgentRepository {
        AgentRepository::open(git_dir, self.store.folder(), &known.all(), self.deadline)
    }
}

impl Work<'_> {
    pub(super) fn left_out(&self) -> LeftOut {
        let skipped = self.read.seen.skipped.iter().chain(&self.others.skipped);
        let skipped = skipped.map(|(path, why)| (&path[..], why.as_str()));
        let pending = self
            .pending
            .iter()
            .map(|path| (&path[..], "its push had not ended"));
        LeftOut::of(skipped.chain(pending), self.read.seen.skipped_more, &self.notes)
    }

    /// What a snapshot holds besides the work tree, in words.
    fn beside(&self) -> Vec<String> {
        let mut beside = list(&self.bundle.refs());
        beside.extend(self.others.list());
        beside
    }
}

impl Context<'_> {
    pub(super) fn save(&self, work: &mut Work<'_>) -> Result<Outcome, TakeSnapshot> {
        let (known, read) = (work.known, &work.read);
        let left_out = work.left_out();
        // Of what was not seen nobody knows whether it is saved.
        if work.notes.is_empty()
            && let Some(reason) = self.is_saved(work)?
        {
            message::say_skipped(&read.seen);
            if reason == DELIVERED && self.purpose != Purpose::Checkpoint && work.pending.is_empty() {
                // Everything is saved all the same; the last checkpoint then stays on the remote.
                if let Err(error) = self.conclude(known, read) {
                    say(&format!(
                        "polecat keeper: failed to conclude: {}",
                        explain(&error)
                    ));
                }
            }
            return Ok(Outcome::Nothing { reason, left_out });
        }
        let diff = self.diff(&known.base, read)?;
        let folder = self.free_name(&read.tree)?;
        let mut held = hold(&diff.changes, &folder);
        let mut notes = work.notes.clone();
        let bundle = self.bundle(&work.bundle, &folder, &mut notes)?;
        // Commits that are in no bundle are not saved: the next snapshot tries again.
        let commits_are_saved = bundle.is_some() || work.bundle.refs().is_empty();
        let beside = if commits_are_saved {
            work.beside()
        } else {
            Vec::new()
        };
        held.edits.extend(bundle);
        let (edits, trees) = work.others.hold(&folder, &work.clone.path, commits_are_saved);
        held.edits.extend(edits);
        message::say_notes(&notes);
        let tree = self.edit(&read.tree, &held.edits)?;
        let unpushed = work.bundle.refs();
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
            record: Record::of(
                work.head.clone(),
                read.unread.iter().chain(&work.pending),
                read.deletions_unknown.is_some(),
                trees,
            ),
        };
        let parent = match &work.pushed {
            Some(commit) => commit.clone(),
            None => known.parent(self.store, self.deadline)?,
        };
        let commit = self.commit(&tree, &parent, &message::compose(&facts))?;
        self.store.push(&commit, self.deadline)?;
        self.store.remember(&Last {
            commit: commit.clone(),
            tree: read.tree.clone(),
            beside,
        })?;
        let words = message::summary(&facts);
        work.pushed = Some(commit.clone());
        let left_out = LeftOut { notes, ..left_out };
        Ok(Outcome::Saved {
            commit,
            words,
            left_out,
        })
    }

    fn is_saved(&self, work: &Work<'_>) -> Result<Option<&'static str>, TakeSnapshot> {
        let (known, tree) = (work.known, &work.read.tree);
        let beside = work.beside();
        if beside.is_empty() {
            if self.store.tree(known.branch(), self.deadline)? == *tree {
                return Ok(Some(DELIVERED));
            }
            // Every commit is on the remote, so this one is too.
            if work
                .head
                .as_ref()
                .and_then(|head| work.repository.tree(head))
                .as_ref()
                == Some(tree)
            {
                return Ok(Some(UNCHANGED));
            }
        }
        let last = known.last.as_ref();
        let held = last.is_some_and(|last| last.tree == *tree && last.beside == beside);
        Ok(held.then_some(HELD))
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
            beside: Vec::new(),
        })?;
        Ok(())
    }

    fn diff(&self, base: &Sha, read: &Read) -> Result<Diff, TakeSnapshot> {
        let long: BTreeSet<&[u8]> = read.seen.long_attributes.iter().map(|path| &path[..]).collect();
        let denied = &self.order.git.denied_paths;
        let mut diff = Diff::default();
        self.diff_tree(base.as_str(), &read.tree, &mut diff, |change| {
            is_held(change, denied, &long)
        })?;
        Ok(diff)
    }
}
