//! Notices that the host no longer takes the credential, and asks until it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use gastown_api::git::Sha;

use super::super::child::Git;
use super::super::classify::Failure;
use super::super::repository::{Repository, State};
use super::super::upstream::Upstream;
use super::{park, until_asked_again};
use crate::record::{Hold, Record};

/// Asks the host for a push that sends nothing.
struct Probe {
    upstream: Arc<Upstream>,
    git: Git,
    sha: Sha,
    name: String,
}

impl Probe {
    async fn ask(&self) -> Result<(), Failure> {
        self.upstream.may_push(&self.git, &self.sha, &self.name).await
    }

    fn secret(&self) -> BTreeMap<String, Vec<u8>> {
        self.upstream.secret_files()
    }
}

impl Repository {
    /// Parks the attempt if the host refuses the credential. The agent has a part in what a push is answered (hooks repeat its
    /// words), so that only an answer to a push of nothing counts.
    pub(in crate::git) async fn notice(&self, state: &State, failure: &Failure) {
        if !failure.may_be_repaired() || self.record.is_git_refused() {
            return;
        }
        let probe = Probe {
            upstream: Arc::clone(&self.upstream),
            git: self.git.clone(),
            sha: state.tips.wip.as_ref().unwrap_or(&state.base_branch).clone(),
            name: state.wip_name.clone(),
        };
        let secret = probe.secret();
        if let Some(found) = probe.ask().await.err().filter(Failure::may_be_repaired) {
            self.record.set_git_refused(true);
            let hold = park(&self.record, found);
            tokio::spawn(until_repaired(self.record.clone(), probe, secret, hold));
        }
    }
}

/// Asks again when the secret is another one, and now and then; ends with the attempt.
async fn until_repaired(record: Record, probe: Probe, mut secret: BTreeMap<String, Vec<u8>>, mut hold: Hold) {
    while until_asked_again(&record, &probe.upstream, &secret).await {
        secret = probe.secret();
        match probe.ask().await {
            Err(failure) if failure.may_be_repaired() || failure.may_pass() => hold = park(&record, failure),
            Ok(()) | Err(_) => break,
        }
    }
    tracing::info!("the git host takes the credential, or the attempt is over");
    record.set_git_refused(false);
    drop(hold);
}
