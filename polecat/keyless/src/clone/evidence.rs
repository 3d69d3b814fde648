//! What the tree of a snapshot tells of work: absence alone does not.

use std::collections::{BTreeMap, BTreeSet};

use gastown_api::git::Sha;

use super::resume::{RESUMED_REF, Snapshot};
use crate::snapshot::denied_paths::entry;
use crate::snapshot::denied_paths::{Blob, Change, ancestors};
use crate::snapshot::message::Record;
use crate::snapshot::quoted::unquote;
use polecat_common::git::RunGit;

impl Snapshot<'_> {
    /// What the snapshot's tree says of the work that was done.
    pub(super) fn evidence(&self, then: &str) -> Result<Evidence, RunGit> {
        let record = self.recorded.record.clone().unwrap_or_default();
        let branch = self.recorded.branch.as_ref().map(Sha::as_str);
        let branch = match branch {
            Some(branch) if self.exists(branch)? => branch,
            _ => then,
        };
        let read = self
            .diff(branch, RESUMED_REF)?
            .into_iter()
            .map(|change| change.path)
            .collect();
        let checked_out = match &self.recorded.record {
            // An older program's snapshot does not say; it was taken for one of the branch.
            None => CheckedOut::Branch,
            Some(record) => self.checked_out(record, then)?,
        };
        Ok(Evidence {
            unread: record.unread.iter().filter_map(|path| unquote(path)).collect(),
            deletions_unknown: record.deletions_unknown,
            read,
            checked_out,
        })
    }

    fn checked_out(&self, record: &Record, then: &str) -> Result<CheckedOut, RunGit> {
        let Some(head) = &record.checked_out else {
            return Ok(CheckedOut::Unrelated(BTreeMap::new()));
        };
        if !self.exists(head.as_str())? {
            return Ok(CheckedOut::Unrelated(BTreeMap::new()));
        }
        if self
            .git
            .asks(&["merge-base", "--is-ancestor", then, head.as_str()])?
        {
            return Ok(CheckedOut::Branch);
        }
        let mut entries = BTreeMap::new();
        let list = ["ls-tree", "-r", "-z", "--full-tree", head.as_str()];
        self.git.records(&list, 0, |record| {
            entries.extend(entry(record).map(|(blob, path)| (path, blob)));
        })?;
        let related = self.git.asks(&["merge-base", then, head.as_str()])?;
        Ok(if related {
            CheckedOut::Elsewhere(entries)
        } else {
            CheckedOut::Unrelated(entries)
        })
    }
}

/// The commit that the agent had checked out, as far as it decides what the snapshot's tree says.
#[derive(Debug)]
enum CheckedOut {
    /// The work branch, or a commit on it: all that differs from the branch is work.
    Branch,
    /// A commit that lacks some of the branch's, such as an older one: what is as in that commit is no change.
    Elsewhere(BTreeMap<Vec<u8>, Blob>),
    /// One that shares no history with the branch, or none yet: what it never had was not deleted.
    Unrelated(BTreeMap<Vec<u8>, Blob>),
}

/// What of a snapshot's tree tells of work. Absence alone does not.
#[derive(Debug)]
pub(super) struct Evidence {
    unread: BTreeSet<Vec<u8>>,
    deletions_unknown: bool,
    /// Paths that differ from the branch on the remote at the time: of them something was read.
    read: BTreeSet<Vec<u8>>,
    checked_out: CheckedOut,
}

impl Evidence {
    pub(super) fn is_work(&self, change: &Change) -> bool {
        let deleted = change.after.is_none();
        let unread = || ancestors(&change.path).any(|path| self.unread.contains(path));
        if (deleted && self.deletions_unknown) || (!self.read.contains(&change.path) && unread()) {
            return false;
        }
        match &self.checked_out {
            CheckedOut::Branch => true,
            CheckedOut::Elsewhere(entries) => entries.get(&change.path) != change.after.as_ref(),
            CheckedOut::Unrelated(entries) => !deleted || entries.contains_key(&change.path),
        }
    }

    /// The same of a path that no push may touch, whose state in the work tree the snapshot says apart; none: deleted.
    pub(super) fn is_held_work(&self, state: Option<&Blob>, path: &[u8]) -> bool {
        match &self.checked_out {
            CheckedOut::Branch => true,
            CheckedOut::Elsewhere(entries) => entries.get(path) != state,
            CheckedOut::Unrelated(entries) => state.is_some() || entries.contains_key(path),
        }
    }
}
