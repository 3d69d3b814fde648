//! What a snapshot is made of, and why there may be none.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gastown_api::git::ParseGitName;
use gastown_api::work_order::WorkOrder;
use polecat_common::git::RunGit;

use super::bundle::AgentRepository;
use super::end::End;
use super::import::ImportTree;
use super::remote_state::RemoteState;
use super::rules::ApplyRules;
use super::store::{Store, UseStore};
use super::walk::WalkTree;

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

/// What a snapshot is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The agent goes on.
    Checkpoint,
    /// The pod is asked to end: another one follows on SIGTERM, and needs time for what changes meanwhile.
    Asked,
    /// The keeper ends.
    Last,
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

impl Context<'_> {
    /// A repository of the agent; commits that are known need not be saved.
    pub(super) fn repository(&self, git_dir: &Path, known: &RemoteState) -> AgentRepository {
        AgentRepository::open(git_dir, self.store.folder(), &known.all(), self.deadline)
    }
}
