//! The broker's bare repository: a mirror of the base and the work branch with full history, and this pod's snapshot.
//! The remote is the truth: whatever an earlier broker pushed is adopted.

mod bare;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gastown_api::evidence::WipRef;
use gastown_api::git::Sha;
use gastown_api::pod::RESUME_REF;
use gastown_api::reason::Reason;
use gastown_api::work_order::GitOrder;
use jiff::Timestamp;
use tokio::sync::Mutex;

use self::bare::prepare;
use super::child::{Git, RunGit};
use super::classify::Failure;
use super::in_the_way;
use super::policy::{Names, Target, Tips};
use super::repair;
use super::upstream::Upstream;
use crate::record::Record;

/// How often an unreachable host is asked again at the start: about 20 s in all.
const START_PAUSES: [u64; 5] = [1, 2, 4, 6, 7];

/// Where Dolt keeps a database in a repository of git.
const DOLT: &str = "refs/dolt/data";

/// The mirror and the way to its remote.
pub struct Repository {
    pub(super) git: Git,
    pub(super) names: Names,
    pub(super) upstream: Arc<Upstream>,
    pub(super) record: Record,
    pub(super) order: GitOrder,
    /// One receive at a time, and nobody else moves refs.
    pub(super) state: Mutex<State>,
    /// The places of pushes that wait while the git host refuses the credential: each keeps its objects on the broker's volume.
    pub(super) waiting: [Mutex<()>; 2],
    /// Digits of an object id.
    pub(super) hex_length: usize,
    /// Whether the remote has a database of Dolt, which is never fetched.
    pub beads_in_dolt: bool,
    /// When other refs were last asked for.
    pub(super) asked: Mutex<BTreeMap<String, Instant>>,
}

/// What the remote is known to hold.
#[derive(Clone, Debug)]
pub struct State {
    /// The refs that are pushed to.
    pub tips: Tips,
    /// The base branch as it was at the start.
    pub base_branch: Sha,
    /// What a new branch must descend from.
    pub start: Sha,
    /// The name of the WIP ref on the remote.
    pub wip_name: String,
    /// The name on the remote of the snapshot that the attempt starts from, if it is there. It may have been moved on
    /// since the status was written, by a pod that was thought lost.
    pub resume: Option<String>,
    /// When the remote was last read as a whole.
    pub read_at: Option<Instant>,
}

impl Repository {
    /// Mirrors the remote. An unreachable one is asked a few times; behind a broker that was restarted an agent is at work, and
    /// what somebody can repair is waited for.
    pub async fn open(
        git: Git,
        names: Names,
        upstream: Upstream,
        order: GitOrder,
        record: Record,
    ) -> Result<Self, Failure> {
        let upstream = Arc::new(upstream);
        let is_restarted = record.evidence().base.is_some();
        let mut hold = None;
        loop {
            let secret = upstream.secret_files();
            let (git, names) = (git.clone(), names.clone());
            let opened =
                Self::mirrored(git, names, Arc::clone(&upstream), order.clone(), record.clone()).await;
            let failure = match opened {
                Err(failure) if is_restarted && failure.may_be_repaired() => failure,
                Err(failure) if hold.is_some() && failure.may_pass() => failure,
                answer => return answer,
            };
            // The new hold is there before the old one goes.
            let parked = repair::park(&record, failure.clone());
            hold = Some(parked).or(hold);
            if !repair::until_asked_again(&record, &upstream, &secret).await {
                return Err(failure);
            }
        }
    }

