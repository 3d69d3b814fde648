//! Parks the attempt while calls are held: the first held call parks it, the last to go on resumes it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use jiff::Timestamp;

use crate::broker::record::Record;

/// A shorter wait is only a slow answer: nobody needs to hear of it.
const WORTH_SAYING: Duration = Duration::from_secs(5);

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
    /// Parks for a wait of `delay`, if that is worth saying.
    pub(super) fn park<'a>(
        &'a self,
        record: &'a Record,
        reason: Reason,
        message: String,
        delay: Duration,
    ) -> Option<Held<'a>> {
        (delay > WORTH_SAYING).then(|| {
            let until = jiff::SignedDuration::try_from(delay)
                .ok()
                .and_then(|delay| Timestamp::now().checked_add(delay).ok());
            self.hold(record, reason, message, until)
        })
    }

    /// Parks until `ready` gives a value, asking each second; None when the attempt is stopped.
    pub(super) async fn until<T>(
        &self,
        record: &Record,
        reason: Reason,
        message: String,
        ready: impl Fn() -> Option<T>,
    ) -> Option<T> {
        if let Some(value) = ready() {
            return Some(value);
        }
        let _held = self.hold(record, reason, message, None);
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if is_stopped(record) {
                return None;
            }
            if let Some(value) = ready() {
                return Some(value);
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
        record.enter(BrokerState::Parked {
            reason,
            message,
            until,
        });
        Held {
            parking: self,
            record,
        }
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

/// Waits for `delay`; ends early when the attempt is stopped.
pub(super) async fn wait(record: &Record, delay: Duration) {
    let mut states = record.watch();
    let stopped = states.wait_for(|state| matches!(state, BrokerState::Stopped { .. }));
    let _ = tokio::time::timeout(delay, stopped).await;
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
            parking.park(&record, Reason::RateLimited, "m".to_owned(), delay)
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
}
