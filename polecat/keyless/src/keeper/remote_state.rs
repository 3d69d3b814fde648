//! The commits a snapshot is compared with.

use std::time::Instant;

use gastown_api::git::Sha;

use super::store::{Last, Store, Tips, UseStore};

/// What is on the remote, and what the keeper saved last.
#[derive(Debug)]
pub struct RemoteState {
    /// Where the first attempt started.
    pub base: Sha,
    /// The base branch as it is now: a later attempt's base may be older.
    pub base_branch: Option<Sha>,
    /// The refs that are pushed to.
    pub tips: Tips,
    /// The last snapshot.
    pub last: Option<Last>,
}

impl RemoteState {
    /// The work branch on the remote, else the base.
    pub fn branch(&self) -> &Sha {
        self.tips.work.as_ref().unwrap_or(&self.base)
    }

    /// Commits that are on the remote; what is part of them need not be saved.
    pub fn all(&self) -> Vec<Sha> {
        let known = [
            Some(&self.base),
            self.tips.work.as_ref(),
            self.base_branch.as_ref(),
        ];
        known.into_iter().flatten().cloned().collect()
    }

    /// A WIP ref only moves forward: the next snapshot is a child of what the remote has, else of the base.
    pub fn parent(&self, store: &Store, deadline: Instant) -> Result<Sha, UseStore> {
        let last = self.last.as_ref().map(|last| &last.commit);
        for candidate in [self.tips.wip.as_ref(), last].into_iter().flatten() {
            if let Some(commit) = store.commit(candidate.as_str(), deadline)? {
                return Ok(commit);
            }
        }
        Ok(self.base.clone())
    }
}
