//! Parks the attempt while calls are held: the first held call parks it, the last to go on resumes it.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use jiff::{SignedDuration, Timestamp};

use super::credential::Absent;
use super::judge::Wait;
use crate::broker::record::Record;

/// A shorter wait is only a slow answer: nobody needs to hear of it.
const WORTH_SAYING: Duration = Duration::from_secs(5);

/// Between two looks at a mounted secret.
const LOOK: Duration = Duration::from_secs(1);

/// Times nearer to each other are the same time.
const SAME_TIME: SignedDuration = SignedDuration::from_mins(2);

/// Counts the calls that are held.
#[derive(Debug, Default)]
pub(super) struct Parking {
    held: Mutex<u32>,
}

/// While it lives the attempt is parked.
pub(super) struct Held<'a> {
    parking: &'a Parking,
    record: &'a Record,
}

impl Parking {
    /// Parks for a wait, if that is worth saying. Without a time that was told, `until` stays open: to count each guess
    /// as news would wake the operator at each try.
    pub(super) fn park<'a>(
        &'a self,
        record: &'a Record,
        reason: Reason,
        message: String,
        wait: Wait,
    ) -> Option<Held<'a>> {
        (wait.delay > WORTH_SAYING).then(|| {
            let told = if wait.told {
                SignedDuration::try_from(wait.delay).ok()
            } else {
                None
            };
            let until = told.and_then(|delay| Timestamp::now().checked_add(delay).ok());
            self.hold(record, reason, message, until)
        })
    }

    /// Parks until `ready` gives a value, asking each second; None when the attempt is stopped.
    pub(super) async fn until<T>(&self, record: &Record, ready: impl Fn() -> Result<T, Absent>) -> Option<T> {
        let mut held = None;
        loop {
            let absent = match ready() {
                Ok(value) => return Some(value),
                Err(absent) => absent,
            };
            let parked = self.hold(record, absent.reason, absent.message, None);
            held = Some(parked).or(held);
            wait(record, LOOK, || false).await;
            if is_stopped(record) {
                return None;
            }
        }
    }

    fn hold<'a>(
        &'a self,
        record: &'a Record,
        reason: Reason,
        message: String,
        until: Option<Timestamp>,
    ) -> Held<'a> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held += 1;
        if !is_much_the_same(&record.watch().borrow(), reason, until) {
            record.enter(BrokerState::Parked {
                reason,
                message,
                until,
            });
        }
        Held {
            parking: self,
            record,
        }
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

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut held = self.parking.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held -= 1;
        if *held == 0 {
            self.record.enter(BrokerState::Serving);
        }
    }
}

/// Waits for `delay`; ends early when the attempt is stopped, or when `done` is seen, which is asked each second.
pub(super) async fn wait(record: &Record, delay: Duration, done: impl Fn() -> bool) {
    let mut states = record.watch();
    let stopped = states.wait_for(|state| matches!(state, BrokerState::Stopped { .. }));
    let seen = async {
        while !done() {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = tokio::time::timeout(delay, futures::future::select(pin!(stopped), pin!(seen))).await;
}

/// Why the attempt is stopped, if it is.
pub(super) fn stopped(record: &Record) -> Option<String> {
    match &*record.watch().borrow() {
        BrokerState::Stopped { reason, message } => Some(format!("{reason}: {message}")),
        _ => None,
    }
}

pub(super) fn is_stopped(record: &Record) -> bool {
    stopped(record).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::fixture;

    #[test]
    fn the_first_long_wait_parks_and_the_end_of_the_last_resumes() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let parking = Parking::default();
        let park = |seconds| {
            let delay = Duration::from_secs(seconds);
            let wait = Wait { delay, told: true };
            parking.park(&record, Reason::RateLimited, "m".to_owned(), wait)
        };
        let parked = || {
            matches!(
                record.evidence().state,
                BrokerState::Parked { until: Some(_), .. }
            )
        };
        assert!(
            park(5).is_none() && !parked(),
            "nobody needs to hear of a short wait"
        );
        let (first, second) = (park(6), park(60));
        assert!(parked());
        drop(second);
        assert!(parked());
        drop(first);
        assert_eq!(record.evidence().state, BrokerState::Serving);
    }

    #[test]
    fn a_wait_that_is_much_the_same_is_no_news() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let parking = Parking::default();
        let mut states = record.watch();
        let mut held = Vec::new();
        let mut news = |reason, seconds, told| {
            let delay = Duration::from_secs(seconds);
            held.push(parking.park(&record, reason, "m".to_owned(), Wait { delay, told }));
            let changed = states.has_changed().unwrap();
            states.mark_unchanged();
            changed
        };
        assert!(news(Reason::RateLimited, 60, true));
        assert!(!news(Reason::RateLimited, 90, true));
        assert!(news(Reason::RateLimited, 600, true));
        assert!(news(Reason::ModelUnreachable, 8, false));
        assert!(!news(Reason::ModelUnreachable, 16, false));
    }

    #[tokio::test]
    async fn a_wait_ends_early_when_the_credential_is_another_or_the_attempt_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        wait(&record, Duration::from_hours(9), || true).await;
        record.enter(BrokerState::Stopped {
            reason: Reason::BudgetSpent,
            message: String::new(),
        });
        wait(&record, Duration::from_hours(9), || false).await;
    }
}
