//! What the status says: phase, conditions, attempts. Pure functions of the status before and of what the plan found.

mod attempts;
mod conditions;

use gastown_api::budget::{Amount, Share};
use gastown_api::condition::{self, Assertion};
use gastown_api::evidence::Evidence;
use gastown_api::labels;
use gastown_api::polecat::{Attempt, AttemptOutcome, Polecat, PolecatPhase, PolecatStatus};
use gastown_api::reason::Reason;
use gastown_api::usage::Usage;
use jiff::Timestamp;
use kube::ResourceExt as _;

use self::attempts::{
    close_attempt, forget_superseded, keep_last, new_attempt, shortened, take_charge, take_evidence,
    take_last_report,
};
pub use self::conditions::announcement;
use self::conditions::with_remedy;
use super::classify::Classification;
use super::retry::{coming, reason_of};
use super::validate::Work;
use crate::attempt::retry::{self, Coming, Retry};
use crate::types::Refusal;

/// What every status is drawn from.
#[derive(Clone, Copy)]
pub struct StatusBuilder<'a> {
    /// The polecat with the status before.
    pub polecat: &'a Polecat,
    /// Whether its Rig exists.
    pub rig_found: bool,
    /// How often a failed attempt is repeated by itself.
    pub backoff_limit: i32,
    /// Now, in whole seconds: the API keeps no more.
    pub now: Timestamp,
}

/// What an attempt has spent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spending {
    /// Its tokens.
    pub usage: Usage,
    /// Its cost; none where a model without a price was called.
    pub cost_micros: Option<u64>,
}

impl Spending {
    /// What the broker says.
    #[must_use]
    pub fn of(evidence: &Evidence) -> Self {
        Self {
            usage: evidence.usage,
            cost_micros: evidence.cost_micros,
        }
    }
}

/// What the pod of an open attempt does.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The UID of the pod, once it exists.
    pub pod_uid: Option<String>,
    /// Whether the agent runs.
    pub active: bool,
    /// `PodStarting`, `AgentRunning`, `Stopping`, `Unschedulable`, `NodeLost`, or what it is parked for.
    pub reason: Reason,
    /// In words.
    pub message: String,
    /// Whether the broker holds the agent's calls.
    pub parked: bool,
    /// Why the agent's work cannot be saved while it goes on.
    pub failing_checkpoints: Option<String>,
    /// Why the operator stops the pod, if it does; the attempt says so until it has ended.
    pub stopped_for: Option<Refusal>,
}

impl Progress {
    /// Whether it goes on without trouble.
    fn is_well(&self) -> bool {
        !self.parked && !matches!(self.reason, Reason::Unschedulable | Reason::NodeLost)
    }
}

