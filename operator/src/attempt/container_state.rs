//! What the containers' states say of a pod at work.

use gastown_api::reason::Reason;
use jiff::{SignedDuration, Timestamp};

use crate::pod_view::{ContainerView, PodView, Shape};
use crate::types::{Refusal, later};

/// How long trouble that may heal is given: a ConfigMap that is applied after the polecat, a registry that restarts.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// The restarts after which a sidecar is given up: the kubelet's pauses have grown to minutes by then.
const RESTARTS: i32 = 5;

/// Why no node takes the pod, in the scheduler's words.
#[must_use]
pub fn unschedulable(pod: &PodView) -> Option<String> {
    let condition = pod
        .condition("PodScheduled")
        .filter(|c| c.status == "False" && c.reason.as_deref() == Some("Unschedulable"));
    condition.map(|c| c.message.clone().unwrap_or_default())
}

/// A container that does not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the attempt fails for.
    pub refusal: Refusal,
    /// Until when it may heal; none: it will not, or nobody knows since when it lasts.
    pub until: Option<Timestamp>,
    /// Whether it may heal.
    pub may_heal: bool,
}

impl Trouble {
    /// Whether the attempt is given up at `now`.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        !self.may_heal || self.until.is_some_and(|until| until <= now)
    }
}

/// The first container that does not come up; `own_image` says whether the main one runs an image that is not the
/// operator's.
#[must_use]
pub fn trouble(pod: &PodView, shape: Shape, own_image: bool) -> Option<Trouble> {
    pod.containers()
        .find_map(|container| trouble_of(pod, shape, container, own_image))
}

/// The kubelet's reasons, as `pkg/kubelet/images` and `pkg/kubelet/container` of Kubernetes name them.
fn trouble_of(pod: &PodView, shape: Shape, container: &ContainerView, own_image: bool) -> Option<Trouble> {
    let waiting = container.state.waiting.as_ref()?;
    let kubelets = waiting.reason.as_deref()?;
    let (reason, may_heal) = match kubelets {
        "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" | "SignatureValidationFailed" => {
            (Reason::ImagePullFailed, false)
        }
        "ErrImagePull" | "RegistryUnavailable" | "ImageInspectError" => (Reason::ImagePullFailed, true),
        "CreateContainerConfigError" => (Reason::ContainerConfigInvalid, true),
        "CreateContainerError" | "RunContainerError" | "StartError" => {
            (cannot_start(&container.name, shape, own_image), true)
        }
        "CrashLoopBackOff" if container.restart_count >= RESTARTS => (broken_down(container), false),
        _ => return None,
    };
    let message = waiting.message.as_deref().unwrap_or_default();
    Some(Trouble {
        refusal: Refusal::new(
            reason,
            format!("container {}: {kubelets}: {message}", container.name),
        ),
        until: since(pod, shape, &container.name).map(|since| later(since, PATIENCE)),
        may_heal,
    })
}

/// Every other container runs the operator's own image, with the same volumes and rights: what only an image of others
/// cannot do is the image's fault.
#[must_use]
pub fn cannot_start(container: &str, shape: Shape, own_image: bool) -> Reason {
    if own_image && container == shape.main {
        Reason::ImageIsNotAnAgent
    } else {
        Reason::ContainerCannotStart
    }
}

fn broken_down(container: &ContainerView) -> Reason {
    let last = container.last_state.terminated.as_ref();
    if last.is_some_and(|t| t.reason.as_deref() == Some("OOMKilled")) {
        Reason::SidecarOutOfMemory
    } else {
        Reason::ContainerCannotStart
    }
}

/// Since when the container could run: the main one after the last init container, which may have waited long for a
/// secret.
fn since(pod: &PodView, shape: Shape, container: &str) -> Option<Timestamp> {
    let last = shape.init.last().and_then(|name| pod.terminated(name));
    let prepared = last.and_then(|end| end.finished_at.as_ref());
    let taken = pod
        .status
        .start_time
        .as_ref()
        .or(pod.metadata.creation_timestamp.as_ref());
    let since = if container == shape.main {
        prepared.or(taken)
    } else {
        taken
    };
    since.map(|time| time.0)
}
