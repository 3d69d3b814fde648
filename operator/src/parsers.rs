//! What the operator makes of a pod's words, for `tests/fuzz`: the pod's status comes from the kubelet, but the messages in it
//! from containers, one of which the agent owns.

use gastown_api::evidence::Evidence;
use gastown_api::polecat::AttemptOutcome;
use gastown_api::reason::Reason;
use jiff::Timestamp;

pub use crate::pod_view::PodView;

use crate::attempt::{self, Wanted, listen};
use crate::controller::polecat::build::pod::SHAPE;
use crate::controller::polecat::classify::{AttemptContext, classify};

/// The broker's evidence in a pod, if it is of this attempt.
#[must_use]
pub fn evidence_of(pod: &PodView, attempt: i32) -> Option<Evidence> {
    attempt::evidence_of(pod, attempt)
}

/// The last line of a broker's log that is evidence of this attempt.
#[must_use]
pub fn evidence_in_log(log: &str, attempt: i32) -> Option<Evidence> {
    attempt::evidence_in_log(log, attempt)
}

/// How an attempt ended, as the status will say it.
#[derive(Debug)]
pub struct Judged {
    /// Whether the polecat is Done.
    pub delivered: bool,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// Judges the end of `pod`'s attempt `attempt`, and listens to its broker on the way.
#[must_use]
pub fn judged(pod: &PodView, attempt: i32, base: Option<&str>) -> Judged {
    let _ending = pod.ending(SHAPE, 120);
    let _signal = listen::<Evidence>(pod, SHAPE, attempt, None, Timestamp::UNIX_EPOCH);
    let verdict = classify(
        pod,
        &AttemptContext {
            attempt,
            base,
            wanted: Wanted::Work,
            given_up: None,
            own_image: true,
            seen_at_work: true,
        },
    );
    Judged {
        delivered: verdict.outcome == AttemptOutcome::Delivered,
        reason: verdict.reason,
        message: verdict.message,
    }
}
