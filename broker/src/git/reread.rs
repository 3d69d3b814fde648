//! Reads the remote again once the agent has ended, and for whoever in the pod must know what it holds now: a branch may
//! be moved or deleted on the host after a push. What the host dropped goes to the pod's WIP ref.

use std::time::{Duration, Instant};

use gastown_api::evidence::{FinalRead, WipRef};
use gastown_api::git::Sha;
use jiff::Timestamp;

use super::child::{LOCAL, RunGit, run};
use super::classify::Failure;
use super::forward::shown;
use super::policy::Target;
use super::repository::{Repository, State, is_part_of, local};

/// A reading that is not older answers whoever asks: keeper and `polecat run` ask one after the other, and the agent can
/// ask as often as it likes.
const FRESH: Duration = Duration::from_secs(2);

/// How often a host that does not answer at the end is asked again, and after how many seconds. The grace may be over
/// before: what is known is written each time.
const FINAL_PAUSES: [u64; 6] = [1, 2, 4, 8, 15, 15];

/// The message of a snapshot that the broker makes.
const DROPPED: &str = "wip: commits that were pushed, and that the remote dropped";

impl Repository {
    /// Reads the remote again, unless that was done a moment ago.
    pub async fn reread(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        if state.read_at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(());
        }
        let read = self.read_again(&mut state).await;
        if let Err(failure) = &read {
            self.notice(&state, failure).await;
        }
        read
    }

    /// The broker's last acts on the remote. The work branch is read once more, and the evidence says what was seen. What
    /// another hand dropped since the keeper's last snapshot is saved. This pod's WIP ref is deleted when the work branch
    /// holds the very tree: where everything was delivered, the keeper, which ends before the broker, has made the last
    /// snapshot such; one that it could not make, or that holds back what may not be pushed, stays.
    pub async fn finish(&self) {
        let mut state = self.state.lock().await;
        let known_before = self.record.evidence().dropped;
        if !self.read_at_the_end(&mut state).await {
            return;
        }
        let evidence = self.record.evidence();
        if evidence.dropped {
            if let Some(pushed) = evidence.pushed.as_ref().filter(|_| !known_before) {
                self.save(&mut state, pushed).await;
            }
            return;
        }
        let (Some(head), Some(wip)) = (state.tips.work.clone(), state.tips.wip.clone()) else {
            return;
        };
        let is_base = Some(&head) == evidence.base.as_ref();
        if !is_base && self.is_covered(&head, &wip).await {
            self.delete_snapshot(&mut state, &wip).await;
        }
    }

    /// Whether the remote answered. A host that does not is asked again.
    async fn read_at_the_end(&self, state: &mut State) -> bool {
        let mut pauses = FINAL_PAUSES.iter();
        loop {
            match (self.read_again(state).await, pauses.next()) {
                (Ok(()), _) => {
                    let at = Timestamp::now();
                    self.record.set_final_read(FinalRead::Read { at });
                    return true;
                }
                (Err(failure), pause) => {
                    tracing::warn!(%failure, "the remote could not be read at the end");
                    let may_pass = failure.may_pass();
                    let Failure { reason, message } = failure;
                    self.record.set_final_read(FinalRead::Failed { reason, message });
                    match pause.filter(|_| may_pass) {
                        Some(pause) => tokio::time::sleep(Duration::from_secs(*pause)).await,
                        None => return false,
                    }
                }
            }
        }
    }

    /// Mirror, memory and record follow what the remote holds now.
    async fn read_again(&self, state: &mut State) -> Result<(), Failure> {
        let wip_name = state.wip_name.clone();
        let names = [self.names.work.as_str(), wip_name.as_str()];
        let mut refs = self.upstream.list(&self.git, &names).await?;
        let work = refs.remove(&self.names.work);
        if work != state.tips.work {
            tracing::warn!(
                work = shown(work.as_ref()),
                "the work branch was moved by another hand"
            );
            self.follow(state, Target::Work, work).await?;
        }
        let evidence = self.record.evidence();
        let dropped = match (&evidence.pushed, &state.tips.work) {
            // The base is nobody's work.
            (pushed, _) if *pushed == evidence.base => false,
            (Some(pushed), Some(head)) => !is_part_of(&self.git, pushed, head).await,
            (pushed, None) => pushed.is_some(),
            (None, Some(_)) => false,
        };
        self.record.set_dropped(dropped);
        if let Some(wip) = state.tips.wip.clone()
            && refs.remove(&wip_name).as_ref() != Some(&wip)
        {
            self.push_snapshot_again(state, &wip).await;
        }
        state.read_at = Some(Instant::now());
        Ok(())
    }

    /// The mirror has what the host dropped.
    async fn push_snapshot_again(&self, state: &State, wip: &Sha) {
        tracing::warn!(name = state.wip_name, "the snapshot was dropped by another hand");
        let pushed = self.upstream.push(&self.git, wip, &state.wip_name).await;
        if let Err(failure) = &pushed {
            tracing::warn!(%failure, "failed to push the snapshot again");
        }
        self.record.set_wip_dropped(pushed.is_err());
    }

    /// Takes commits that are on no branch of the remote any more into the WIP ref, which only moves forward.
    async fn save(&self, state: &mut State, commit: &Sha) {
        let saved = match self.snapshot_of(state, commit).await {
            Ok(snapshot) => {
                let pushed = self.upstream.push(&self.git, &snapshot, &state.wip_name).await;
                pushed.map(|()| snapshot)
            }
            Err(error) => Err(local(&error)),
        };
        match saved {
            Ok(sha) => {
                tracing::info!(name = state.wip_name, %sha, "saved what the remote dropped");
                state.tips.wip = Some(sha.clone());
                let name = state.wip_name.clone();
                let at = Timestamp::now();
                self.record.set_wip(Some(WipRef { name, sha, at }));
            }
            Err(failure) => {
                tracing::error!(%failure, "failed to save what the remote dropped");
                self.record.set_wip_dropped(true);
            }
        }
    }

    async fn snapshot_of(&self, state: &State, commit: &Sha) -> Result<Sha, RunGit> {
        let Some(wip) = &state.tips.wip else {
            return Ok(commit.clone());
        };
        let tree = format!("{commit}^{{tree}}");
        let merge = [
            "commit-tree",
            &tree,
            "-p",
            wip.as_str(),
            "-p",
            commit.as_str(),
            "-m",
            DROPPED,
        ];
        let mut command = self.git.command(merge);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "polecat broker");
            command.env(format!("GIT_{who}_EMAIL"), "broker@gastown.invalid");
        }
        let text = run(command, b"", LOCAL).await?.success()?;
        text.parse().map_err(|_| RunGit::Succeed {
            command: "git commit-tree".to_owned(),
            stderr: format!("it answered {text:?}"),
        })
    }

    async fn delete_snapshot(&self, state: &mut State, wip: &Sha) {
        match self.upstream.delete(&self.git, &state.wip_name, wip).await {
            Ok(()) => {
                state.tips.wip = None;
                self.record.set_wip(None);
                tracing::info!(
                    name = state.wip_name,
                    "deleted the snapshot: the work branch holds all of it"
                );
            }
            Err(failure) => tracing::warn!(%failure, "failed to delete the snapshot"),
        }
    }

    async fn is_covered(&self, head: &Sha, wip: &Sha) -> bool {
        let tree = async |sha: &Sha| self.git.ask(["rev-parse", &format!("{sha}^{{tree}}")]).await.ok();
        let (head_tree, wip_tree) = (tree(head).await, tree(wip).await);
        head_tree.is_some() && head_tree == wip_tree
    }
}
