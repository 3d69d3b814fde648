//! Why an attempt failed, as far as its pod and its containers' states tell: the pod's own reason first, then the
//! containers'. Restart counts and last states mislead.

use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;

use super::container_state::cannot_start;
use crate::pod_view::{ContainerView, PodView, Shape, TerminatedView};
use crate::types::Refusal;

/// The kubelet's reason for a container that the kernel killed.
pub const OOM_KILLED: &str = "OOMKilled";
/// The exit code of a program that SIGTERM ended.
const SIGTERM: i32 = 128 + 15;
/// Why the kubelet ends a pod that runs, besides its deadline.
pub const KUBELETS_ENDS: [&str; 4] = ["Evicted", "Preempting", "NodeShutdown", "Terminated"];

/// A reason, and words.
pub type Why = (Reason, String);

/// What is known of a failed attempt besides its pod.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The containers of the pod.
    pub shape: Shape,
    /// The broker's last state; none: it left no evidence.
    pub broker: Option<&'a BrokerState>,
    /// Why else than on request the operator deleted the pod, if it did: whoever deletes a pod, its main container did not
    /// fail by that.
    pub given_up: Option<&'a Refusal>,
    /// Whether the main container runs an image that is not the operator's.
    pub own_image: bool,
}

/// Why an attempt failed; none: nothing but its main container says. `of_the_kind` says what only the kind knows of its
/// containers' ends: it comes after what the pod says of itself, and before what holds for containers of any kind.
pub fn failure(pod: &PodView, known: &Known<'_>, of_the_kind: impl FnOnce() -> Option<Why>) -> Option<Why> {
    if let Some(BrokerState::Stopped { reason, message }) = known.broker {
        return Some((*reason, message.clone()));
    }
    let ended_before = known.given_up.is_some_and(|why| why.reason == Reason::Stopping);
    if let Some(why) = known.given_up.filter(|_| !ended_before) {
        return Some((why.reason, why.message.clone()));
    }
    of_pod(pod, known.shape)
        .or_else(|| start(pod, known))
        .or_else(of_the_kind)
        .or_else(|| main_out_of_memory(pod, known.shape))
        .or_else(|| sidecar_out_of_memory(pod, known))
        .or_else(|| deletion(pod, known.shape).filter(|_| !ended_before))
}

/// The pod's own reason, and evictions that have none but the condition `DisruptionTarget`. The kubelet's other
/// reasons are of pods that it did not take, such as `OutOfcpu` or `UnexpectedAdmissionError`.
#[must_use]
pub fn of_pod(pod: &PodView, shape: Shape) -> Option<Why> {
    let status = &pod.status;
    let message = status.message.clone().unwrap_or_default();
    match status.reason.as_deref() {
        Some("DeadlineExceeded") => return Some((Reason::DeadlineExceeded, message)),
        Some("NodeLost") => return Some((Reason::NodeLost, message)),
        Some(ended) if KUBELETS_ENDS.contains(&ended) => return Some((Reason::Evicted, message)),
        Some(refused) if pod.status.phase.as_deref() == Some("Failed") => {
            return Some((Reason::Evicted, format!("{refused}: {message}")));
        }
        _ => {}
    }
    let disrupted = pod.condition("DisruptionTarget").filter(|c| c.status == "True")?;
    let why = disrupted.reason.as_deref().unwrap_or("DisruptionTarget");
    let words = disrupted.message.as_deref().unwrap_or_default();
    // A taint also evicts from a node that is well; then the kubelet reports how the main container ended.
    let is_lost = match why {
        "DeletionByPodGC" => true,
        "DeletionByTaintManager" => pod.terminated(shape.main).is_none(),
        _ => false,
    };
    let reason = if is_lost {
        Reason::NodeLost
    } else {
        Reason::Evicted
    };
    Some((reason, format!("{why}: {words}")))
}

/// The container runtime could not start the container: its program is not in the image, or not for this machine.
fn start(pod: &PodView, known: &Known<'_>) -> Option<Why> {
    let failed = |container: &&ContainerView| {
        container
            .state
            .terminated
            .as_ref()
            .is_some_and(TerminatedView::never_started)
    };
    let container = pod.containers().find(failed)?;
    let end = container.state.terminated.as_ref()?;
    let (why, words) = (end.reason.as_deref(), end.message.as_deref());
    let (name, why, words) = (
        &container.name,
        why.unwrap_or_default(),
        words.unwrap_or_default(),
    );
    Some((
        cannot_start(name, known.shape, known.own_image),
        format!("container {name}: {why}: {words}"),
    ))
}

/// How a container ended that the kernel killed for want of memory. On cgroup v2 all of a container is killed at once. On
/// v1 one process of it is, the container is marked all the same, and it may even exit with 0.
#[must_use]
pub fn killed_for_memory<'a>(pod: &'a PodView, name: &str) -> Option<&'a TerminatedView> {
    // A container that ended by SIGTERM was not killed: the runtime counts every kill of its life.
    pod.terminated(name)
        .filter(|end| end.reason.as_deref() == Some(OOM_KILLED) && end.exit_code != SIGTERM)
}

fn main_out_of_memory(pod: &PodView, shape: Shape) -> Option<Why> {
    killed_for_memory(pod, shape.main)?;
    Some((
        Reason::OutOfMemory,
        format!("container {} was killed", shape.main),
    ))
}

/// A sidecar that was killed earlier was started again: that counts only where its evidence is missing.
fn sidecar_out_of_memory(pod: &PodView, known: &Known<'_>) -> Option<Why> {
    let words = |name: &&str| {
        if let Some(end) = killed_for_memory(pod, name) {
            return Some(if end.exit_code == 137 {
                format!("container {name} was killed")
            } else {
                format!("a process that container {name} had started was killed")
            });
        }
        let before = pod.container(name)?.last_state.terminated.as_ref()?;
        let killed = before.reason.as_deref() == Some(OOM_KILLED) && known.broker.is_none();
        killed.then(|| format!("container {name} was killed and started again"))
    };
    let words = known.shape.sidecars.iter().find_map(words)?;
    Some((Reason::SidecarOutOfMemory, words))
}

/// A main container that was cut short by a deletion nobody here asked for did not fail.
fn deletion(pod: &PodView, shape: Shape) -> Option<Why> {
    let cut_short = pod.terminated(shape.main).is_none_or(|t| t.exit_code != 0);
    let deleted = pod.is_deleting() && cut_short;
    deleted.then(|| {
        (
            Reason::PodDeleted,
            "the pod was deleted while it was at work".to_owned(),
        )
    })
}
