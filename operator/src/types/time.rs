//! Times as the API keeps them, and pauses until them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// `time` without its fraction of a second: the API keeps no more.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `time` and so much more, or the end of time: what a kubelet reports must not stop the operator.
#[must_use]
pub fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The earlier of two times, where there are two.
#[must_use]
pub fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// How long it is from `now` to `at`; zero where `at` is past.
#[must_use]
pub fn time_until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_past_is_not_waited_for() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(time_until(at(9), at(5)), Duration::from_secs(4));
        assert_eq!(time_until(at(5), at(9)), Duration::ZERO);
    }
}
