//! An attempt is under way: its pod is created, followed, stopped and judged.

use gastown_api::polecat::{AttemptOutcome, PolecatPhase, PolecatStatus};
use gastown_api::reason::Reason;
use jiff::Timestamp;

use super::doorbell::{self, Ring};
use super::signs::{agent_started, image_trouble, progress_of};
use super::step::{Act, Ended, Notice, PlanPod, Report, Sight, Step};
use super::{Open, Plan, delete_or_wait, failed, name_taken, without_evidence};
use crate::controller::polecat::build;
use crate::controller::polecat::judge::{Verdict, Wanted, judge, last_snapshot};
use crate::controller::polecat::status::Progress;
use crate::controller::polecat::validate::{Refusal, validate};
use crate::pod_view::{Ending, PodView};

impl Plan<'_> {
    pub(super) fn pursue(&self, open: &Open) -> Result<Step, PlanPod> {
        let Some(pod) = self.pod() else {
            return self.without_pod(open);
        };
        if self.owns(pod) && pod.attempt() == Some(open.number) {
            return Ok(self.drive(open, pod));
        }
        if pod.owner().is_none() {
            return Ok(self.close(open, &failed(&name_taken(pod))));
        }
        // An earlier attempt's pod, or one of an earlier polecat of this name, has to go first.
        let step = self.clear(pod).unwrap_or_else(|| delete_or_wait(pod));
        Ok(step)
    }

    pub(super) fn without_pod(&self, open: &Open) -> Result<Step, PlanPod> {
        if open.pod_uid.is_some() {
            return Ok(match self.observed.pod {
                Sight::Unseen => Step::Act(Act::LookForPod),
                _ => self.close(open, &self.lost()),
            });
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
        match validate(self.polecat(), self.observed.rig.as_deref(), self.settings) {
            Err(refusal) => Ok(self.close(open, &failed(&refusal))),
            Ok(work) => {
                let pod = build::pod::pod(self.polecat(), &work, open.number, self.settings)?;
                Ok(Step::Act(Act::CreatePod(Box::new(pod))))
            }
        }
    }

    /// The pod went although its finalizer held it: someone took that off.
    fn lost(&self) -> Verdict {
        let (outcome, reason) = match self.wanted() {
            Wanted::Work => (AttemptOutcome::Failed, Reason::PodLost),
            Wanted::Stop(reason) => (AttemptOutcome::Stopped, reason),
        };
        Verdict {
            may_be_lost: Some(last_snapshot(None, None)),
            ..without_evidence(outcome, reason, Reason::PodLost.sentence())
        }
    }

    fn drive(&self, open: &Open, pod: &PodView) -> Step {
        let base = self.status().and_then(|s| s.base.as_deref());
        let grace = i64::from(self.settings.config.grace_seconds);
        let ending = pod.ending(grace);
        match ending {
            Ending::Ended => return self.close(open, &judge(pod, open.number, base, self.wanted())),
            Ending::Expected(until) if until <= self.now => {
                return self.close(open, &judge(pod, open.number, base, self.wanted()));
            }
            Ending::Expected(_) | Ending::Alive => {}
        }
        let wake = match ending {
            Ending::Expected(until) => Some(until),
            Ending::Alive | Ending::Ended => None,
        };
        if pod.is_deleting() {
            return self.working(open, pod, false, Reason::Stopping, "", wake);
        }
        if let Some(message) = image_trouble(pod) {
            let refusal = Refusal::new(Reason::ImagePullFailed, message);
            return self.close(open, &failed(&refusal));
        }
        if self.wanted() != Wanted::Work {
            return delete_or_wait(pod);
        }
        match doorbell::listen(pod, open.number, self.observed.word.as_ref(), self.now) {
            Ring::Quiet => self.running(open, pod, wake),
            Ring::Later(at) => self.running(open, pod, Some(wake.map_or(at, |w| w.min(at)))),
            Ring::Unheard => Step::Act(Act::ReadBroker {
                uid: pod.uid().to_owned(),
                attempt: open.number,
            }),
            Ring::Parked {
                reason,
                message,
                wake,
            } => self.working(open, pod, true, reason, &message, wake),
            Ring::Stopped => delete_or_wait(pod),
        }
    }

    fn running(&self, open: &Open, pod: &PodView, wake: Option<Timestamp>) -> Step {
        let (reason, message) = progress_of(pod);
        self.working(open, pod, false, reason, &message, wake)
    }

    fn working(
        &self,
        open: &Open,
        pod: &PodView,
        parked: bool,
        reason: Reason,
        message: &str,
        wake: Option<Timestamp>,
    ) -> Step {
        let progress = Progress {
            pod_uid: Some(pod.uid().to_owned()),
            active: agent_started(pod),
            reason,
            message: message.to_owned(),
            parked,
        };
        let is_first_look = self.status().is_none_or(|s| s.attempts.is_empty());
        let work = is_first_look
            .then(|| validate(self.polecat(), self.observed.rig.as_deref(), self.settings).ok())
            .flatten();
        let status = self.canvas.working(open.number, work.as_ref(), &progress);
        let newly_parked = parked && self.reason_before() != Some(reason.as_str());
        let notice = newly_parked.then(|| Notice {
            warning: true,
            reason,
            note: message.to_owned(),
        });
        self.settle(status, notice, wake)
    }

    pub(super) fn close(&self, open: &Open, verdict: &Verdict) -> Step {
        let stopped_as = match self.wanted() {
            Wanted::Stop(Reason::Idle) => PolecatPhase::Idle,
            Wanted::Stop(_) | Wanted::Work => PolecatPhase::Terminated,
        };
        let status = self.canvas.closed(open.number, verdict, stopped_as);
        let notice = Notice {
            warning: verdict.outcome == AttemptOutcome::Failed,
            reason: verdict.reason,
            note: closing_words(verdict, &status),
        };
        let evidence = verdict.evidence.as_ref();
        let ended = Ended {
            reason: verdict.reason,
            usage: evidence.map(|e| e.usage).unwrap_or_default(),
            cost_micros: evidence.and_then(|e| i64::try_from(e.cost_micros?).ok()),
        };
        Step::Act(Act::WriteStatus(Box::new(Report {
            status,
            notice: Some(notice),
            ended: Some(ended),
        })))
    }
}

/// What the event says: the object may go, and then the event alone names what was saved.
fn closing_words(verdict: &Verdict, status: &PolecatStatus) -> String {
    let mut words = verdict.message.clone();
    if verdict.outcome == AttemptOutcome::Delivered {
        let branch = status.branch.as_deref().unwrap_or_default();
        words = format!("{words} {branch:?}");
    }
    let wip = verdict.evidence.as_ref().and_then(|e| e.wip.as_ref());
    if let Some(wip) = wip.filter(|_| verdict.outcome != AttemptOutcome::Delivered) {
        words = format!("{words}; unfinished work is on {} at {}", wip.name, wip.sha);
    }
    if let Some(lost) = &verdict.may_be_lost {
        words = format!("{words}; {lost}");
    }
    words
}