    async fn mirrored(
        git: Git,
        names: Names,
        upstream: Arc<Upstream>,
        order: GitOrder,
        record: Record,
    ) -> Result<Self, Failure> {
        let resume = order.resume.as_ref().map(|resume| &resume.name);
        let resume = resume.filter(|name| names.is_earlier_snapshot(name));
        let refs = list(&git, &upstream, &names, resume).await?;
        blocked(&names.work, &refs).map_or(Ok(()), Err)?;
        let base_branch = refs.get(&names.base).cloned().ok_or_else(|| {
            let branch = &order.base_branch;
            Failure::new(
                Reason::BranchNotFound,
                format!(
                    "{:?} has no branch {:?}",
                    order.remote.repository.as_str(),
                    branch.as_str()
                ),
            )
        })?;
        let hex_length = base_branch.as_str().len();
        let (wip_name, wip) = wip(&names, &refs)?;
        let tips = Tips {
            work: refs.get(&names.work).cloned(),
            wip,
        };
        prepare(&git, &names, hex_length)
            .await
            .map_err(|error| local(&error))?;
        let start = base_branch.clone();
        let resume = resume.filter(|name| refs.contains_key(*name)).cloned();
        if let (Some(wanted), None) = (&order.resume, &resume) {
            tracing::warn!(
                name = wanted.name,
                "the remote has no such snapshot; the attempt starts without it"
            );
        }
        let repository = Self {
            git,
            names,
            upstream,
            record,
            order,
            state: Mutex::new(State {
                tips,
                base_branch,
                start,
                wip_name,
                resume,
                read_at: None,
            }),
            waiting: Default::default(),
            hex_length,
            beads_in_dolt: refs.contains_key(DOLT),
            asked: Mutex::default(),
        };
        repository.adopt().await?;
        repository.may_push().await?;
        Ok(repository)
    }

    /// Whether the remote takes pushes with this credential at all, by the ref that only this pod moves.
    async fn may_push(&self) -> Result<(), Failure> {
        let (sha, name) = {
            let state = self.state.lock().await;
            let sha = state.tips.wip.as_ref().unwrap_or(&state.base_branch);
            (sha.clone(), state.wip_name.clone())
        };
        let mut pauses = START_PAUSES.into_iter();
        loop {
            match self.upstream.may_push(&self.git, &sha, &name).await {
                Err(failure) if is_asked_again(&failure, &mut pauses).await => {}
                answer => return answer,
            }
        }
    }

    /// Fetches what the remote holds, and says so in the record.
    async fn adopt(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        self.mirror(&state).await?;
        // After a restart the ledger knows what the first attempt found; the work branch has moved since.
        let known = self.record.evidence().base.or_else(|| self.order.base.clone());
        let base = known.unwrap_or_else(|| {
            state
                .tips
                .work
                .clone()
                .unwrap_or_else(|| state.base_branch.clone())
        });
        if self.holds_commit(&base).await {
            state.start = base.clone();
        } else {
            tracing::warn!(%base, "the remote no longer has the base; new branches must descend from the base branch");
        }
        if let (Some(_), Some(resume)) = (&state.resume, &self.order.resume) {
            self.record.set_resumed(resume.sha.clone());
        }
        self.record.set_base(base);
        // What an earlier run of this container pushed must be on the branch still.
        if self.record.evidence().pushed.is_none()
            && let Some(work) = &state.tips.work
        {
            self.record.set_pushed(work.clone());
        }
        self.record.set_head(state.tips.work.clone());
        if state.tips.work.is_some() && state.tips.work == self.order.unconfirmed {
            self.record.expect_no_calls();
        }
        let before = self.record.evidence().wip;
        self.record.set_wip(state.tips.wip.clone().map(|sha| {
            WipRef {
                at: before
                    .filter(|wip| wip.sha == sha)
                    .map_or_else(Timestamp::now, |wip| wip.at),
                name: state.wip_name.clone(),
                sha,
            }
        }));
        Ok(())
    }

    /// Brings the whole mirror to `state`, in which the remote was listed.
    async fn mirror(&self, state: &State) -> Result<(), Failure> {
        let mut refspecs = vec![format!("+{0}:{0}", self.names.base)];
        let targets = [Target::Work, Target::Wip];
        let existing = targets
            .into_iter()
            .filter(|target| state.tips.of(*target).is_some());
        refspecs.extend(existing.map(|target| self.refspec(state, target)));
        let resume = state.resume.as_ref();
        refspecs.extend(resume.map(|name| format!("+{name}:{RESUME_REF}")));
        // The work branch may be the base branch.
        refspecs.dedup();
        let refspecs: Vec<&str> = refspecs.iter().map(String::as_str).collect();
        self.upstream.fetch(&self.git, &refspecs).await?;
        // The remote may have moved between listing and fetching; what counts is what was listed.
        let base = ["update-ref", &self.names.base, state.base_branch.as_str()];
        self.git.ask(base).await.map_err(|error| local(&error))?;
        for target in targets {
            let moved = self.set_ref(target, state.tips.of(target)).await;
            moved.map_err(|error| local(&error))?;
        }
        Ok(())
    }

