//! The next step of a polecat: a pure function of what was observed and the time. The driver carries out the step,
//! observes its result, and asks again until there is nothing to do but wait.
//!
//! The table of `desiredState` against phases is in the documentation of `gastown_api::polecat`.

mod close;
mod image;
mod marks;
mod no_attempt;
mod open_attempt;
mod owner;
mod step;
mod stop;

use gastown_api::polecat::{AttemptOutcome, Polecat, PolecatPhase, PolecatStatus};
use gastown_api::reason::Reason;
use jiff::Timestamp;
use kube::Resource as _;

pub use self::step::{Act, Observed, PlanPod, StatusUpdate, Step};
use super::build::pod::SHAPE;
use super::classify::Classification;
use super::retry::backoff_limit;
use super::status::StatusBuilder;
use crate::attempt::{Open, Owner as _, PodAct, clear};
use crate::pod_view::PodView;
use crate::types::{self, Refusal, Settings, Transition, earlier, whole_seconds};

/// The next step.
pub fn next(observed: &Observed, settings: &Settings, now: Timestamp) -> Result<Step, PlanPod> {
    let now = whole_seconds(now);
    let plan = Plan {
        observed,
        settings,
        now,
        builder: StatusBuilder {
            polecat: &observed.polecat,
            rig_found: observed.rig.is_some(),
            backoff_limit: backoff_limit(&observed.polecat, observed.rig.as_deref(), &settings.config),
            now,
        },
    };
    let step = match plan.open_attempt() {
        Some(attempt) => plan.reconcile_attempt(&attempt)?,
        None => plan.reconcile_without_attempt()?,
    };
    Ok(match step {
        Step::Wait(wake) => Step::Wait(earlier(wake, observed.lends_at)),
        act @ Step::Act(_) => act,
    })
}

/// The next step for a pod whose polecat is gone.
#[must_use]
pub fn next_of_orphan(pod: &PodView, settings: &Settings, now: Timestamp) -> types::Step<PodAct> {
    let grace = i64::from(settings.config.grace_seconds);
    clear(pod, &Polecat::kind(&()), SHAPE, grace, now).unwrap_or(types::Step::Wait(None))
}

struct Plan<'a> {
    observed: &'a Observed,
    settings: &'a Settings,
    now: Timestamp,
    builder: StatusBuilder<'a>,
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
        self.observed.attempt.pod.found()
    }

    fn is_deleting(&self) -> bool {
        self.polecat().metadata.deletion_timestamp.is_some()
    }

    /// The attempt without an outcome. Between the creation of a pod and the status that names it, only the pod shows
    /// the attempt: if the pod is of a later attempt than the status knows, the status is behind.
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

    /// Writes the status if it differs from the current one, else waits.
    fn write_or_wait(
        &self,
        status: PolecatStatus,
        transition: Option<Transition>,
        wake: Option<Timestamp>,
    ) -> Step {
        if self.status() == Some(&status) {
            Step::Wait(wake)
        } else {
            write_status(status, transition)
        }
    }
}

fn failed(refusal: &Refusal) -> Classification {
    without_evidence(AttemptOutcome::Failed, refusal.reason, &refusal.message)
}

fn without_evidence(outcome: AttemptOutcome, reason: Reason, message: &str) -> Classification {
    Classification {
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
