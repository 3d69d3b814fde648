//! Saves what was read: holds what may not be pushed, commits, pushes; or finds that all of it is saved already.

use std::collections::BTreeSet;

use gastown_api::git::Sha;
use polecat_common::console::{escape, explain, say};

use super::bundle::{AgentRepository, Bundle, list};
use super::context::{Context, Purpose, TakeSnapshot};
use super::left_out::LeftOut;
use super::others::Others;
use super::read::Read;
use super::remote_state::RemoteState;
use super::store::Last;
use super::walk::Seen;
use super::work_trees::WorkTree;
use crate::snapshot::denied_paths::{Diff, hold, is_held};
use crate::snapshot::message::{self, Facts, Record};
use crate::snapshot::quoted::quote;

/// How many skipped paths the log names.
const MAX_SAID: usize = 20;

/// Why nothing has to be saved.
const DELIVERED: &str = "the work tree equals the branch on the remote";
const HELD: &str = "the last snapshot holds it all";
const UNCHANGED: &str = "the work tree equals the commit that is checked out, which is on the remote";

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

/// All that was read of the agent's work, and what it is compared with.
pub(super) struct Work<'a> {
    pub(super) known: &'a RemoteState,
    pub(super) clone: &'a WorkTree,
    pub(super) repository: &'a AgentRepository,
    pub(super) read: Read,
    pub(super) others: &'a Others,
    pub(super) bundle: Bundle<'a>,
    /// The commit that is checked out in the clone.
    pub(super) head: Option<Sha>,
    /// The commit that was pushed last of this snapshot.
    pub(super) pushed: Option<Sha>,
    /// Paths that follow in a later push: the tree has them as they were saved last, or on the branch.
    pub(super) pending: Vec<Vec<u8>>,
    /// What went wrong.
    pub(super) notes: Vec<String>,
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
            say_skipped(&read.seen);
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
        say_notes(&notes);
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
            skipped: &read.seen.skipped,
            skipped_more: read.seen.skipped_more,
            special: &read.seen.special,
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
    fn conclude(&self, known: &RemoteState, read: &Read) -> Result<(), TakeSnapshot> {
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
        let denied = &self.order.role.git.denied_paths;
        let mut diff = Diff::default();
        self.diff_tree(base.as_str(), &read.tree, &mut diff, |change| {
            is_held(change, denied, &long)
        })?;
        Ok(diff)
    }
}

/// Where no commit is made, nothing but the log can say what was not looked at.
fn say_skipped(seen: &Seen) {
    for (path, why) in seen.skipped.iter().take(MAX_SAID) {
        say(&format!(
            "polecat keeper: skipped {}: {}",
            quote(path),
            escape(why)
        ));
    }
    if seen.skipped.len() > MAX_SAID {
        say(&format!(
            "polecat keeper: and skipped {} more",
            seen.skipped.len() - MAX_SAID
        ));
    }
}

/// What a snapshot lacks.
fn say_notes(notes: &[String]) {
    for note in notes {
        say(&format!("polecat keeper: {}", escape(note)));
    }
}