    /// What fetches `target` into the mirror.
    pub(super) fn refspec(&self, state: &State, target: Target) -> String {
        let local = self.names.of(target);
        let remote = self.remote_name(state, target);
        format!("+{remote}:{local}")
    }

    /// The name of `target` on the remote.
    pub(super) fn remote_name(&self, state: &State, target: Target) -> String {
        match target {
            Target::Work => self.names.work.clone(),
            Target::Wip => state.wip_name.clone(),
        }
    }

    /// Moves the mirror's ref of `target`.
    pub(super) async fn set_ref(&self, target: Target, sha: Option<&Sha>) -> Result<(), RunGit> {
        let name = self.names.of(target);
        match sha {
            Some(sha) => self.git.ask(["update-ref", name, sha.as_str()]).await?,
            None if name == self.names.base => String::new(),
            None => self.git.ask(["update-ref", "-d", name]).await?,
        };
        Ok(())
    }

    async fn holds_commit(&self, sha: &Sha) -> bool {
        self.git
            .ask(["cat-file", "-e", &format!("{sha}^{{commit}}")])
            .await
            .is_ok()
    }
}

/// Whether to ask an unreachable host again, once the next pause is over.
async fn is_asked_again(failure: &Failure, pauses: &mut impl Iterator<Item = u64>) -> bool {
    let Some(pause) = pauses.next().filter(|_| failure.may_pass()) else {
        return false;
    };
    tracing::warn!(%failure, "the git host does not answer; asking again in {pause} s");
    tokio::time::sleep(Duration::from_secs(pause)).await;
    true
}

/// The refs of the remote that the attempt needs, and those that are in the way of the ones that it makes.
async fn list(
    git: &Git,
    upstream: &Upstream,
    names: &Names,
    resume: Option<&String>,
) -> Result<BTreeMap<String, Sha>, Failure> {
    let made = [&names.work, &names.wip, &names.wip_as_branch];
    let wanted: Vec<&String> = made.into_iter().chain([&names.base]).chain(resume).collect();
    let mut patterns: Vec<String> = wanted.iter().map(|name| (*name).clone()).collect();
    patterns.push(DOLT.to_owned());
    patterns.extend(made.iter().flat_map(|name| in_the_way::patterns(name)));
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let is_wanted = |name: &str| {
        name == DOLT
            || wanted.iter().any(|wanted| *wanted == name)
            || made.iter().any(|made| in_the_way::excludes(made, name))
    };
    let mut pauses = START_PAUSES.into_iter();
    loop {
        match upstream.list_where(git, &patterns, is_wanted).await {
            Err(failure) if is_asked_again(&failure, &mut pauses).await => {}
            refs => return refs,
        }
    }
}

/// Why the remote cannot have a ref of this name; none: it can.
fn blocked(name: &str, refs: &BTreeMap<String, Sha>) -> Option<Failure> {
    let other = refs.keys().find(|other| in_the_way::excludes(name, other))?;
    let message = format!("{name:?} cannot be made on the git host while {other:?} is there");
    Some(Failure::new(Reason::RefBlocked, message))
}

/// The name of the WIP ref on the remote, and where it is: a branch, where an earlier run of this container had to make it
/// one, or where the other name cannot exist.
fn wip(names: &Names, refs: &BTreeMap<String, Sha>) -> Result<(String, Option<Sha>), Failure> {
    let of = |name: &String| (name.clone(), refs.get(name).cloned());
    let has_branch = !refs.contains_key(&names.wip) && refs.contains_key(&names.wip_as_branch);
    if has_branch {
        return Ok(of(&names.wip_as_branch));
    }
    match (blocked(&names.wip, refs), blocked(&names.wip_as_branch, refs)) {
        (None, _) => Ok(of(&names.wip)),
        (Some(_), None) => Ok(of(&names.wip_as_branch)),
        (Some(failure), Some(_)) => Err(failure),
    }
}

/// Whether `commit` is part of the history of `other`; what cannot be found out is none.
pub(super) async fn is_part_of(git: &Git, commit: &Sha, other: &Sha) -> bool {
    let ask = ["merge-base", "--is-ancestor", commit.as_str(), other.as_str()];
    commit == other || git.ask(ask).await.is_ok()
}

/// A failure of our own git on our own volume.
pub(super) fn local(error: &RunGit) -> Failure {
    Failure::new(Reason::CloneFailed, format!("the broker's repository: {error}"))
}
