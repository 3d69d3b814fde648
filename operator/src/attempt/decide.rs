//! Decides the next step of the attempt that is under way: its pod is created, followed and stopped.

use gastown_api::budget::Share;
use gastown_api::reason::Reason;
use jiff::{SignedDuration, Timestamp};

use super::act::PodAct;
use super::container_state::{trouble, unschedulable};
use super::evidence::Evidence;
use super::observed::{Observed, PodLookup};
use super::owner::{Open, Owner, Wanted, on_request};
use super::readiness::{Signal, listen};
use super::stop::{clear, delete_or_wait};
use crate::pod_view::{Ending, PodView};
use crate::types::{Refusal, Step, earlier, later};

/// The kubelet's time, after the pod's grace, to report that the pod has ended.
const LAST_WORD: SignedDuration = SignedDuration::from_secs(60);

/// What the attempt that is under way needs next.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'a, A> {
    /// A call about its pod, or nothing.
    Pod(Step<PodAct>),
    /// It has no pod, and is to have one. The owner looks once more whether it may, and creates it if this reconcile has
    /// claimed the attempt. If an earlier one has, nobody can tell any more whether the number had a pod: someone may have
    /// taken its finalizer off before a status named it. So the number is not used, and the next one is claimed.
    Prepare {
        /// Whether this reconcile has claimed the attempt.
        claimed: bool,
    },
    /// Others took off finalizers or labels.
    Restore(A),
    /// Its pod starts or is at work.
    Running {
        /// The pod.
        pod: &'a PodView,
        /// When to look again.
        wake: Option<Timestamp>,
    },
    /// The broker waits for something.
    Parked {
        /// The pod.
        pod: &'a PodView,
        /// For what.
        reason: Reason,
        /// In words.
        message: String,
        /// When to look again.
        wake: Option<Timestamp>,
    },
    /// The broker holds calls until so much of the budget is set aside.
    Asks {
        /// The pod.
        pod: &'a PodView,
        /// How much.
        share: Share,
        /// When to look again.
        wake: Option<Timestamp>,
    },
    /// The pod is to be stopped, for this. The status says why first, since what is wanted may change while the pod ends,
    /// and another operator may lead by then; once it does, the decision is to delete the pod.
    Stop {
        /// The pod.
        pod: &'a PodView,
        /// Why.
        why: Refusal,
    },
    /// Someone has deleted the pod, and it has not ended.
    Stopping {
        /// The pod.
        pod: &'a PodView,
        /// Whether its kubelet should have reported the end by now: it has lost its node then, and may run there.
        overdue: bool,
        /// Why the operator deletes or deleted it, if it does or did.
        why: Option<Refusal>,
        /// When to look again.
        wake: Option<Timestamp>,
    },
    /// The attempt is over.
    Over(End<'a>),
}

/// How an attempt is over.
#[derive(Clone, Debug, PartialEq)]
pub enum End<'a> {
    /// It was to stop before it had a pod, for this reason.
    NeverStarted(Reason),
    /// It cannot have a pod, or its containers cannot start.
    Failed(Refusal),
    /// The pod went although its finalizer held it: someone took that off. What was wanted of it then.
    Lost(Wanted),
    /// The pod ended, or nobody will report that it has.
    Ended(&'a PodView),
}

/// What the attempt `open` needs next.
pub fn decide<'a, O: Owner, E: Evidence>(
    owner: &O,
    open: &Open,
    seen: &'a Observed<E>,
    now: Timestamp,
) -> Decision<'a, O::Act> {
    let Some(pod) = seen.pod.found() else {
        return without_pod(owner, open, seen);
    };
    if owner.owns(pod) && owner.attempt_of(pod) == Some(open.number) {
        return with_pod(owner, open, seen, pod, now);
    }
    if pod.owner(&owner.kind()).is_none() {
        return Decision::Over(End::Failed(name_taken(pod, &owner.kind())));
    }
    // An earlier attempt's pod, or one of an earlier object of this name, has to go first.
    let cleared = clear(pod, &owner.kind(), owner.shape(), owner.grace_seconds(), now);
    Decision::Pod(cleared.unwrap_or_else(|| delete_or_wait(pod)))
}

/// A pod of the name that an object of this kind gives its own, and that belongs to no such object.
#[must_use]
pub fn name_taken(pod: &PodView, kind: &str) -> Refusal {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Refusal::new(
        Reason::PodNameTaken,
        format!(
            "pod {name:?} exists and belongs to no {}",
            kind.to_ascii_lowercase()
        ),
    )
}

fn without_pod<'a, O: Owner, E: Evidence>(
    owner: &O,
    open: &Open,
    seen: &Observed<E>,
) -> Decision<'a, O::Act> {
    if open.pod_uid.is_some() {
        if seen.pod == PodLookup::NotCached {
            return Decision::Pod(Step::Act(PodAct::Look));
        }
        let wanted = owner.request(owner.stopped_for(open).as_ref(), true);
        return Decision::Over(End::Lost(wanted));
    }
    // An earlier reconcile claimed it, and may have made a pod that the cache does not hold yet.
    let claimed = seen.claimed == Some(open.number);
    if !claimed && seen.pod == PodLookup::NotCached {
        return Decision::Pod(Step::Act(PodAct::Look));
    }
    if let Wanted::Stop(reason) = owner.wanted() {
        return Decision::Over(End::NeverStarted(reason));
    }
    match &seen.refusal {
        Some(refusal) => Decision::Over(End::Failed(refusal.clone())),
        None => Decision::Prepare { claimed },
    }
}

