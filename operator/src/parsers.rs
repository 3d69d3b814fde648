//! What the operator makes of a pod's words, for `tests/fuzz`: the pod's status comes from the kubelet, but the messages in it
//! from containers, one of which the agent owns.

use gastown_api::polecat::AttemptOutcome;
use gastown_api::reason::Reason;
use jiff::Timestamp;

pub use crate::controller::polecat::judge::{evidence_in_log, evidence_of};
pub use crate::pod_view::PodView;

use crate::controller::polecat::judge::{Question, Wanted, judge};
use crate::controller::polecat::plan::doorbell;

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

/// Judges the end of `pod`'s attempt `attempt`, and listens to its doorbell on the way.
#[must_use]
pub fn judged(pod: &PodView, attempt: i32, base: Option<&str>) -> Judged {
    let _ending = pod.ending(120);
    let _ring = doorbell::listen(pod, attempt, None, Timestamp::UNIX_EPOCH);
    let verdict = judge(
        pod,
        &Question {
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
