//! What the containers' states say of a pod at work.

use gastown_api::reason::Reason;

use crate::pod_view::PodView;

/// The agent runs, or has run and the sidecars are finishing.
#[must_use]
pub fn agent_started(pod: &PodView) -> bool {
    let claude = pod.container(gastown_api::pod::CLAUDE);
    claude.is_some_and(|c| c.state.running.is_some() || c.state.terminated.is_some())
}

/// What the pod is at, in a reason and words.
#[must_use]
pub fn progress_of(pod: &PodView) -> (Reason, String) {
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
#[must_use]
pub fn image_trouble(pod: &PodView) -> Option<String> {
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
