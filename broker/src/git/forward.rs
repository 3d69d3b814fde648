//! Forwards a push to the remote, and reads the remote again: only what is seen there counts.

use std::time::{Duration, Instant};

use gastown_api::evidence::WipRef;
use gastown_api::git::Sha;
use gastown_api::reason::Reason;
use jiff::Timestamp;

use super::child::{Git, RunGit};
use super::classify::Failure;
use super::policy::{Move, Refusal, Target};
use super::repository::{Repository, State, is_part_of, local};
use polecat_common::limits::{FOLLOW, PUSH_AGAIN_WITHIN, REREAD};

/// How often a push to a host that does not answer is tried again, and after how many seconds.
const PUSH_PAUSES: [u64; 2] = [2, 5];

/// The same for reading it again.
const REREAD_PAUSES: [u64; 3] = [1, 2, 5];

/// What a push was answered, and what the remote was seen to hold after it.
type Pushed = (Result<Option<Sha>, Failure>, Option<Failure>);

impl Repository {
    /// Moves the remote and reads it again; gives what is seen there, which holds the push.
    pub(super) async fn forward(&self, state: &mut State, step: &Move, git: &Git) -> Result<Sha, Refusal> {
        let name = self.remote_name(state, step.target);
        let (mut seen, mut failure) = self.push_and_reread(git, step, &name).await;
        let unmoved = |seen: &Result<Option<Sha>, Failure>| matches!(seen, Ok(sha) if *sha == step.old);
        let fallback = &self.names.wip_as_branch;
        let refused = failure
            .as_ref()
            .is_some_and(|failure| failure.reason == Reason::PushRefused);
        if step.target == Target::Wip && refused && unmoved(&seen) && step.old.is_none() && name != *fallback
        {
            tracing::info!(
                name = fallback,
                "the remote refuses the WIP ref; the snapshot goes to a branch"
            );
            (seen, failure) = self.push_and_reread(git, step, fallback).await;
            if matches!(&seen, Ok(Some(sha)) if *sha == step.new) {
                fallback.clone_into(&mut state.wip_name);
            }
        }
        if let Some(failure) = failure.as_ref().or(seen.as_ref().err()) {
            self.notice(state, failure).await;
        }
        match (seen, failure) {
            (Ok(Some(sha)), _) if sha == step.new => Ok(sha),
            (Ok(sha), Some(failure)) if sha == step.old => Err(remote(failure)),
            (Ok(sha), _) => self.moved(state, step, git, sha).await,
            (Err(_), Some(failure)) | (Err(failure), None) => Err(remote(failure)),
        }
    }

    /// The remote is neither where it was nor where the push was to take it. It may have moved on from there already.
    async fn moved(
        &self,
        state: &mut State,
        step: &Move,
        git: &Git,
        seen: Option<Sha>,
    ) -> Result<Sha, Refusal> {
        tracing::warn!(
            name = self.names.of(step.target),
            seen = shown(seen.as_ref()),
            "the remote moved by another hand"
        );
        if let Err(failure) = self.follow(state, step.target, seen.clone()).await {
            tracing::warn!(%failure, "failed to follow the remote");
            return Err(Refusal::RemoteMoved);
        }
        match seen {
            Some(sha) if is_part_of(git, &step.new, &sha).await => Ok(sha),
            _ => Err(Refusal::RemoteMoved),
        }
    }

    /// Pushes, a few times where the host does not answer, and reads the remote again after each try: only what is seen
    /// there counts, whatever the push itself said, or that it said nothing in time.
    async fn push_and_reread(&self, git: &Git, step: &Move, name: &str) -> Pushed {
        let begun = Instant::now();
        let mut pauses = PUSH_PAUSES.iter();
        loop {
            let failure = self.upstream.push(git, &step.new, name).await.err();
            let seen = self.reread_ref(git, name).await;
            let is_there = matches!(&seen, Ok(Some(sha)) if *sha == step.new);
            let again = failure.as_ref().filter(|failure| failure.may_pass() && !is_there);
            match (again, pauses.next()) {
                (Some(failure), Some(pause)) if begun.elapsed() < PUSH_AGAIN_WITHIN => {
                    tracing::warn!(%failure, "pushing again in {pause} s");
                    tokio::time::sleep(Duration::from_secs(*pause)).await;
                }
                _ => return (seen, failure),
            }
        }
    }

    async fn reread_ref(&self, git: &Git, name: &str) -> Result<Option<Sha>, Failure> {
        let begun = Instant::now();
        let mut pauses = REREAD_PAUSES.iter();
        loop {
            match (self.upstream.list(git, &[name]).await, pauses.next()) {
                (Err(failure), Some(pause)) if failure.may_pass() && begun.elapsed() < REREAD / 2 => {
                    tracing::warn!(%failure, "reading again in {pause} s");
                    tokio::time::sleep(Duration::from_secs(*pause)).await;
                }
                (listed, _) => return Ok(listed?.remove(name)),
            }
        }
    }

    /// Another hand moved the remote: the mirror follows, so that the agent can fetch and merge.
    pub(super) async fn follow(
        &self,
        state: &mut State,
        target: Target,
        sha: Option<Sha>,
    ) -> Result<(), Failure> {
        if sha.is_some() {
            let refspec = self.refspec(state, target);
            let refspecs = [refspec.as_str()];
            let fetched = tokio::time::timeout(FOLLOW, self.upstream.fetch(&self.git, &refspecs)).await;
            fetched.unwrap_or_else(|_| {
                let message = format!("a fetch took longer than {} s", FOLLOW.as_secs());
                Err(Failure::new(Reason::GitHostUnreachable, message))
            })?;
        }
        let settled = self.settle(state, target, sha).await;
        settled.map_err(|error| local(&error))
    }

    /// The remote was seen at `sha`: mirror, memory and record say so too.
    pub(super) async fn settle(
        &self,
        state: &mut State,
        target: Target,
        sha: Option<Sha>,
    ) -> Result<(), RunGit> {
        match target {
            Target::Work => {
                state.tips.work.clone_from(&sha);
                self.record.set_head(sha.clone());
            }
            Target::Wip => {
                state.tips.wip.clone_from(&sha);
                self.record.set_wip(sha.clone().map(|sha| WipRef {
                    name: state.wip_name.clone(),
                    sha,
                    at: Timestamp::now(),
                }));
            }
        }
        tracing::info!(
            name = self.names.of(target),
            sha = shown(sha.as_ref()),
            "the remote was re-read after a push"
        );
        self.set_ref(target, sha.as_ref()).await
    }
}

/// A commit in a log line; the ref may be gone.
pub(super) fn shown(sha: Option<&Sha>) -> &str {
    sha.map_or("none", Sha::as_str)
}

fn remote(failure: Failure) -> Refusal {
    Refusal::Remote {
        reason: failure.reason,
        words: failure.message,
    }
}
