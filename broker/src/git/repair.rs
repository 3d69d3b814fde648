//! A credential, a host key or a certificate that stops working while the agent is at work: the attempt is parked until the
//! secret or the host is repaired. Pushes of the work branch wait for that; snapshots fail with words and come again. A broker that
//! is restarted meanwhile waits with its mirror.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gastown_api::git::Sha;

use super::child::Git;
use super::classify::Failure;
use super::repository::{Repository, State};
use super::upstream::Upstream;
use crate::record::{Hold, Record, until_stopped};

/// Between two looks at the mounted secret.
const LOOK: Duration = Duration::from_secs(1);

/// After how long the host is asked again although the secret is the same: a key may be put back there. Hosts lock out who
/// tries too often.
const ASK_AGAIN: Duration = Duration::from_mins(1);

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
    pub(super) async fn notice(&self, state: &State, failure: &Failure) {
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

pub(super) fn park(record: &Record, failure: Failure) -> Hold {
    tracing::warn!(%failure, "parked until the git host takes the credential");
    record.hold(failure.reason, failure.message, None)
}

/// Waits until the secret is another one than `asked_with`, or the host may be asked again with the same; false: the attempt is
/// stopped.
pub(super) async fn until_asked_again(
    record: &Record,
    upstream: &Upstream,
    asked_with: &BTreeMap<String, Vec<u8>>,
) -> bool {
    let mut states = record.watch();
    let asked = Instant::now();
    while tokio::time::timeout(LOOK, until_stopped(&mut states))
        .await
        .is_err()
    {
        if asked.elapsed() >= ASK_AGAIN || upstream.secret_files() != *asked_with {
            return true;
        }
    }
    false
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
