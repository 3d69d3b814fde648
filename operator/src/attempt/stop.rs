//! Pods that are to go: each is stopped with its grace, and released when it has ended.

use jiff::Timestamp;

use super::act::PodAct;
use crate::pod_view::{Ending, PodView, Shape};
use crate::types::Step;

/// A pod that holds evidence is stopped, if it is not yet, and released when it has ended. None: it belongs to no object
/// of the kind, or holds nothing.
#[must_use]
pub fn clear(
    pod: &PodView,
    kind: &str,
    shape: Shape,
    grace_seconds: i64,
    now: Timestamp,
) -> Option<Step<PodAct>> {
    if !pod.holds_evidence() || pod.owner(kind).is_none() {
        return None;
    }
    let uid = pod.uid().to_owned();
    Some(match pod.ending(shape, grace_seconds) {
        Ending::Ended => Step::Act(PodAct::Release { uid }),
        Ending::Expected(until) if until <= now => Step::Act(PodAct::Release { uid }),
        Ending::Expected(until) if pod.is_deleting() => Step::Wait(Some(until)),
        Ending::Expected(_) | Ending::Alive => delete_or_wait(pod),
    })
}

/// Deletes the pod with its grace, unless someone has.
#[must_use]
pub fn delete_or_wait(pod: &PodView) -> Step<PodAct> {
    if pod.is_deleting() {
        Step::Wait(None)
    } else {
        let uid = pod.uid().to_owned();
        Step::Act(PodAct::Delete { uid })
    }
}
