//! The next step of a polecat: a pure function of what was observed and the time. The driver carries the step out,
//! observes its result, and asks again until there is nothing to do but wait.
//!
//! The table of `desiredState` against phases is in the documentation of `gastown_api::polecat`.

mod close;
pub mod doorbell;
mod image;
mod marks;
mod pursue;
mod rest;
mod signs;
mod step;
mod stop;

use gastown_api::polecat::{AttemptOutcome, DesiredState, Polecat, PolecatPhase, PolecatStatus};
use gastown_api::reason::Reason;
use gastown_api::rig::Suspend;
use jiff::Timestamp;
use kube::Resource as _;

pub use self::signs::cannot_start;
pub use self::step::{Act, BrokerReport, FIRST_ATTEMPT, Observed, PlanPod, PodLookup, StatusUpdate, Step};
use super::judge::{Verdict, Wanted};
use super::retry::backoff_limit;
use super::status::Canvas;
use crate::pod_view::{Ending, PodView};
use crate::types::{Refusal, Settings, Transition, whole_seconds};

/// The next step.
pub fn next(observed: &Observed, settings: &Settings, now: Timestamp) -> Result<Step, PlanPod> {
    let now = whole_seconds(now);
    let plan = Plan {
        observed,
        settings,
        now,
        canvas: Canvas {
            polecat: &observed.polecat,
            rig_found: observed.rig.is_some(),
            backoff_limit: backoff_limit(&observed.polecat, observed.rig.as_deref(), &settings.config),
            now,
        },
    };
    let step = match plan.open_attempt() {
        Some(attempt) => plan.pursue(&attempt)?,
        None => plan.rest()?,
    };
    Ok(match (step, observed.lends_at) {
        (Step::Wait(wake), Some(at)) => Step::Wait(Some(wake.map_or(at, |wake| wake.min(at)))),
        (step, _) => step,
    })
}

/// The next step for a pod whose polecat is gone.
#[must_use]
pub fn next_of_orphan(pod: &PodView, settings: &Settings, now: Timestamp) -> Step {
    let grace = i64::from(settings.config.grace_seconds);
    clear(pod, grace, now).unwrap_or(Step::Wait(None))
}

/// The attempt that is under way.
struct Open {
    number: i32,
    pod_uid: Option<String>,
}

struct Plan<'a> {
    observed: &'a Observed,
    settings: &'a Settings,
    now: Timestamp,
    canvas: Canvas<'a>,
}

