//! Times as the API keeps them, and pauses until them.

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
