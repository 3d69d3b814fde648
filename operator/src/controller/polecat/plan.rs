//! The next step of a polecat: a pure function of what was observed and the time. The driver carries the step out,
//! observes its result, and asks again until there is nothing to do but wait.
//!
//! The table of `desiredState` against phases is in the documentation of `gastown_api::polecat`.

mod doorbell;

use std::collections::BTreeMap;
use std::sync::Arc;

use gastown_api::evidence::Evidence;
use gastown_api::labels;
use gastown_api::polecat::{AttemptOutcome, DesiredState, Polecat, PolecatPhase, PolecatStatus};
use gastown_api::reason::Reason;
use gastown_api::rig::Rig;
use gastown_api::usage::Usage;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use self::doorbell::Ring;
use super::build;
use super::judge::{Verdict, Wanted, judge, last_snapshot};
use super::status::{Canvas, Progress, whole_seconds};
use super::validate::{Refusal, Settings, bead_of, labels_of, task_of, validate};
use crate::pod_view::{Ending, PodView};

/// What is known when a step is planned.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The polecat.
    pub polecat: Arc<Polecat>,
    /// Its Rig, if it exists.
    pub rig: Option<Arc<Rig>>,
    /// The pod of its name.
    pub pod: Sight,
    /// What the broker's log said since the doorbell rang.
    pub word: Option<Word>,
    /// Why the API server refused the pod, just now.
    pub refusal: Option<Refusal>,
}

/// The pod of the polecat's name.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// The cache holds none.
    Unseen,
    /// The API server has none.
    Absent,
    /// It exists.
    Present(Arc<PodView>),
}

/// What the broker's log said.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// The pod it is of.
    pub pod_uid: String,
    /// The last evidence in it, if there was any.
    pub evidence: Option<Evidence>,
    /// When it was read.
    pub read_at: Timestamp,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing, until something changes or the time has come.
    Wait(Option<Timestamp>),
    /// This, and then ask again.
    Act(Act),
}

/// One call of the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Puts finalizer and labels on the polecat, if nobody changed it: claims the first attempt.
    Claim {
        /// All finalizers.
        finalizers: Vec<String>,
        /// The labels to set.
        labels: BTreeMap<String, String>,
    },
    /// Creates the pod.
    CreatePod(Box<Pod>),
    /// Asks the API server whether the pod is really gone.
    LookForPod,
    /// Reads the end of the broker's log.
    ReadBroker {
        /// The pod's UID.
        uid: String,
        /// The attempt the broker speaks of.
        attempt: i32,
    },
    /// Deletes the pod of that UID, with its grace.
    DeletePod {
        /// The pod's UID.
        uid: String,
    },
    /// Takes the finalizer off the pod of that UID: its evidence is in the status.
    ReleasePod {
        /// The pod's UID.
        uid: String,
    },
    /// Takes the finalizer off the polecat.
    ReleasePolecat {
        /// The finalizers that stay.
        finalizers: Vec<String>,
    },
    /// Writes the status, if nobody changed the polecat; then tells of the transition.
    WriteStatus(Box<Report>),
}

/// A status, and what is told about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The status.
    pub status: PolecatStatus,
    /// The event of a transition.
    pub notice: Option<Notice>,
    /// The attempt that ended.
    pub ended: Option<Ended>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether someone should look.
    pub warning: bool,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub note: String,
}

/// An attempt that ended, for the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// What it used.
    pub usage: Usage,
    /// What it cost, in millionths of a US dollar.
    pub cost_micros: Option<i64>,
}

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
            now,
        },
    };
    match plan.open_attempt() {
        Some(attempt) => plan.pursue(&attempt),
        None => plan.rest(),
    }
}

/// The next step for a pod whose polecat is gone.
#[must_use]
pub fn next_of_orphan(pod: &PodView, settings: &Settings, now: Timestamp) -> Option<Act> {
    let grace = i64::from(settings.config.grace_seconds);
    match clear(pod, grace, now)? {
        Step::Act(act) => Some(act),
        Step::Wait(_) => None,
    }
}

impl Act {
    /// Its name in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "Claim",
            Self::CreatePod(_) => "CreatePod",
            Self::LookForPod => "LookForPod",
            Self::ReadBroker { .. } => "ReadBroker",
            Self::DeletePod { .. } => "DeletePod",
            Self::ReleasePod { .. } => "ReleasePod",
            Self::ReleasePolecat { .. } => "ReleasePolecat",
            Self::WriteStatus(_) => "WriteStatus",
        }
    }
}

