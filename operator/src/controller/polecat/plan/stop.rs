//! Why a pod is stopped, and who stopped it.
//!
//! The reason is in the status before the pod is deleted: what is wanted may change while the pod ends, and the operator
//! may be another one by then. The status says `Stopping` at that time anyway, so that it costs no write.

use gastown_api::polecat::{AttemptOutcome, PolecatPhase};
use gastown_api::reason::Reason;
use jiff::Timestamp;

use super::Plan;
use super::step::{Act, Step};
use crate::attempt::{Open, Owner as _, Wanted, delete_or_wait};
use crate::controller::polecat::classify::Classification;
use crate::controller::polecat::status::Progress;
use crate::pod_view::PodView;
use crate::types::Refusal;

impl Plan<'_> {
    /// Writes down why, and then deletes the pod with its grace.
    pub(super) fn stop(&self, open: &Open, pod: &PodView, why: Refusal) -> Step {
        match self.say_stopping(open, pod, false, Some(why), None) {
            Step::Wait(_) => delete_or_wait(pod).map(Act::Pod),
            write @ Step::Act(_) => write,
        }
    }

    /// The pod goes; one whose node has not reported the end in time may still run there.
    pub(super) fn say_stopping(
        &self,
        open: &Open,
        pod: &PodView,
        overdue: bool,
        stopped_for: Option<Refusal>,
        wake: Option<Timestamp>,
    ) -> Step {
        let (reason, message) = if overdue {
            let message = "the pod was to end, and its node has not reported the end";
            (Reason::NodeLost, message)
        } else {
            (Reason::Stopping, "")
        };
        let progress = Progress {
            stopped_for,
            ..self.progress(pod, reason, message)
        };
        self.say(open, &progress, wake)
    }

    /// Where an attempt leads that was stopped. Who wants it to work again does not want it Terminated, which is for good.
    pub(super) fn stopped_as(&self, classification: &Classification) -> PolecatPhase {
        let is_wanted = self.wanted() == Wanted::Stop(Reason::Terminated);
        let is_stopped = classification.outcome == AttemptOutcome::Stopped;
        if is_stopped && classification.reason == Reason::Terminated && is_wanted {
            PolecatPhase::Terminated
        } else {
            PolecatPhase::Idle
        }
    }
}