impl StatusBuilder<'_> {
    fn before(&self) -> PolecatStatus {
        self.polecat.status.clone().unwrap_or_default()
    }

    /// No pod is wanted, or there is nothing to do.
    #[must_use]
    pub fn idle(&self, reason: Reason) -> PolecatStatus {
        let mut status = self.before();
        status.phase = Some(PolecatPhase::Idle);
        status.pod_active = false;
        self.finish(status, true, reason, reason.sentence(), vec![])
    }

    /// No attempt can start.
    #[must_use]
    pub fn stuck(&self, refusal: &Refusal) -> PolecatStatus {
        let mut status = self.before();
        status.phase = Some(PolecatPhase::Stuck);
        status.pod_active = false;
        self.finish(status, false, refusal.reason, &refusal.message, vec![])
    }

    /// No attempt can start yet, and nobody has to do anything to it.
    #[must_use]
    pub fn parked(&self, refusal: &Refusal) -> PolecatStatus {
        let mut status = self.before();
        status.phase = Some(PolecatPhase::Working);
        status.pod_active = false;
        let parked = Assertion::new(condition::PARKED, true, refusal.reason, &refusal.message);
        self.finish(status, false, refusal.reason, &refusal.message, vec![parked])
    }

    /// It waits for a slot. An attempt that failed stays what it was: the one that waits follows it.
    #[must_use]
    pub fn queued(&self, reason: Reason) -> PolecatStatus {
        let mut status = self.before();
        let message = with_remedy(false, reason, "");
        let queued = vec![Assertion::new(condition::QUEUED, true, reason, message)];
        let last = status.attempts.last();
        let failed = last.and_then(|a| Some((reason_of(a)?, a.message.clone()?)));
        if let Some((failed, message)) = failed.filter(|_| status.phase == Some(PolecatPhase::Stuck)) {
            let message = self.with_outlook(&status, &message);
            return self.finish(status, false, failed, &message, queued);
        }
        status.phase = Some(PolecatPhase::Idle);
        status.pod_active = false;
        self.finish(status, true, reason, reason.sentence(), queued)
    }

    /// The last attempt failed; the message says whether another one follows by itself, and when.
    #[must_use]
    pub fn failed(&self) -> PolecatStatus {
        let status = self.before();
        let last = status.attempts.last();
        let Some((reason, message)) = last.and_then(|a| Some((reason_of(a)?, a.message.clone()?))) else {
            return self.unchanged();
        };
        let message = self.with_outlook(&status, &message);
        self.finish(status, false, reason, &message, vec![])
    }

    /// The attempt that follows the last one of `status` by itself.
    #[must_use]
    pub fn coming(&self, status: &PolecatStatus) -> Option<Coming> {
        let uid = self.polecat.metadata.uid.as_deref().unwrap_or_default();
        coming(status, uid, self.backoff_limit)
    }

    /// A failure, and what comes after it.
    fn with_outlook(&self, status: &PolecatStatus, message: &str) -> String {
        if let Some(coming) = self.coming(status) {
            return format!("{message}; {}", announcement(&coming));
        }
        let last = status.attempts.last();
        let retries = last.and_then(|a| a.retry).unwrap_or(0);
        let limited = last
            .and_then(reason_of)
            .is_some_and(|r| retry::retry(r) == Retry::Limited);
        match (limited, retries) {
            (false, _) | (true, 0) => message.to_owned(),
            (true, 1) => format!("{message}; given up after 1 retry"),
            (true, n) => format!("{message}; given up after {n} retries"),
        }
    }

    /// Ended for good, as `message` says.
    #[must_use]
    pub fn terminated(&self, message: &str) -> PolecatStatus {
        let mut status = self.before();
        status.phase = Some(PolecatPhase::Terminated);
        status.pod_active = false;
        self.finish(status, true, Reason::Terminated, message, vec![])
    }

    /// The same, for a newer generation of the spec.
    #[must_use]
    pub fn unchanged(&self) -> PolecatStatus {
        let mut status = self.before();
        status.observed_generation = self.polecat.metadata.generation;
        status
    }

    /// Claims attempt `number`, in the place of one whose pod nobody has seen. `retry` counts those in a row that nobody
    /// asked for.
    #[must_use]
    pub fn claimed(&self, number: i32, retry: Option<i32>, work: &Work) -> PolecatStatus {
        let progress = Progress {
            pod_uid: None,
            active: false,
            reason: Reason::PodStarting,
            message: String::new(),
            parked: false,
            failing_checkpoints: None,
            stopped_for: None,
        };
        let mut status = self.working(number, Some(work), &progress);
        // What waited for room without a pod is no history.
        let waited = |a: &Attempt| a.pod_uid.is_none() && a.outcome == Some(AttemptOutcome::Failed);
        let unfit = |a: &Attempt| reason_of(a).is_some_and(|r| retry::retry(r) == Retry::UntilItFits);
        status.attempts.retain(|a| !(waited(a) && unfit(a)));
        let unseen = |a: &Attempt| a.outcome.is_none() && a.pod_uid.is_none();
        status.attempts.retain(|a| a.number == number || !unseen(a));
        if let Some(attempt) = status.attempts.iter_mut().find(|a| a.number == number) {
            attempt.retry = retry;
        }
        status
    }

    /// Attempt `number` is at work; `work` fills in what is effective when the attempt is new.
    #[must_use]
    pub fn working(&self, number: i32, work: Option<&Work>, progress: &Progress) -> PolecatStatus {
        let mut status = self.before();
        let is_new = status.attempts.iter().all(|a| a.number != number);
        if is_new {
            status.attempts.push(new_attempt(number, self.now));
            keep_last(&mut status.attempts);
            status.retry_handled = self.retry_requested().or(status.retry_handled);
            if let Some(work) = work {
                self.fill_in(&mut status, work);
            }
        }
        if let Some(attempt) = status.attempts.iter_mut().find(|a| a.number == number) {
            attempt.pod_uid = progress.pod_uid.clone().or(attempt.pod_uid.take());
            if let Some(why) = &progress.stopped_for {
                attempt.reason = Some(why.reason.as_str().to_owned());
                attempt.message = Some(shortened(&why.message));
            }
        }
        status.phase = Some(PolecatPhase::Working);
        status.pod_active = progress.active;
        let message = if progress.message.is_empty() {
            progress.reason.sentence()
        } else {
            &progress.message
        };
        let parked = progress
            .parked
            .then(|| Assertion::new(condition::PARKED, true, progress.reason, message));
        let failing = progress.failing_checkpoints.as_deref().map(|words| {
            let message = with_remedy(false, Reason::CheckpointFailed, words);
            Assertion::new(
                condition::CHECKPOINTS_FAILING,
                true,
                Reason::CheckpointFailed,
                message,
            )
        });
        self.finish(
            status,
            progress.is_well(),
            progress.reason,
            message,
            parked.into_iter().chain(failing).collect(),
        )
    }

    /// What of the budget is set aside for attempt `number`, which has spent `spent` so far.
    #[must_use]
    pub fn granted(&self, number: i32, granted: Share, spent: Spending) -> PolecatStatus {
        let mut status = self.before();
        if let Some(attempt) = status.attempts.iter_mut().find(|a| a.number == number) {
            attempt.granted = Some(granted);
            attempt.usage = Some(spent.usage);
            attempt.cost_micros = spent.cost_micros.and_then(|micros| i64::try_from(micros).ok());
        }
        status
    }

    /// Attempt `number` ended. Delivered is Done and Failed is Stuck; what was stopped goes where it was wanted.
    #[must_use]
    pub fn closed(
        &self,
        number: i32,
        classification: &Classification,
        stopped_as: PolecatPhase,
        charged: Amount,
    ) -> PolecatStatus {
        let mut status = self.before();
        if status.attempts.iter().all(|a| a.number != number) {
            status.attempts.push(new_attempt(number, self.now));
            keep_last(&mut status.attempts);
            status.retry_handled = self.retry_requested().or(status.retry_handled);
        }
        match &classification.evidence {
            Some(evidence) => take_evidence(&mut status, evidence),
            None => take_last_report(&mut status, number),
        }
        take_charge(&mut status, charged);
        if classification.outcome != AttemptOutcome::Delivered {
            forget_superseded(&mut status, classification);
        }
        if let Some(attempt) = status.attempts.iter_mut().find(|a| a.number == number) {
            close_attempt(attempt, classification, self.now);
        }
        status.phase = Some(match classification.outcome {
            AttemptOutcome::Delivered => PolecatPhase::Done,
            AttemptOutcome::Failed => PolecatPhase::Stuck,
            AttemptOutcome::Stopped => stopped_as,
        });
        status.pod_active = false;
        let lost = classification.may_be_lost.as_ref();
        let lost =
            lost.map(|what| Assertion::new(condition::WORK_MAY_BE_LOST, true, classification.reason, what));
        let holds = classification.outcome != AttemptOutcome::Failed;
        // What was stopped on request says the same as what was never started, and what failed the same as a look at
        // it later: the status then settles in one write.
        let message = match classification.outcome {
            AttemptOutcome::Stopped => classification.reason.sentence().to_owned(),
            AttemptOutcome::Delivered => classification.message.clone(),
            AttemptOutcome::Failed => self.with_outlook(&status, &shortened(&classification.message)),
        };
        self.finish(
            status,
            holds,
            classification.reason,
            &message,
            lost.into_iter().collect(),
        )
    }

    fn fill_in(&self, status: &mut PolecatStatus, work: &Work) {
        let left = Share {
            tokens: work.tokens_left,
            cost_micros: work.micros_left,
        };
        if let Some(attempt) = status.attempts.last_mut() {
            attempt.granted = Some(left.first_quarter()).filter(|share| share.is_limited());
        }

        status.assigned_bead.clone_from(&work.bead);
        status.branch = Some(work.head_branch.as_str().to_owned());
        status.base_branch = Some(work.base_branch.as_str().to_owned());
        status.repository = Some(work.repository.as_str().to_owned());
        status.pod_name = Some(gastown_api::pod::pod_name(&self.polecat.name_any()));
        status.agent = Some(work.agent.name().to_owned());
        status.agent_image = Some(work.image.clone());
        status.agent_model.clone_from(&work.model);
    }

    fn retry_requested(&self) -> Option<String> {
        self.polecat
            .annotations()
            .get(labels::RETRY_REQUESTED_AT)
            .cloned()
    }
}
