//! An attempt is under way: its pod is created, followed, stopped and judged.

use gastown_api::budget::Share;
use gastown_api::polecat::AttemptOutcome;
use gastown_api::reason::Reason;
use gastown_api::{condition, pod};
use jiff::{SignedDuration, Timestamp};

use super::doorbell::{self, Ring};
use super::image::Admission;
use super::signs::{progress_of, trouble, unschedulable};
use super::step::{Act, PlanPod, PodLookup, Step};
use super::stop::on_request;
use super::{Open, Plan, delete_or_wait, failed, name_taken, owner, without_evidence, write_status};
use crate::controller::polecat::build;
use crate::controller::polecat::judge::{Question, Verdict, Wanted, judge, last_snapshot};
use crate::controller::polecat::status::{Progress, Spending};
use crate::controller::polecat::validate::model::left_of;
use crate::controller::polecat::validate::timing::limits;
use crate::controller::polecat::validate::{Work, validate};
use crate::pod_view::{Ending, PodView};
use crate::types::{Refusal, Transition, later};

/// The kubelet's time, after the pod's grace, to report that the pod has ended.
const LAST_WORD: SignedDuration = SignedDuration::from_secs(60);

impl Plan<'_> {
    pub(super) fn pursue(&self, open: &Open) -> Result<Step, PlanPod> {
        let Some(pod) = self.pod() else {
            return self.without_pod(open);
        };
        if self.owns(pod) && self.attempt_of(pod) == Some(open.number) {
            return Ok(self.drive(open, pod));
        }
        if owner(pod).is_none() {
            return Ok(self.close(open, &failed(&name_taken(pod))));
        }
        // An earlier attempt's pod, or one of an earlier polecat of this name, has to go first.
        let step = self.clear(pod).unwrap_or_else(|| delete_or_wait(pod));
        Ok(step)
    }

    pub(super) fn without_pod(&self, open: &Open) -> Result<Step, PlanPod> {
        if open.pod_uid.is_some() {
            return Ok(match self.observed.pod {
                PodLookup::NotCached => Step::Act(Act::LookForPod),
                _ => self.close(open, &self.lost(open)),
            });
        }
        // An earlier look claimed it, and may have made a pod that the cache does not hold yet.
        let is_fresh = self.observed.claimed == Some(open.number);
        if !is_fresh && self.observed.pod == PodLookup::NotCached {
            return Ok(Step::Act(Act::LookForPod));
        }
        if let Wanted::Stop(reason) = self.wanted() {
            let verdict = without_evidence(
                AttemptOutcome::Stopped,
                reason,
                "it was stopped before its pod existed",
            );
            return Ok(self.close(open, &verdict));
        }
        if let Some(refusal) = &self.observed.refusal {
            return Ok(self.close(open, &failed(refusal)));
        }
        let admission = validate(self.polecat(), self.observed.rig.as_deref(), self.settings)
            .map_or_else(Admission::Refused, |work| self.admission(work));
        match admission {
            Admission::Refused(refusal) => Ok(self.close(open, &failed(&refusal))),
            Admission::Unknown(step) => Ok(step),
            Admission::Unreachable(refusal, again) => {
                Ok(self.say(open, &Self::parked_for(&refusal), Some(again)))
            }
            Admission::Allowed(work) if !is_fresh => Ok(self.claim_anew(open, &work)),
            Admission::Allowed(work) => {
                let pod = build::pod::pod(self.polecat(), &work, open.number, self.settings)?;
                Ok(Step::Act(Act::CreatePod(Box::new(pod))))
            }
        }
    }

    /// Whether the number that an earlier look claimed had a pod, nobody can tell any more: someone may have taken its
    /// finalizer off before a status named it. So the number is not used, and the next one claimed.
    fn claim_anew(&self, open: &Open, work: &Work) -> Step {
        let attempts = self.status().map(|s| s.attempts.as_slice()).unwrap_or_default();
        let claimed = attempts.iter().find(|a| a.number == open.number);
        let retry = claimed.and_then(|a| a.retry);
        self.claim_by_status(open.number.saturating_add(1), retry, work, None)
    }

    /// The pod went although its finalizer held it: someone took that off.
    fn lost(&self, open: &Open) -> Verdict {
        let stopped_for = self.stopped_for(open);
        let (outcome, reason) = match self.request(stopped_for.as_ref(), true) {
            Wanted::Work => (AttemptOutcome::Failed, Reason::PodLost),
            Wanted::Stop(reason) => (AttemptOutcome::Stopped, reason),
        };
        Verdict {
            may_be_lost: Some(last_snapshot(None, None)),
            may_have_spent: true,
            ..without_evidence(outcome, reason, Reason::PodLost.sentence())
        }
    }

    fn drive(&self, open: &Open, pod: &PodView) -> Step {
        let grace = i64::from(self.settings.config.grace_seconds);
        let wake = match pod.ending(grace) {
            Ending::Ended => return self.close(open, &self.verdict(open, pod)),
            Ending::Expected(until) if until <= self.now => {
                return self.close(open, &self.verdict(open, pod));
            }
            Ending::Expected(until) => Some(until),
            Ending::Alive => None,
        };
        if pod.is_deleting() {
            return self.stopping(open, pod, wake);
        }
        if let Some(act) = self.restore_marks(open.number, pod) {
            return Step::Act(act);
        }
        let wanted = match self.wanted() {
            Wanted::Work => self.stopped_for(open),
            Wanted::Stop(reason) => Some(on_request(reason)),
        };
        if let Some(why) = wanted.or_else(|| held(pod)) {
            return self.stop(open, pod, why);
        }
        let (refusal, patience) = self.trouble(pod);
        if let Some(refusal) = refusal {
            // An agent that has begun is stopped first, so that its work is saved.
            return if pod.agent_started() {
                self.stop(open, pod, refusal)
            } else {
                self.close(open, &failed(&refusal))
            };
        }
        let wake = earlier(wake, patience);
        match doorbell::listen(pod, open.number, self.observed.report.as_ref(), self.now) {
            Ring::Quiet => self.running(open, pod, wake),
            Ring::Later(at) => self.running(open, pod, earlier(wake, Some(at))),
            Ring::Unheard => Step::Act(Act::ReadBroker {
                uid: pod.uid().to_owned(),
                attempt: open.number,
            }),
            Ring::Parked {
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
            Ring::Asks { share, spent, again } => {
                self.grant(open, pod, share, spent, earlier(wake, Some(again)))
            }
            Ring::Stopped { reason, message } => self.stop(open, pod, Refusal::new(reason, message)),
        }
    }

    /// A part of the budget is set aside in the status first, and the pod told of it then: whatever ends the pod, the
    /// status is charged no less than was spent.
    fn grant(
        &self,
        open: &Open,
        pod: &PodView,
        share: Share,
        spent: Spending,
        wake: Option<Timestamp>,
    ) -> Step {
        let recorded = self.granted(open.number).unwrap_or_default();
        if !recorded.covers(share) {
            let status = self.canvas.granted(open.number, recorded.max(share), spent);
            return write_status(status, None);
        }
        if pod.granted().covers(recorded) {
            return self.running(open, pod, wake);
        }
        Step::Act(Act::Grant {
            uid: pod.uid().to_owned(),
            granted: recorded,
        })
    }

    /// What is set aside for an attempt; for one that no status knows yet, what its pod may spend unasked.
    pub(super) fn granted(&self, number: i32) -> Option<Share> {
        let attempts = self.status().map(|s| s.attempts.as_slice()).unwrap_or_default();
        let known = attempts.iter().find(|attempt| attempt.number == number);
        match known {
            Some(attempt) => attempt.granted,
            None => Some(left_of(self.polecat()).first_quarter()).filter(|share| share.is_limited()),
        }
    }

    fn verdict(&self, open: &Open, pod: &PodView) -> Verdict {
        let stopped_for = self.stopped_for(open);
        let wanted = self.request(stopped_for.as_ref(), pod.is_deleting());
        judge(
            pod,
            &Question {
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

    fn has_own_image(&self) -> bool {
        let spec = &self.polecat().spec;
        let first = spec.kubernetes.as_ref().and_then(|k| k.image.as_deref());
        let second = spec.agent_config.as_ref().and_then(|a| a.image.as_deref());
        let mut images = first.into_iter().chain(second);
        images.any(|image| !image.trim().is_empty())
    }

    /// A kubelet that does not report the end long after the grace has lost its node; the pod may be running there.
    fn stopping(&self, open: &Open, pod: &PodView, wake: Option<Timestamp>) -> Step {
        let deadline = pod.metadata.deletion_timestamp.as_ref();
        let overdue = deadline.map(|at| later(at.0, LAST_WORD));
        let stopped_for = self.stopped_for(open).or(match self.wanted() {
            Wanted::Work => None,
            Wanted::Stop(reason) => Some(on_request(reason)),
        });
        match overdue {
            Some(at) if at <= self.now => {
                let message = "the pod was to end, and its node has not reported the end";
                self.say_stopping(open, pod, Reason::NodeLost, message, stopped_for, wake)
            }
            _ => {
                let wake = earlier(wake, overdue);
                self.say_stopping(open, pod, Reason::Stopping, "", stopped_for, wake)
            }
        }
    }

    /// What the attempt is given up for, or until when trouble may heal. Capacity is waited for as long as anything
    /// that a pod may be parked for.
    fn trouble(&self, pod: &PodView) -> (Option<Refusal>, Option<Timestamp>) {
        if let Some(message) = unschedulable(pod) {
            let rig = self.observed.rig.as_deref();
            let longest = limits(self.polecat(), rig, &self.settings.config).parking_seconds;
            let longest = SignedDuration::from_secs(i64::try_from(longest).unwrap_or(i64::MAX));
            let created = pod.metadata.creation_timestamp.as_ref();
            let until = created.map(|at| later(at.0, longest));
            let is_over = until.is_some_and(|until| until <= self.now);
            return (
                is_over.then(|| Refusal::new(Reason::Unschedulable, message)),
                until,
            );
        }
        match trouble(pod, self.has_own_image()) {
            None => (None, None),
            Some(trouble) if trouble.is_over(self.now) => (Some(trouble.refusal), None),
            Some(trouble) => (None, trouble.until),
        }
    }

    fn running(&self, open: &Open, pod: &PodView, wake: Option<Timestamp>) -> Step {
        let (reason, message) = progress_of(pod);
        self.say(open, &self.progress(pod, reason, &message), wake)
    }

    /// The progress of a pod that is neither parked nor being stopped.
    pub(super) fn progress(&self, pod: &PodView, reason: Reason, message: &str) -> Progress {
        Progress {
            pod_uid: Some(pod.uid().to_owned()),
            active: pod.agent_started(),
            reason,
            message: message.to_owned(),
            parked: false,
            failing_checkpoints: doorbell::failing_checkpoints(pod, self.observed.report.as_ref()),
            stopped_for: None,
        }
    }

    pub(super) fn say(&self, open: &Open, progress: &Progress, wake: Option<Timestamp>) -> Step {
        let is_first_look = self.status().is_none_or(|s| s.attempts.is_empty());
        let work = is_first_look
            .then(|| validate(self.polecat(), self.observed.rig.as_deref(), self.settings).ok())
            .flatten()
            .map(|work| self.named_as_it_runs(work));
        let status = self.canvas.working(open.number, work.as_ref(), progress);
        let transition = self
            .transition_of_parking(progress.parked, progress.reason, &progress.message)
            .or_else(|| self.transition_of_failing(progress.failing_checkpoints.as_deref()?));
        self.settle(status, transition, wake)
    }

    fn held_before(&self, type_: &str) -> bool {
        let conditions = self.status().map(|s| s.conditions.as_slice()).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
    }

    /// Told once when checkpoints begin to fail.
    fn transition_of_failing(&self, words: &str) -> Option<Transition> {
        (!self.held_before(condition::CHECKPOINTS_FAILING)).then(|| Transition {
            warning: true,
            reason: Reason::CheckpointFailed,
            note: words.to_owned(),
        })
    }

    /// Told once when the pod parks, and once when it goes on.
    fn transition_of_parking(&self, parked: bool, reason: Reason, message: &str) -> Option<Transition> {
        let was_parked = self.held_before(condition::PARKED);
        let waits_for_someone = parked || reason == Reason::NodeLost;
        if waits_for_someone && self.reason_before() != Some(reason.as_str()) {
            return Some(Transition {
                warning: true,
                reason,
                note: message.to_owned(),
            });
        }
        (was_parked && !parked && reason != Reason::Stopping).then(|| Transition {
            warning: false,
            reason: Reason::Resumed,
            note: Reason::Resumed.sentence().to_owned(),
        })
    }
}

/// A container of someone else's that keeps the pod alive after the agent has ended: one that a policy injected, or one
/// for debugging. The sidecars that save and tell are stopped only after all such containers, so the pod is deleted.
fn held(pod: &PodView) -> Option<Refusal> {
    pod.terminated(pod::CLAUDE)?;
    let others = pod.strangers().find(|c| c.state.terminated.is_none())?;
    let words = format!(
        "the agent has ended, and container {:?} keeps the pod alive",
        others.name
    );
    Some(Refusal::new(Reason::Stopping, words))
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
