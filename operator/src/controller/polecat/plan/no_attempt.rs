//! No attempt is under way: what is left of the last one is cleared, and a new one starts where it is wanted.

use gastown_api::polecat::{AttemptOutcome, DesiredState, PolecatPhase};
use gastown_api::reason::Reason;
use gastown_api::{condition, labels};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::image::Admission;
use super::step::{Act, PlanPod, StatusUpdate, Step};
use super::{Plan, failed};
use crate::attempt::retry::Coming;
use crate::attempt::{FIRST, Open, Owner as _, PodAct, PodLookup, clear, delete_or_wait, name_taken};
use crate::controller::polecat::dispatch::is_queued;
use crate::controller::polecat::validate::{Work, bead_of, labels_of, task_of, validate};
use crate::pod_view::PodView;
use crate::slots::Bound;
use crate::types::{self, Refusal, Transition, later};

impl Plan<'_> {
    pub(super) fn reconcile_without_attempt(&self) -> Result<Step, PlanPod> {
        if let Some(step) = self.pod().and_then(|pod| self.clear(pod)) {
            return Ok(step.map(Act::Pod));
        }
        if self.is_deleting() {
            return Ok(self.release_polecat());
        }
        Ok(self.unless_expired(self.follow_the_table()?))
    }

    /// The rows of the table of `desiredState` in which no pod is at work.
    fn follow_the_table(&self) -> Result<Step, PlanPod> {
        let desired = self.polecat().spec.desired_state;
        match (self.phase(), desired) {
            (Some(PolecatPhase::Terminated), _)
            | (Some(PolecatPhase::Done), DesiredState::Idle | DesiredState::Working) => {
                Ok(self.write_or_wait(self.builder.unchanged(), None, None))
            }
            (_, DesiredState::Terminated) => {
                let status = self.builder.terminated(Reason::Terminated.sentence());
                Ok(self.write_or_wait(status, None, None))
            }
            (_, DesiredState::Idle) => Ok(self.idle(Reason::Idle)),
            (Some(PolecatPhase::Stuck), DesiredState::Working) if self.is_stuck_on_an_attempt() => {
                self.retry_or_wait()
            }
            // A retry that was parked for its image goes on as what it was.
            (Some(PolecatPhase::Working), DesiredState::Working) if !self.is_retry_requested() => {
                self.start(self.coming())
            }
            (_, DesiredState::Working) => self.start(None),
        }
    }

    /// Idle, and after `maxIdleSeconds` of it Terminated.
    fn idle(&self, reason: Reason) -> Step {
        let spec = &self.polecat().spec;
        let is_idle = self.phase() == Some(PolecatPhase::Idle);
        let limit = spec.max_idle_seconds.filter(|_| is_idle);
        let until = limit.and_then(|seconds| self.after_the_last_change(seconds));
        match (limit, until) {
            (Some(seconds), Some(until)) if until <= self.now => {
                let message = format!("it was idle for {seconds} s, as long as spec.maxIdleSeconds allows");
                let transition = Transition::normal(Reason::Terminated, message.clone());
                self.write_or_wait(self.builder.terminated(&message), Some(transition), None)
            }
            (_, until) => self.write_or_wait(self.builder.idle(reason), None, until),
        }
    }

    fn after_the_last_change(&self, seconds: i32) -> Option<Timestamp> {
        let last = self.status()?.last_activity.as_ref()?.0;
        Some(later(last, SignedDuration::from_secs(seconds.into())))
    }

    /// A request starts the next attempt at once, a failure that may pass starts it after a pause.
    fn retry_or_wait(&self) -> Result<Step, PlanPod> {
        if self.is_retry_requested() {
            return self.start(None);
        }
        match self.coming() {
            Some(coming) if coming.at <= self.now => self.start(Some(coming)),
            coming => Ok(self.write_or_wait(self.builder.failed(), None, coming.map(|c| c.at))),
        }
    }

    fn coming(&self) -> Option<Coming> {
        self.status().and_then(|status| self.builder.coming(status))
    }

    /// Deletes an object that has ended when its time is over, and wakes for that.
    fn unless_expired(&self, step: Step) -> Step {
        match (step, self.expiry()) {
            (Step::Wait(_), Some(at)) if at <= self.now => Step::Act(Act::DeletePolecat),
            (Step::Wait(wake), Some(at)) => Step::Wait(Some(wake.map_or(at, |wake| wake.min(at)))),
            (step, _) => step,
        }
    }

    /// A polecat whose manifest is refused may heal, and one that will try again has not ended.
    fn expiry(&self) -> Option<Timestamp> {
        let seconds = self.polecat().spec.ttl_seconds_after_finished?;
        let has_ended = match self.phase()? {
            PolecatPhase::Done | PolecatPhase::Terminated => true,
            PolecatPhase::Stuck => {
                let last = self.status().and_then(|s| s.attempts.last());
                last.is_some_and(|a| a.outcome == Some(AttemptOutcome::Failed)) && self.coming().is_none()
            }
            PolecatPhase::Idle | PolecatPhase::Working => false,
        };
        if has_ended {
            self.after_the_last_change(seconds)
        } else {
            None
        }
    }

    fn clear(&self, pod: &PodView) -> Option<types::Step<PodAct>> {
        clear(pod, &self.kind(), self.shape(), self.grace_seconds(), self.now)
    }

    fn release_polecat(&self) -> Step {
        if self.has_finalizer() {
            Step::Act(Act::ReleasePolecat)
        } else {
            Step::Wait(None)
        }
    }

    /// What was refused before an attempt started is tried again as soon as it can be; a failed attempt is not.
    fn is_stuck_on_an_attempt(&self) -> bool {
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
        self.reason_before() == failed.reason.as_deref()
    }

    fn is_retry_requested(&self) -> bool {
        let handled = self.status().and_then(|s| s.retry_handled.as_ref());
        let requested = self.polecat().annotations().get(labels::RETRY_REQUESTED_AT);
        requested.is_some() && requested != handled
    }

    pub(super) fn reason_before(&self) -> Option<&str> {
        let conditions = self.status().map(|s| s.conditions.as_slice()).unwrap_or_default();
        let ready = conditions.iter().find(|c| c.type_ == condition::READY);
        ready.map(|c| c.reason.as_str())
    }

    /// Starts the next attempt; `coming` where it follows a failed one by itself.
    fn start(&self, coming: Option<Coming>) -> Result<Step, PlanPod> {
        let polecat = self.polecat();
        if task_of(polecat).is_none() && bead_of(polecat).is_none() {
            return Ok(self.idle(Reason::NothingToDo));
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
            return Ok(if pod.owner(&self.kind()).is_some() {
                delete_or_wait(pod).map(Act::Pod)
            } else {
                self.close(&open, &failed(&name_taken(pod, &self.kind())))
            });
        }
        let work = match self.admission(work) {
            Admission::Allowed(work) => work,
            Admission::Unknown(step) => return Ok(step),
            Admission::Refused(refusal) => return Ok(self.stuck(&refusal)),
            Admission::Unreachable(refusal, again) => return Ok(self.wait_for_the_registry(&refusal, again)),
        };
        if let Some(bound) = self.observed.bound {
            return Ok(self.give_up_the_claim().unwrap_or_else(|| self.queued(bound)));
        }
        if number > FIRST {
            let transition = self.transition_of_retry(number, coming);
            return Ok(self.claim_by_status(number, coming.map(|c| c.retry), &work, transition));
        }
        if self.has_finalizer() {
            self.reconcile_attempt(&open)
        } else {
            Ok(Step::Act(self.claim()))
        }
    }

    fn has_finalizer(&self) -> bool {
        let mut finalizers = self.polecat().finalizers().iter();
        finalizers.any(|finalizer| finalizer == labels::POLECAT_FINALIZER)
    }

    /// A first attempt that was claimed and not begun, by one that was to rest meanwhile: whoever waits has no finalizer,
    /// for that is how the next operator knows who has a slot.
    fn give_up_the_claim(&self) -> Option<Step> {
        let is_first = self.last_number() == 0;
        (is_first && self.has_finalizer()).then(|| match self.observed.attempt.pod {
            PodLookup::NotCached => Step::Act(Act::Pod(PodAct::Look)),
            PodLookup::NotFound | PodLookup::Found(_) => Step::Act(Act::ReleasePolecat),
        })
    }

    /// It waits for a slot: said once, when the waiting begins or its reason changes.
    fn queued(&self, bound: Bound) -> Step {
        let reason = match bound {
            Bound::Closed => Reason::RigSuspended,
            Bound::Group => Reason::RigAtCapacity,
            Bound::Total => Reason::TownAtCapacity,
        };
        let is_new = !self.status().is_some_and(is_queued);
        let transition = is_new.then(|| Transition::normal(reason, reason.sentence()));
        self.write_or_wait(self.builder.queued(reason), transition, None)
    }

    /// A retry that waits for room is told of when the waiting begins, not each time.
    fn transition_of_retry(&self, number: i32, coming: Option<Coming>) -> Option<Transition> {
        let is_failed = self.phase() == Some(PolecatPhase::Stuck);
        let waits_for_room = coming.is_some_and(|c| c.of.is_none() && c.retry > 1);
        let why = if coming.is_some() {
            "by itself"
        } else {
            "on request"
        };
        (is_failed && !waits_for_room)
            .then(|| Transition::normal(Reason::Retrying, format!("attempt {number} starts {why}")))
    }

    /// Claims an attempt for this look: no other operator may start one then.
    pub(super) fn claim_by_status(
        &self,
        number: i32,
        retry: Option<i32>,
        work: &Work,
        transition: Option<Transition>,
    ) -> Step {
        Step::Act(Act::WriteStatus(Box::new(StatusUpdate {
            status: self.builder.claimed(number, retry, work),
            transition,
            ended: None,
            claims: Some(number),
        })))
    }

    pub(super) fn last_number(&self) -> i32 {
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
        let transition = is_new.then(|| Transition::warning(refusal.reason, refusal.message.clone()));
        self.write_or_wait(self.builder.stuck(refusal), transition, None)
    }
}
