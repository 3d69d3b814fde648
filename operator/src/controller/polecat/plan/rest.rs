//! No attempt is under way: what is left of the last one is cleared, and a new one starts where it is wanted.

use gastown_api::labels;
use gastown_api::polecat::{AttemptOutcome, DesiredState, PolecatPhase};
use gastown_api::reason::Reason;
use kube::ResourceExt as _;

use super::step::{Act, Notice, PlanPod, Step};
use super::{Open, Plan, clear, delete_or_wait, failed, name_taken, write_status};
use crate::controller::polecat::validate::{Refusal, bead_of, labels_of, task_of, validate};
use crate::pod_view::PodView;

impl Plan<'_> {
    pub(super) fn rest(&self) -> Result<Step, PlanPod> {
        if let Some(step) = self.pod().and_then(|pod| self.clear(pod)) {
            return Ok(step);
        }
        if self.is_deleting() {
            return Ok(self.release_polecat());
        }
        let desired = self.polecat().spec.desired_state;
        match (self.phase(), desired) {
            (Some(PolecatPhase::Terminated), _)
            | (Some(PolecatPhase::Done), DesiredState::Idle | DesiredState::Working) => {
                Ok(self.settle(self.canvas.unchanged(), None, None))
            }
            (_, DesiredState::Terminated) => Ok(self.settle(self.canvas.terminated(), None, None)),
            (_, DesiredState::Idle) => Ok(self.settle(self.canvas.idle(Reason::Idle), None, None)),
            (Some(PolecatPhase::Stuck), DesiredState::Working) if self.waits_for_retry() => {
                Ok(self.settle(self.canvas.unchanged(), None, None))
            }
            (_, DesiredState::Working) => self.start(),
        }
    }

    pub(super) fn clear(&self, pod: &PodView) -> Option<Step> {
        clear(pod, i64::from(self.settings.config.grace_seconds), self.now)
    }

    fn release_polecat(&self) -> Step {
        let ours = |f: &&String| f.as_str() != labels::POLECAT_FINALIZER;
        let finalizers = self.polecat().finalizers();
        let others: Vec<_> = finalizers.iter().filter(ours).cloned().collect();
        if others.len() == finalizers.len() {
            Step::Wait(None)
        } else {
            Step::Act(Act::ReleasePolecat { finalizers: others })
        }
    }

    /// A failed attempt is repeated only on request. What was refused before an attempt started is tried again when
    /// it can be.
    fn waits_for_retry(&self) -> bool {
        let Some(status) = self.status() else {
            return false;
        };
        let failed = status
            .attempts
            .last()
            .filter(|a| a.outcome == Some(AttemptOutcome::Failed));
        let Some(failed) = failed else {
            return false;
        };
        let stuck_on_it = self.reason_before() == failed.reason.as_deref();
        let requested = self.polecat().annotations().get(labels::RETRY_REQUESTED_AT);
        let is_new = requested.is_some() && requested != status.retry_handled.as_ref();
        stuck_on_it && !is_new
    }

    pub(super) fn reason_before(&self) -> Option<&str> {
        let conditions = self.status().map(|s| s.conditions.as_slice()).unwrap_or_default();
        let ready = conditions
            .iter()
            .find(|c| c.type_ == gastown_api::condition::READY);
        ready.map(|c| c.reason.as_str())
    }

    fn start(&self) -> Result<Step, PlanPod> {
        let polecat = self.polecat();
        if task_of(polecat).is_none() && bead_of(polecat).is_none() {
            return Ok(self.settle(self.canvas.idle(Reason::NothingToDo), None, None));
        }
        let work = match validate(polecat, self.observed.rig.as_deref(), self.settings) {
            Ok(work) => work,
            Err(refusal) => return Ok(self.stuck(&refusal)),
        };
        let number = self.last_number() + 1;
        let open = Open {
            number,
            pod_uid: None,
        };
        if let Some(pod) = self.pod() {
            return Ok(if pod.owner().is_some() {
                delete_or_wait(pod)
            } else {
                self.close(&open, &failed(&name_taken(pod)))
            });
        }
        if number > 1 {
            return Ok(write_status(self.canvas.claimed(number, &work), None));
        }
        if !polecat
            .finalizers()
            .iter()
            .any(|f| f == labels::POLECAT_FINALIZER)
        {
            return Ok(Step::Act(self.claim()));
        }
        self.without_pod(&open)
    }

    fn last_number(&self) -> i32 {
        let attempts = self.status().map(|s| s.attempts.as_slice()).unwrap_or_default();
        attempts.last().map_or(0, |a| a.number)
    }

    fn claim(&self) -> Act {
        let mut finalizers = self.polecat().finalizers().to_vec();
        finalizers.push(labels::POLECAT_FINALIZER.to_owned());
        let labels = labels_of(self.polecat()).into_iter();
        Act::Claim {
            finalizers,
            labels: labels.map(|(key, value)| (key.to_owned(), value)).collect(),
        }
    }

    fn stuck(&self, refusal: &Refusal) -> Step {
        let is_new = self.reason_before() != Some(refusal.reason.as_str());
        let notice = is_new.then(|| Notice {
            warning: true,
            reason: refusal.reason,
            note: refusal.message.clone(),
        });
        self.settle(self.canvas.stuck(refusal), notice, None)
    }
}
