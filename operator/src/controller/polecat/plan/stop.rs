//! Why a pod is stopped, and who stopped it.
//!
//! The reason is in the status before the pod is deleted: what is wanted may change while the pod ends, and the operator
//! may be another one by then. The status says `Stopping` at that time anyway, so that it costs no write.

use gastown_api::polecat::{AttemptOutcome, PolecatPhase};
use gastown_api::reason::Reason;
use jiff::Timestamp;

use super::step::Step;
use super::{Open, Plan, delete_or_wait};
use crate::controller::polecat::judge::{Verdict, Wanted};
use crate::controller::polecat::retry::reason_of;
use crate::controller::polecat::status::Progress;
use crate::pod_view::PodView;
use crate::types::Refusal;

impl Plan<'_> {
    /// Writes down why, and then deletes the pod with its grace.
    pub(super) fn stop(&self, open: &Open, pod: &PodView, why: Refusal) -> Step {
        if self.stopped_for(open).is_some() {
            return delete_or_wait(pod);
        }
        match self.say_stopping(open, pod, Reason::Stopping, "", Some(why), None) {
            Step::Wait(_) => delete_or_wait(pod),
            write @ Step::Act(_) => write,
        }
    }

    pub(super) fn say_stopping(
        &self,
        open: &Open,
        pod: &PodView,
        reason: Reason,
        message: &str,
        stopped_for: Option<Refusal>,
        wake: Option<Timestamp>,
    ) -> Step {
        let progress = Progress {
            stopped_for,
            ..self.progress(pod, reason, message)
        };
        self.say(open, &progress, wake)
    }

    /// Why the operator deletes or deleted the pod of the attempt, as the status says.
    pub(super) fn stopped_for(&self, open: &Open) -> Option<Refusal> {
        let attempts = self.status().map(|s| s.attempts.as_slice()).unwrap_or_default();
        let attempt = attempts.iter().find(|a| a.number == open.number)?;
        let message = attempt.message.clone().unwrap_or_default();
        Some(Refusal::new(reason_of(attempt)?, message))
    }

    /// The request that a pod which goes follows: the one it was deleted for, or, where someone else deleted it, one that
    /// wants the same.
    pub(super) fn request(&self, stopped_for: Option<&Refusal>, is_going: bool) -> Wanted {
        match stopped_for.map(|why| why.reason) {
            Some(reason @ (Reason::Idle | Reason::Terminated | Reason::RigSuspended)) => Wanted::Stop(reason),
            None if is_going => self.wanted(),
            Some(_) | None => Wanted::Work,
        }
    }

    /// Where an attempt leads that was stopped. Who wants it to work again does not want it Terminated, which is for good.
    pub(super) fn stopped_as(&self, verdict: &Verdict) -> PolecatPhase {
        let is_wanted = self.wanted() == Wanted::Stop(Reason::Terminated);
        let is_stopped = verdict.outcome == AttemptOutcome::Stopped;
        if is_stopped && verdict.reason == Reason::Terminated && is_wanted {
            PolecatPhase::Terminated
        } else {
            PolecatPhase::Idle
        }
    }
}

/// What a request of this reason is called in an attempt.
pub(super) fn on_request(reason: Reason) -> Refusal {
    Refusal::new(reason, "the pod was stopped on request")
}
