//! Ends an attempt that takes too long: the deadline counts what was not parked, parking has a limit of its own.

use std::time::Duration;

use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use gastown_api::work_order::Limits;

use super::record::{Elapsed, Record};

/// What the clock says.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// Look again after this, or when the state changes.
    Wait(Duration),
    /// The attempt ends.
    Stop(Reason, String),
}

/// Runs until the broker stops, and stops it when its time is over.
pub async fn watch(record: Record, limits: Limits) {
    let mut states = record.watch();
    loop {
        let state = states.borrow_and_update().clone();
        let parked = match state {
            BrokerState::Stopped { .. } => return,
            BrokerState::Parked { reason, message, .. } => Some(format!("{reason}: {message}")),
            BrokerState::Starting | BrokerState::Serving => None,
        };
        match due(record.elapsed(), parked.as_deref(), &limits) {
            Due::Stop(reason, message) => record.enter(BrokerState::Stopped { reason, message }),
            Due::Wait(time) => {
                let wait = tokio::time::timeout(time, states.changed());
                if let Ok(Err(_)) = wait.await {
                    return;
                }
            }
        }
    }
}

fn due(elapsed: Elapsed, parked: Option<&str>, limits: &Limits) -> Due {
    let (limit, passed) = if parked.is_some() {
        (limits.parking_seconds, elapsed.parked)
    } else {
        (limits.deadline_seconds, elapsed.unparked)
    };
    let left = Duration::from_secs(limit).saturating_sub(passed);
    match (left.is_zero(), parked) {
        // The sum is of milliseconds; one more makes sure that the next look is not a moment early.
        (false, _) => Due::Wait(left.saturating_add(Duration::from_millis(1))),
        (true, None) => Due::Stop(
            Reason::DeadlineExceeded,
            format!("the attempt took {limit} s, not counting what it was parked"),
        ),
        (true, Some(why)) => Due::Stop(
            Reason::ParkedTooLong,
            format!("parked for {limit} s; the last reason was {why}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        deadline_seconds: 100,
        parking_seconds: 50,
        grace_seconds: 10,
    };

    fn elapsed(unparked: u64, parked: u64) -> Elapsed {
        Elapsed {
            unparked: Duration::from_secs(unparked),
            parked: Duration::from_secs(parked),
        }
    }

    #[test]
    fn parked_time_does_not_count_towards_the_deadline() {
        let wait = Due::Wait(Duration::from_millis(1001));
        assert_eq!(due(elapsed(99, 49), None, &LIMITS), wait);
        assert_eq!(due(elapsed(500, 49), Some("x"), &LIMITS), wait);
    }

    #[test]
    fn deadline_and_longest_parking_end_the_attempt_by_name() {
        let reason = |due| match due {
            Due::Stop(reason, _) => Some(reason),
            Due::Wait(_) => None,
        };
        assert_eq!(
            reason(due(elapsed(100, 0), None, &LIMITS)),
            Some(Reason::DeadlineExceeded)
        );
        assert_eq!(
            reason(due(elapsed(0, 50), Some("x"), &LIMITS)),
            Some(Reason::ParkedTooLong)
        );
    }
}