impl Plan<'_> {
    fn polecat(&self) -> &Polecat {
        &self.observed.polecat
    }

    fn status(&self) -> Option<&PolecatStatus> {
        self.polecat().status.as_ref()
    }

    fn phase(&self) -> Option<PolecatPhase> {
        self.status().and_then(|s| s.phase)
    }

    fn pod(&self) -> Option<&PodView> {
        match &self.observed.pod {
            PodLookup::Found(pod) => Some(pod),
            PodLookup::NotCached | PodLookup::NotFound => None,
        }
    }

    fn is_deleting(&self) -> bool {
        self.polecat().metadata.deletion_timestamp.is_some()
    }

    fn owns(&self, pod: &PodView) -> bool {
        owner(pod).is_some() && owner(pod) == self.polecat().metadata.uid.as_deref()
    }

    /// The attempt that a pod is: by its UID, if the status names it; labels can be changed by others.
    fn attempt_of(&self, pod: &PodView) -> Option<i32> {
        let attempts = self.status().map(|s| s.attempts.as_slice()).unwrap_or_default();
        let named = attempts.iter().find(|a| a.pod_uid.as_deref() == Some(pod.uid()));
        named.map(|a| a.number).or_else(|| pod.attempt())
    }

    /// What is wanted of a pod at work; a deletion ends like `Terminated`, and what is that is so for good.
    fn wanted(&self) -> Wanted {
        if self.is_deleting() || self.phase() == Some(PolecatPhase::Terminated) {
            return Wanted::Stop(Reason::Terminated);
        }
        match self.polecat().spec.desired_state {
            DesiredState::Working if self.rig_rests() => Wanted::Stop(Reason::RigSuspended),
            DesiredState::Working => Wanted::Work,
            DesiredState::Idle => Wanted::Stop(Reason::Idle),
            DesiredState::Terminated => Wanted::Stop(Reason::Terminated),
        }
    }

    /// Whether no polecat of its rig may work.
    fn rig_rests(&self) -> bool {
        let rig = self.observed.rig.as_ref();
        rig.is_some_and(|rig| rig.spec.suspend == Suspend::All)
    }

    /// The attempt without an outcome. Between a pod's creation and the status that names it, the pod alone tells; one
    /// of a later attempt than the status knows says that the status is behind.
    fn open_attempt(&self) -> Option<Open> {
        let attempts = self.status().map(|s| s.attempts.as_slice()).unwrap_or_default();
        let known = self.last_number();
        let owned = self.pod().filter(|pod| self.owns(pod));
        let later = owned.and_then(|pod| self.attempt_of(pod));
        if let Some(number) =
            later.filter(|number| *number > known && self.phase() != Some(PolecatPhase::Done))
        {
            return Some(Open {
                number,
                pod_uid: None,
            });
        }
        let open = attempts.last().filter(|last| last.outcome.is_none())?;
        Some(Open {
            number: open.number,
            pod_uid: open.pod_uid.clone(),
        })
    }

    /// Writes the status if it says something new, else waits.
    fn settle(&self, status: PolecatStatus, transition: Option<Transition>, wake: Option<Timestamp>) -> Step {
        if self.status() == Some(&status) {
            Step::Wait(wake)
        } else {
            write_status(status, transition)
        }
    }
}

/// What holds evidence is stopped, if it is not yet, and released when it has ended.
fn clear(pod: &PodView, grace_seconds: i64, now: Timestamp) -> Option<Step> {
    if !pod.holds_evidence() || owner(pod).is_none() {
        return None;
    }
    let uid = pod.uid().to_owned();
    Some(match pod.ending(grace_seconds) {
        Ending::Ended => Step::Act(Act::ReleasePod { uid }),
        Ending::Expected(until) if until <= now => Step::Act(Act::ReleasePod { uid }),
        Ending::Expected(until) if pod.is_deleting() => Step::Wait(Some(until)),
        Ending::Expected(_) | Ending::Alive => delete_or_wait(pod),
    })
}

/// The UID of the polecat that controls the pod.
fn owner(pod: &PodView) -> Option<&str> {
    pod.owner(&Polecat::kind(&()))
}

fn delete_or_wait(pod: &PodView) -> Step {
    if pod.is_deleting() {
        Step::Wait(None)
    } else {
        let uid = pod.uid().to_owned();
        Step::Act(Act::DeletePod { uid })
    }
}

fn name_taken(pod: &PodView) -> Refusal {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Refusal::new(
        Reason::PodNameTaken,
        format!("pod {name:?} exists and belongs to no polecat"),
    )
}

fn failed(refusal: &Refusal) -> Verdict {
    without_evidence(AttemptOutcome::Failed, refusal.reason, &refusal.message)
}

fn without_evidence(outcome: AttemptOutcome, reason: Reason, message: &str) -> Verdict {
    Verdict {
        outcome,
        reason,
        message: message.to_owned(),
        unconfirmed: None,
        evidence: None,
        may_be_lost: None,
        may_have_spent: false,
        supersedes: None,
    }
}

fn write_status(status: PolecatStatus, transition: Option<Transition>) -> Step {
    Step::Act(Act::WriteStatus(Box::new(StatusUpdate {
        status,
        transition,
        ended: None,
        claims: None,
    })))
}

#[cfg(test)]
mod tests;
