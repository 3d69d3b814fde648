//! Who holds the attempt parked: a git host that refuses the credential, and calls of the model that wait. The first parks it,
//! and it goes on when the last one lets go.

use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::Record;

/// Times nearer to each other are the same time.
const SAME_TIME: SignedDuration = SignedDuration::from_mins(2);

/// While it lives the attempt is parked.
#[must_use]
pub struct Hold {
    record: Record,
    number: u64,
}

/// All that live.
#[derive(Debug, Default)]
pub(super) struct Holds {
    made: u64,
    /// By their numbers.
    parked: Vec<(u64, BrokerState)>,
}

impl Record {
    /// Parks the attempt for one more reason.
    pub fn hold(&self, reason: Reason, message: String, until: Option<Timestamp>) -> Hold {
        let mut holds = self.inner.holds.lock();
        holds.made += 1;
        let number = holds.made;
        let state = BrokerState::Parked {
            reason,
            message,
            until,
        };
        holds.parked.push((number, state.clone()));
        if !is_much_the_same(&self.watch().borrow(), reason, until) {
            self.enter(state);
        }
        Hold {
            record: self.clone(),
            number,
        }
    }

    /// The git host refuses the credential, or no longer does: model calls wait while it does, since their work could not be saved.
    pub fn set_git_refused(&self, refused: bool) {
        self.inner.git_refused.send_replace(refused);
    }

    /// Whether the git host refuses the credential.
    #[must_use]
    pub fn is_git_refused(&self) -> bool {
        *self.inner.git_refused.borrow()
    }

    /// Waits while the git host refuses the credential, unless the attempt is stopped.
    pub async fn until_git_works(&self) {
        let mut refused = self.inner.git_refused.subscribe();
        let mut states = self.watch();
        let works = refused.wait_for(|refused| !refused);
        tokio::select! {
            _ = works => {}
            () = until_stopped(&mut states) => {}
        }
    }
}

/// Waits until the attempt is stopped.
pub async fn until_stopped(states: &mut watch::Receiver<BrokerState>) {
    let stopped = states.wait_for(|state| matches!(state, BrokerState::Stopped { .. }));
    // The record outlives whoever waits.
    drop(stopped.await);
}

impl Drop for Hold {
    /// One that stays for another reason is said; of those for the same reason nobody needs to hear.
    fn drop(&mut self) {
        let mut holds = self.record.inner.holds.lock();
        holds.parked.retain(|(number, _)| *number != self.number);
        match holds.parked.last() {
            None => self.record.enter(BrokerState::Serving),
            Some((_, left)) => {
                let shown = reason_of(&self.record.watch().borrow());
                if !holds.parked.iter().any(|(_, state)| reason_of(state) == shown) {
                    self.record.enter(left.clone());
                }
            }
        }
    }
}

fn reason_of(state: &BrokerState) -> Option<Reason> {
    match state {
        BrokerState::Parked { reason, .. } => Some(*reason),
        _ => None,
    }
}

/// Whether the attempt is parked for this reason already, and the time by which it may go on is no other in a person's
/// eyes: each state that is entered wakes the operator.
fn is_much_the_same(state: &BrokerState, reason: Reason, until: Option<Timestamp>) -> bool {
    match state {
        BrokerState::Parked {
            reason: said,
            until: by,
            ..
        } if *said == reason => match (*by, until) {
            (Some(by), Some(until)) => until.duration_since(by).abs() < SAME_TIME,
            (by, until) => by == until,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn it_is_parked_until_the_last_lets_go_and_says_what_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let hold = |reason| record.hold(reason, "m".to_owned(), None);
        let shown = || reason_of(&record.evidence().state);
        let git = hold(Reason::GitCredentialRefused);
        let model = hold(Reason::RateLimited);
        let other = hold(Reason::RateLimited);
        assert_eq!(shown(), Some(Reason::RateLimited));
        drop(other);
        assert_eq!(shown(), Some(Reason::RateLimited));
        drop(model);
        assert_eq!(shown(), Some(Reason::GitCredentialRefused));
        drop(git);
        assert_eq!(record.evidence().state, BrokerState::Serving);
    }

    #[tokio::test]
    async fn who_waits_for_git_goes_on_when_it_works_or_the_attempt_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        record.until_git_works().await;
        record.set_git_refused(true);
        let waits = tokio::spawn({
            let record = record.clone();
            async move { record.until_git_works().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        record.set_git_refused(false);
        waits.await.unwrap();
        record.set_git_refused(true);
        record.enter(BrokerState::Stopped {
            reason: Reason::ParkedTooLong,
            message: String::new(),
        });
        record.until_git_works().await;
    }
}
