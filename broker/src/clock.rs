//! Ends an attempt that takes too long: the deadline counts what was not parked, parking has a limit of its own, and an
//! agent that neither calls the model nor writes anything counts as hung.

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

/// Runs until the broker stops, and stops it when its time is over: by `limits`, or where its agent is silent for so many
/// seconds.
pub async fn watch(record: Record, limits: Limits, silence_seconds: u64) {
    let mut states = record.watch();
    loop {
        let state = states.borrow_and_update().clone();
        if matches!(state, BrokerState::Stopped { .. }) {
            return;
        }
        match due(record.elapsed(), &state, &limits, silence_seconds) {
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

fn due(elapsed: Elapsed, state: &BrokerState, limits: &Limits, silence_seconds: u64) -> Due {
    let left = |limit, passed| Duration::from_secs(limit).saturating_sub(passed);
    let deadline = || {
        let limit = limits.deadline_seconds;
        let words = format!("the attempt took {limit} s, not counting what it was parked");
        (left(limit, elapsed.unparked), Reason::DeadlineExceeded, words)
    };
    let (left, reason, words) = match state {
        BrokerState::Parked { reason, message, .. } => {
            let limit = limits.parking_seconds;
            let words = format!("parked for {limit} s; the last reason was {reason}: {message}");
            (left(limit, elapsed.parked), Reason::ParkedTooLong, words)
        }
        // Nothing is heard of the agent before its repository is there.
        BrokerState::Starting | BrokerState::Stopped { .. } => deadline(),
        BrokerState::Serving => {
            let limit = silence_seconds;
            let words = format!("the agent neither called the model nor wrote anything for {limit} s");
            let silence = (left(limit, elapsed.silent), Reason::AgentHung, words);
            let deadline = deadline();
            if silence.0 < deadline.0 { silence } else { deadline }
        }
    };
    if left.is_zero() {
        Due::Stop(reason, words)
    } else {
        // The sum is of milliseconds; one more makes sure that the next look is not a moment early.
        Due::Wait(left.saturating_add(Duration::from_millis(1)))
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
    const SILENCE: u64 = 20;

    fn elapsed(unparked: u64, parked: u64, silent: u64) -> Elapsed {
        Elapsed {
            unparked: Duration::from_secs(unparked),
            parked: Duration::from_secs(parked),
            silent: Duration::from_secs(silent),
        }
    }

    fn parked() -> BrokerState {
        BrokerState::Parked {
            reason: Reason::RateLimited,
            message: "x".to_owned(),
            until: None,
        }
    }

    fn reason(due: &Due) -> Option<Reason> {
        match due {
            Due::Stop(reason, _) => Some(*reason),
            Due::Wait(_) => None,
        }
    }

    #[test]
    fn parked_time_does_not_count_towards_the_deadline() {
        let wait = Due::Wait(Duration::from_millis(1001));
        assert_eq!(
            due(elapsed(99, 49, 0), &BrokerState::Serving, &LIMITS, SILENCE),
            wait
        );
        assert_eq!(due(elapsed(500, 49, 0), &parked(), &LIMITS, SILENCE), wait);
    }

    #[test]
    fn deadline_and_longest_parking_end_the_attempt_by_name() {
        let stopped = |elapsed, state| reason(&due(elapsed, &state, &LIMITS, SILENCE));
        for state in [BrokerState::Starting, BrokerState::Serving] {
            assert_eq!(stopped(elapsed(100, 0, 0), state), Some(Reason::DeadlineExceeded));
        }
        assert_eq!(stopped(elapsed(0, 50, 0), parked()), Some(Reason::ParkedTooLong));
    }

    #[test]
    fn a_silent_agent_is_hung_but_not_while_it_is_cloned_or_parked() {
        let silent = elapsed(30, 0, 20);
        let hung = due(silent, &BrokerState::Serving, &LIMITS, SILENCE);
        assert_eq!(reason(&hung), Some(Reason::AgentHung));
        assert_eq!(
            reason(&due(silent, &BrokerState::Starting, &LIMITS, SILENCE)),
            None
        );
        assert_eq!(reason(&due(silent, &parked(), &LIMITS, SILENCE)), None);
        let wait = Due::Wait(Duration::from_millis(5001));
        assert_eq!(
            due(elapsed(30, 0, 15), &BrokerState::Serving, &LIMITS, SILENCE),
            wait
        );
    }

    #[tokio::test]
    async fn a_hung_agent_stops_the_broker() {
        let dir = tempfile::tempdir().unwrap();
        let order = crate::fixture::order();
        let record = Record::open(dir.path(), dir.path().join("t"), &order).unwrap();
        record.enter(BrokerState::Serving);
        watch(record.clone(), LIMITS, 0).await;
        let state = record.evidence().state;
        assert!(
            matches!(
                state,
                BrokerState::Stopped {
                    reason: Reason::AgentHung,
                    ..
                }
            ),
            "{state:?}"
        );
    }
}
