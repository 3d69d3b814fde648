//! An attempt is under way: the machine says what it needs next, and what that means for a polecat is said here.

use gastown_api::budget::Share;
use gastown_api::condition;
use gastown_api::pod::BROKER;
use gastown_api::polecat::AttemptOutcome;
use gastown_api::reason::Reason;
use gastown_api::text::escape;
use jiff::Timestamp;

use super::image::Admission;
use super::step::{Act, PlanPod, Step};
use super::{Plan, failed, without_evidence, write_status};
use crate::attempt::{Decision, End, Open, Owner as _, PodAct, Wanted, decide, trouble, unschedulable};
use crate::controller::polecat::build;
use crate::controller::polecat::build::pod::SHAPE;
use crate::controller::polecat::classify::{AttemptContext, Classification, classify, last_snapshot};
use crate::controller::polecat::status::{Progress, Spending};
use crate::controller::polecat::validate::model::left_of;
use crate::controller::polecat::validate::{Work, validate};
use crate::pod_view::PodView;
use crate::types::Transition;

impl Plan<'_> {
    pub(super) fn reconcile_attempt(&self, open: &Open) -> Result<Step, PlanPod> {
        Ok(match decide(self, open, &self.observed.attempt, self.now) {
            Decision::Pod(step) => step.map(Act::Pod),
            Decision::Prepare { claimed } => self.prepare(open, claimed)?,
            Decision::Restore(act) => Step::Act(act),
            Decision::Running { pod, wake } => self.running(open, pod, wake),
            Decision::Parked {
                pod,
                reason,
                message,
                wake,
            } => {
                let progress = Progress {
                    parked: true,
                    ..self.progress(pod, reason, &message)
                };
                self.say(open, &progress, wake)
            }
            Decision::Asks { pod, share, wake } => self.grant(open, pod, share, wake),
            Decision::Stop { pod, why } => self.stop(open, pod, why),
            Decision::Stopping {
                pod,
                overdue,
                why,
                wake,
            } => self.say_stopping(open, pod, overdue, why, wake),
            Decision::Over(End::NeverStarted(reason)) => {
                let message = "it was stopped before its pod existed";
                self.close(open, &without_evidence(AttemptOutcome::Stopped, reason, message))
            }
            Decision::Over(End::Failed(refusal)) => self.close(open, &failed(&refusal)),
            Decision::Over(End::Lost(wanted)) => self.close(open, &lost(wanted)),
            Decision::Over(End::Ended(pod)) => self.close(open, &self.classification(open, pod)),
        })
    }

    fn prepare(&self, open: &Open, claimed: bool) -> Result<Step, PlanPod> {
        let admission = validate(self.polecat(), self.observed.rig.as_deref(), self.settings)
            .map_or_else(Admission::Refused, |work| self.admission(work));
        match admission {
            Admission::Refused(refusal) => Ok(self.close(open, &failed(&refusal))),
            Admission::Unknown(step) => Ok(step),
            Admission::Unreachable(refusal, again) => {
                Ok(self.say(open, &Self::parked_for(&refusal), Some(again)))
            }
            Admission::Allowed(work) if !claimed => Ok(self.claim_anew(open, &work)),
            Admission::Allowed(work) => {
                let pod = build::pod::pod(self.polecat(), &work, open.number, self.settings)?;
                Ok(Step::Act(Act::Pod(PodAct::Create(Box::new(pod)))))
            }
        }
    }

    fn claim_anew(&self, open: &Open, work: &Work) -> Step {
        let retry = self.attempt_numbered(open.number).and_then(|a| a.retry);
        self.claim_by_status(open.number.saturating_add(1), retry, work, None)
    }

    /// A part of the budget is set aside in the status first, and the pod told of it then: whatever ends the pod, the
    /// status is charged no less than was spent.
    fn grant(&self, open: &Open, pod: &PodView, share: Share, wake: Option<Timestamp>) -> Step {
        let recorded = self.granted(open.number).unwrap_or_default();
        let report = self.observed.attempt.report.as_ref();
        let evidence = report.and_then(|report| report.evidence.as_ref());
        if !recorded.covers(share) {
            let spent = evidence.map(Spending::of).unwrap_or_default();
            let status = self.builder.granted(open.number, recorded.max(share), spent);
            return write_status(status, None);
        }
        if pod.granted().covers(recorded) {
            return self.running(open, pod, wake);
        }
        Step::Act(Act::Pod(PodAct::Grant {
            uid: pod.uid().to_owned(),
            granted: recorded,
        }))
    }

    /// What is set aside for an attempt; for one that no status knows yet, what its pod may spend unasked.
    pub(super) fn granted(&self, number: i32) -> Option<Share> {
        match self.attempt_numbered(number) {
            Some(attempt) => attempt.granted,
            None => Some(left_of(self.polecat()).first_quarter()).filter(|share| share.is_limited()),
        }
    }

    fn classification(&self, open: &Open, pod: &PodView) -> Classification {
        let stopped_for = self.stopped_for(open);
        let wanted = self.request(stopped_for.as_ref(), pod.is_deleting());
        classify(
            pod,
            &AttemptContext {
                attempt: open.number,
                base: self.status().and_then(|s| s.base.as_deref()),
                wanted,
                given_up: stopped_for.as_ref().filter(|_| wanted == Wanted::Work),
                own_image: self.has_own_image(),
                seen_at_work: self
                    .status()
                    .is_some_and(|s| s.pod_active && self.last_number() == open.number),
            },
        )
    }

    fn running(&self, open: &Open, pod: &PodView, wake: Option<Timestamp>) -> Step {
        let (reason, message) = progress_of(pod);
        self.say(open, &self.progress(pod, reason, &message), wake)
    }

    /// The progress of a pod that is neither parked nor being stopped.
    pub(super) fn progress(&self, pod: &PodView, reason: Reason, message: &str) -> Progress {
        Progress {
            pod_uid: Some(pod.uid().to_owned()),
            active: pod.was_started(SHAPE.main),
            reason,
            message: message.to_owned(),
            parked: false,
            failing_checkpoints: self.failing_checkpoints(pod),
            stopped_for: None,
        }
    }

    pub(super) fn say(&self, open: &Open, progress: &Progress, wake: Option<Timestamp>) -> Step {
        let is_first_look = self.status().is_none_or(|s| s.attempts.is_empty());
        let work = is_first_look
            .then(|| validate(self.polecat(), self.observed.rig.as_deref(), self.settings).ok())
            .flatten()
            .map(|work| self.named_as_it_runs(work));
        let status = self.builder.working(open.number, work.as_ref(), progress);
        let transition = self
            .transition_of_parking(progress.parked, progress.reason, &progress.message)
            .or_else(|| self.transition_of_failing(progress.failing_checkpoints.as_deref()?));
        self.write_or_wait(status, transition, wake)
    }

    fn held_before(&self, type_: &str) -> bool {
        let conditions = self.status().map(|s| s.conditions.as_slice()).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
    }

    /// Told once when checkpoints begin to fail.
    fn transition_of_failing(&self, words: &str) -> Option<Transition> {
        (!self.held_before(condition::CHECKPOINTS_FAILING))
            .then(|| Transition::warning(Reason::CheckpointFailed, words))
    }

    /// Told once when the pod parks, and once when it goes on.
    fn transition_of_parking(&self, parked: bool, reason: Reason, message: &str) -> Option<Transition> {
        let was_parked = self.held_before(condition::PARKED);
        let waits_for_someone = parked || reason == Reason::NodeLost;
        if waits_for_someone && self.reason_before() != Some(reason.as_str()) {
            return Some(Transition::warning(reason, message));
        }
        (was_parked && !parked && reason != Reason::Stopping)
            .then(|| Transition::normal(Reason::Resumed, Reason::Resumed.sentence()))
    }

    /// Why the work of the running agent cannot be saved, in the words of its pod; none: it is, or the pod does not say.
    fn failing_checkpoints(&self, pod: &PodView) -> Option<String> {
        let report = self.observed.attempt.report.as_ref();
        let report = report.filter(|report| report.pod_uid == pod.uid())?;
        let broker = pod.container(BROKER)?;
        if broker.ready || pod.terminated(SHAPE.main).is_some() {
            return None;
        }
        let words = report.evidence.as_ref()?.checkpoints_failing.as_deref()?;
        // The agent may have said them.
        Some(escape(words))
    }
}

/// The pod went although its finalizer held it: someone took that off.
fn lost(wanted: Wanted) -> Classification {
    let (outcome, reason) = match wanted {
        Wanted::Work => (AttemptOutcome::Failed, Reason::PodLost),
        Wanted::Stop(reason) => (AttemptOutcome::Stopped, reason),
    };
    Classification {
        may_be_lost: Some(last_snapshot(None, None)),
        may_have_spent: true,
        ..without_evidence(outcome, reason, Reason::PodLost.sentence())
    }
}

/// What the pod is at, in a reason and words.
fn progress_of(pod: &PodView) -> (Reason, String) {
    if pod.was_started(SHAPE.main) {
        return (Reason::AgentRunning, String::new());
    }
    if let Some(message) = unschedulable(pod) {
        return (Reason::Unschedulable, message);
    }
    let trouble = trouble(pod, SHAPE, false).map(|t| t.refusal.message);
    (Reason::PodStarting, trouble.unwrap_or_default())
}
