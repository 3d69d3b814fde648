//! A credential, a host key or a certificate that stops working while the agent is at work: the attempt is parked until the
//! secret or the host is repaired. Pushes of the work branch wait for that; snapshots fail with words and come again. A broker that
//! is restarted meanwhile waits with its mirror.

mod notice;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::classify::Failure;
use super::upstream::Upstream;
use crate::record::{Hold, Record, until_stopped};

/// Between two looks at the mounted secret.
const LOOK: Duration = Duration::from_secs(1);

/// After how long the host is asked again although the secret is the same: a key may be put back there. Hosts lock out who
/// tries too often.
const ASK_AGAIN: Duration = Duration::from_mins(1);

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
