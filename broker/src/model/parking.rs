//! Parks the attempt while calls are held: the first held call parks it, the last to go on resumes it.

use std::pin::pin;
use std::time::Duration;

use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use jiff::{SignedDuration, Timestamp};

use super::classify::Wait;
use super::credential::Absent;
use crate::record::{Hold, Record};

/// A shorter wait is only a slow answer: nobody needs to hear of it.
const WORTH_SAYING: Duration = Duration::from_secs(5);

/// Between two looks at a mounted secret.
const LOOK: Duration = Duration::from_secs(1);

/// Parks for a wait, if that is worth saying. Without a time that was told, `until` stays open: to count each guess
/// as news would wake the operator at each try.
pub(super) fn park(record: &Record, reason: Reason, message: String, wait: Wait) -> Option<Hold> {
    (wait.delay > WORTH_SAYING).then(|| {
        let told = if wait.told {
            SignedDuration::try_from(wait.delay).ok()
        } else {
            None
        };
        let until = told.and_then(|delay| Timestamp::now().checked_add(delay).ok());
        record.hold(reason, message, until)
    })
}

/// Parks until `ready` gives a value, asking each second; None when the attempt is stopped.
pub(super) async fn until<T>(record: &Record, ready: impl Fn() -> Result<T, Absent>) -> Option<T> {
    let mut held = None;
    loop {
        let absent = match ready() {
            Ok(value) => return Some(value),
            Err(absent) => absent,
        };
        let parked = record.hold(absent.reason, absent.message, None);
        held = Some(parked).or(held);
        wait(record, LOOK, || false).await;
        if is_stopped(record) {
            return None;
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
    use crate::fixture;

    #[test]
    fn the_first_long_wait_parks_and_the_end_of_the_last_resumes() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let parks = |seconds| {
            let delay = Duration::from_secs(seconds);
            let wait = Wait { delay, told: true };
            park(&record, Reason::RateLimited, "m".to_owned(), wait)
        };
        let parked = || {
            matches!(
                record.evidence().state,
                BrokerState::Parked { until: Some(_), .. }
            )
        };
        assert!(
            parks(5).is_none() && !parked(),
            "nobody needs to hear of a short wait"
        );
        let (first, second) = (parks(6), parks(60));
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
        let mut states = record.watch();
        let mut held = Vec::new();
        let mut news = |reason, seconds, told| {
            let delay = Duration::from_secs(seconds);
            held.push(park(&record, reason, "m".to_owned(), Wait { delay, told }));
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