/// The pod cannot be written down.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the work order as JSON")]
pub struct PlanPod(#[from] serde_json::Error);

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
            Sight::Present(pod) => Some(pod),
            Sight::Unseen | Sight::Absent => None,
        }
    }

    fn is_deleting(&self) -> bool {
        self.polecat().metadata.deletion_timestamp.is_some()
    }

    fn owns(&self, pod: &PodView) -> bool {
        pod.owner().is_some() && pod.owner() == self.polecat().metadata.uid.as_deref()
    }

    /// What is wanted of a pod at work; a deletion ends like `Terminated`.
    fn wanted(&self) -> Wanted {
        if self.is_deleting() {
            return Wanted::Stop(Reason::Terminated);
        }
        match self.polecat().spec.desired_state {
            DesiredState::Working => Wanted::Work,
            DesiredState::Idle => Wanted::Stop(Reason::Idle),
            DesiredState::Terminated => Wanted::Stop(Reason::Terminated),
        }
    }

    /// The attempt without an outcome. Between the first pod's creation and the first status, the pod alone tells.
    fn open_attempt(&self) -> Option<Open> {
        let attempts = self.status().map(|s| s.attempts.as_slice()).unwrap_or_default();
        match attempts.last() {
            Some(last) if last.outcome.is_none() => Some(Open {
                number: last.number,
                pod_uid: last.pod_uid.clone(),
            }),
            Some(_) => None,
            None => {
                let first = self
                    .pod()
                    .filter(|pod| self.owns(pod) && pod.attempt() == Some(1));
                first.map(|_| Open {
                    number: 1,
                    pod_uid: None,
                })
            }
        }
    }

    // An attempt is under way.

    fn pursue(&self, open: &Open) -> Result<Step, PlanPod> {
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

    fn without_pod(&self, open: &Open) -> Result<Step, PlanPod> {
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
            may_be_lost: Some(last_snapshot(None)),
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

    fn close(&self, open: &Open, verdict: &Verdict) -> Step {
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

    // No attempt is under way.

    fn rest(&self) -> Result<Step, PlanPod> {
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

    fn clear(&self, pod: &PodView) -> Option<Step> {
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

    fn reason_before(&self) -> Option<&str> {
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
            return Ok(self.write(self.canvas.claimed(number, &work), None));
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

    /// Writes the status if it says something new, else waits.
    fn settle(&self, status: PolecatStatus, notice: Option<Notice>, wake: Option<Timestamp>) -> Step {
        if self.status() == Some(&status) {
            Step::Wait(wake)
        } else {
            self.write(status, notice)
        }
    }

    fn write(&self, status: PolecatStatus, notice: Option<Notice>) -> Step {
        Step::Act(Act::WriteStatus(Box::new(Report {
            status,
            notice,
            ended: None,
        })))
    }
}

/// What holds evidence is stopped, if it is not yet, and released when it has ended.
fn clear(pod: &PodView, grace_seconds: i64, now: Timestamp) -> Option<Step> {
    if !pod.holds_evidence() || pod.owner().is_none() {
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
        evidence: None,
        may_be_lost: None,
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

/// The agent runs, or has run and the sidecars are finishing.
fn agent_started(pod: &PodView) -> bool {
    let claude = pod.container(gastown_api::pod::CLAUDE);
    claude.is_some_and(|c| c.state.running.is_some() || c.state.terminated.is_some())
}

fn progress_of(pod: &PodView) -> (Reason, String) {
    if agent_started(pod) {
        return (Reason::AgentRunning, String::new());
    }
    let unschedulable = pod
        .condition("PodScheduled")
        .filter(|c| c.status == "False" && c.reason.as_deref() == Some("Unschedulable"));
    if let Some(condition) = unschedulable {
        return (
            Reason::Unschedulable,
            condition.message.clone().unwrap_or_default(),
        );
    }
    (Reason::PodStarting, trouble_at_start(pod).unwrap_or_default())
}

/// Such as `CreateContainerConfigError`: it may heal, and until then the message says what it is.
fn trouble_at_start(pod: &PodView) -> Option<String> {
    pod.containers().find_map(|container| {
        let waiting = container.state.waiting.as_ref()?;
        let reason = waiting
            .reason
            .as_deref()
            .filter(|r| r.ends_with("Error") && *r != "ErrImagePull")?;
        let message = waiting.message.as_deref().unwrap_or_default();
        Some(format!("container {}: {reason}: {message}", container.name))
    })
}

/// The kubelet tried and failed for good, or waits before it tries again.
fn image_trouble(pod: &PodView) -> Option<String> {
    pod.containers().find_map(|container| {
        let waiting = container.state.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let hopeless = matches!(
            reason,
            "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName"
        );
        let message = waiting.message.as_deref().unwrap_or_default();
        hopeless.then(|| format!("container {}: {reason}: {message}", container.name))
    })
}

#[cfg(test)]
mod tests;
