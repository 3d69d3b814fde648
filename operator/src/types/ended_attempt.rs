//! The end of an attempt, for metrics.

use gastown_api::reason::Reason;
use gastown_api::usage::Usage;
use jiff::SignedDuration;

/// An attempt that ended, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedAttempt {
    /// Why it ended.
    pub reason: Reason,
    /// The tokens that it used.
    pub usage: Usage,
    /// Its cost in millionths of a US dollar; none where a model has no price.
    pub cost_micros: Option<i64>,
    /// From the claim to the end.
    pub took: SignedDuration,
    /// How many seconds of that it was parked.
    pub parked_seconds: u64,
    /// How many pushes of its agent were refused.
    pub pushes_refused: u32,
}