fn with_pod<'a, O: Owner, E: Evidence>(
    owner: &O,
    open: &Open,
    seen: &Observed<E>,
    pod: &'a PodView,
    now: Timestamp,
) -> Decision<'a, O::Act> {
    let wake = match pod.ending(owner.shape(), owner.grace_seconds()) {
        Ending::Ended => return Decision::Over(End::Ended(pod)),
        Ending::Expected(until) if until <= now => return Decision::Over(End::Ended(pod)),
        Ending::Expected(until) => Some(until),
        Ending::Alive => None,
    };
    let wanted = match owner.wanted() {
        Wanted::Work => None,
        Wanted::Stop(reason) => Some(on_request(reason)),
    };
    if pod.is_deleting() {
        return stopping(pod, owner.stopped_for(open).or(wanted), wake, now);
    }
    if !seen.restored
        && let Some(act) = owner.restore_marks(open.number, pod)
    {
        return Decision::Restore(act);
    }
    let wanted = wanted.or_else(|| owner.stopped_for(open));
    if let Some(why) = wanted.or_else(|| held(owner, pod)) {
        return stop(owner, open, pod, why);
    }
    let (refusal, patience) = flaw(owner, pod, now);
    if let Some(refusal) = refusal {
        // A main container that has begun is stopped first, so that its work is saved.
        return if pod.was_started(owner.shape().main) {
            stop(owner, open, pod, refusal)
        } else {
            Decision::Over(End::Failed(refusal))
        };
    }
    at_work(owner, open, seen, pod, earlier(wake, patience), now)
}

/// What the broker of a pod that is well says.
fn at_work<'a, O: Owner, E: Evidence>(
    owner: &O,
    open: &Open,
    seen: &Observed<E>,
    pod: &'a PodView,
    wake: Option<Timestamp>,
    now: Timestamp,
) -> Decision<'a, O::Act> {
    match listen(pod, owner.shape(), open.number, seen.report.as_ref(), now) {
        Signal::Quiet => Decision::Running { pod, wake },
        Signal::Later(at) => Decision::Running {
            pod,
            wake: earlier(wake, Some(at)),
        },
        Signal::Unread => Decision::Pod(Step::Act(PodAct::ReadBroker {
            uid: pod.uid().to_owned(),
            attempt: open.number,
        })),
        Signal::Parked {
            reason,
            message,
            wake,
        } => Decision::Parked {
            pod,
            reason,
            message,
            wake,
        },
        Signal::Asks { share, again } => Decision::Asks {
            pod,
            share,
            wake: earlier(wake, Some(again)),
        },
        Signal::Stopped { reason, message } => stop(owner, open, pod, Refusal::new(reason, message)),
    }
}

fn stop<'a, O: Owner>(owner: &O, open: &Open, pod: &'a PodView, why: Refusal) -> Decision<'a, O::Act> {
    if owner.stopped_for(open).is_some() {
        Decision::Pod(delete_or_wait(pod))
    } else {
        Decision::Stop { pod, why }
    }
}

/// A kubelet that does not report the end long after the grace has lost its node; the pod may be running there.
fn stopping<A>(
    pod: &PodView,
    why: Option<Refusal>,
    wake: Option<Timestamp>,
    now: Timestamp,
) -> Decision<'_, A> {
    let deadline = pod.metadata.deletion_timestamp.as_ref();
    let reported = deadline.map(|at| later(at.0, LAST_WORD));
    let overdue = reported.is_some_and(|at| at <= now);
    Decision::Stopping {
        pod,
        overdue,
        why,
        wake: if overdue { wake } else { earlier(wake, reported) },
    }
}

/// A container of someone else's that keeps the pod alive after the main one has ended: one that a policy injected, or one
/// for debugging. The sidecars that save and tell are stopped only after all such containers, so the pod is deleted.
fn held(owner: &impl Owner, pod: &PodView) -> Option<Refusal> {
    let shape = owner.shape();
    pod.terminated(shape.main)?;
    let others = pod.strangers(shape).find(|c| c.state.terminated.is_none())?;
    let words = format!(
        "container {} has ended, and container {:?} keeps the pod alive",
        shape.main, others.name
    );
    Some(Refusal::new(Reason::Stopping, words))
}

/// What the attempt is given up for, or until when trouble may heal. Capacity is waited for as long as anything that a pod
/// may be parked for.
fn flaw(owner: &impl Owner, pod: &PodView, now: Timestamp) -> (Option<Refusal>, Option<Timestamp>) {
    if let Some(message) = unschedulable(pod) {
        let created = pod.metadata.creation_timestamp.as_ref();
        let until = created.map(|at| later(at.0, owner.longest_wait_for_a_node()));
        let is_over = until.is_some_and(|until| until <= now);
        return (
            is_over.then(|| Refusal::new(Reason::Unschedulable, message)),
            until,
        );
    }
    match trouble(pod, owner.shape(), owner.has_own_image()) {
        None => (None, None),
        Some(trouble) if trouble.is_over(now) => (Some(trouble.refusal), None),
        Some(trouble) => (None, trouble.until),
    }
}
