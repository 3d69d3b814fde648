//! Pods that do not come up, and pods whose node does not answer.

use super::*;

/// The status of a pod that was taken at second 1000 and cloned at 1005, with `container` waiting.
fn waiting(container: &str, reason: &str, restarts: i32) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": "the runtime's words"}});
    let mut status = json!({
        "phase": "Pending", "startTime": "1970-01-01T00:16:40Z",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "initContainerStatuses": [
            {"name": "broker", "ready": true, "state": {"running": {}}},
            {"name": "keeper", "ready": true, "state": {"running": {}}},
            {"name": "git-init", "state": {"terminated": {"exitCode": 0, "finishedAt": "1970-01-01T00:16:45Z"}}},
        ],
        "containerStatuses": [{"name": "claude", "state": {"waiting": {"reason": "PodInitializing"}}}],
    });
    for list in ["initContainerStatuses", "containerStatuses"] {
        for status in status[list].as_array_mut().unwrap() {
            if status["name"] == container {
                status["state"] = state.clone();
                status["restartCount"] = json!(restarts);
            }
        }
    }
    status
}

fn started(own_image: bool, status: &Value) -> World {
    let image = own_image.then_some("registry.example/own:1");
    let mut world = World::of(polecat(json!({"spec": {"kubernetes": {"image": image}}})));
    world.settle();
    world.pod_reports(status);
    world
}

#[test]
fn trouble_that_may_heal_is_given_a_minute_and_then_has_a_reason() {
    for (container, kubelets, own_image, reason, minute) in [
        (
            "claude",
            "CreateContainerConfigError",
            false,
            "ContainerConfigInvalid",
            1065,
        ),
        ("claude", "ErrImagePull", true, "ImagePullFailed", 1065),
        ("claude", "RegistryUnavailable", true, "ImagePullFailed", 1065),
        ("claude", "CreateContainerError", true, "ImageIsNotAnAgent", 1065),
        ("claude", "RunContainerError", true, "ImageIsNotAnAgent", 1065),
        (
            "claude",
            "CreateContainerError",
            false,
            "ContainerCannotStart",
            1065,
        ),
        (
            "git-init",
            "CreateContainerError",
            true,
            "ContainerCannotStart",
            1060,
        ),
        ("broker", "ErrImagePull", false, "ImagePullFailed", 1060),
    ] {
        let mut world = started(own_image, &waiting(container, kubelets, 0));
        assert_eq!(world.settle(), Some(at(minute)), "{container} {kubelets}");
        assert_eq!(world.says(), (WORKING, "True", "PodStarting"));
        let message = world.condition("Ready").unwrap().message.clone();
        assert!(message.contains("the runtime's words"), "{message}");
        world.now = minute;
        world.settle();
        assert_eq!(world.says(), (STUCK, "False", reason), "{container} {kubelets}");
        assert!(world.acts.contains(&"DeletePod"));
        assert!(world.condition("WorkMayBeLost").is_none(), "no agent ran");
    }
}

#[test]
fn trouble_that_heals_is_forgotten() {
    let mut world = started(false, &waiting("claude", "CreateContainerConfigError", 0));
    world.settle();
    world.pod_reports(&running());
    world.now = 5000;
    assert_eq!(world.settle(), None);
    assert_eq!(world.says(), (WORKING, "True", "AgentRunning"));
}

#[test]
fn trouble_that_cannot_heal_is_given_no_time() {
    for kubelets in [
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "SignatureValidationFailed",
    ] {
        let mut world = started(false, &waiting("claude", kubelets, 0));
        world.settle();
        assert_eq!(world.says(), (STUCK, "False", "ImagePullFailed"), "{kubelets}");
    }
}

#[test]
fn a_sidecar_that_keeps_breaking_down_is_given_up() {
    let mut status = waiting("broker", "CrashLoopBackOff", 4);
    let mut world = started(false, &status);
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "PodStarting"));
    status["initContainerStatuses"][0]["restartCount"] = json!(5);
    world.pod_reports(&status);
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "ContainerCannotStart"));
    status["initContainerStatuses"][0]["lastState"] =
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let mut world = started(false, &status);
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "SidecarOutOfMemory"));
}

#[test]
fn capacity_is_waited_for_as_long_as_a_pod_may_be_parked() {
    let mut world = World::new();
    world.settle();
    world.pod_changes(json!({"metadata": {"creationTimestamp": "1970-01-01T00:16:40Z"}}));
    world.pod_reports(&json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
    ]}));
    let longest = i64::from(world.settings.config.parking_seconds);
    assert_eq!(world.settle(), Some(at(1000 + longest)));
    assert_eq!(world.says(), (WORKING, "False", "Unschedulable"));
    world.now = 1000 + longest;
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "Unschedulable"));
}

/// The pod is to be gone at second 1120, and its kubelet says nothing more.
fn silent() -> World {
    let mut world = World::at_work();
    world.pod_changes(json!({"metadata": {
        "deletionTimestamp": "1970-01-01T00:18:40Z", "deletionGracePeriodSeconds": 120,
    }}));
    world
}

#[test]
fn a_node_that_does_not_answer_is_named_and_no_second_pod_starts() {
    let mut world = silent();
    assert_eq!(world.settle(), Some(at(1180)));
    assert_eq!(world.says().2, "Stopping");
    world.now = 1180;
    assert_eq!(world.settle(), None);
    assert_eq!(world.says(), (WORKING, "False", "NodeLost"));
    assert!(
        world
            .condition("Ready")
            .unwrap()
            .message
            .contains("delete its Node object"),
        "the message names what to do"
    );
    assert_eq!(world.transitions, [Reason::NodeLost]);
    world.now = 1_000_000;
    world.settle();
    assert_eq!(world.status().attempts.len(), 1);

    // The Node object is deleted: the garbage collection of pods marks the pod and deletes it by force.
    world.pod_changes(json!({"metadata": {"deletionGracePeriodSeconds": 0}, "status": {"phase": "Failed", "conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "PodGC: node no longer exists"},
    ]}}));
    let wake = world.settle().expect("another attempt follows");
    assert_eq!(world.says(), (STUCK, "False", "NodeLost"));
    assert_eq!(world.condition("WorkMayBeLost").unwrap().status, "True");
    assert!(!world.has_pod());
    world.now = wake.as_second();
    world.settle();
    assert_eq!(world.pod().attempt(), Some(2));
}

#[test]
fn a_deletion_by_force_waits_for_the_kubelet_while_there_is_one() {
    let mut world = silent();
    world.pod_changes(json!({"metadata": {"deletionGracePeriodSeconds": 0}}));
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "Stopping"));
    let mut status = ended(137, &evidence(json!({"head": BASE})));
    status["phase"] = json!("Running");
    status["initContainerStatuses"][1]["state"]["terminated"]["exitCode"] = json!(137);
    world.pod_reports(&status);
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "PodDeleted"));
    assert_eq!(world.condition("WorkMayBeLost").unwrap().status, "True");
}

#[test]
fn a_pod_that_never_had_a_node_is_gone_when_it_is_deleted() {
    let mut world = World::new();
    world.settle();
    world.pod_changes(json!({"metadata": {
        "deletionTimestamp": "1970-01-01T00:16:40Z", "deletionGracePeriodSeconds": 0,
    }}));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "PodDeleted"));
    assert!(world.condition("WorkMayBeLost").is_none(), "no agent ran");
}

#[test]
fn a_refused_pod_ends_the_attempt_in_the_servers_words() {
    let mut world = World::new();
    world.refuse = Some(Refusal::new(Reason::QuotaExceeded, "exceeded quota: q"));
    world.settle();
    assert_eq!(world.acts, ["Claim", "CreatePod", "WriteStatus"]);
    assert_eq!(world.says(), (STUCK, "False", "QuotaExceeded"));
    assert!(
        world
            .condition("Ready")
            .unwrap()
            .message
            .contains("exceeded quota: q")
    );
    world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "1"}}}));
    world.refuse = Some(Refusal::new(Reason::AdmissionRefused, "no"));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "AdmissionRefused"));
    assert_eq!(world.status().attempts[0].number, 2);
}

#[test]
fn an_image_that_cannot_be_pulled_ends_the_attempt_and_the_pod() {
    for reason in ["ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"] {
        let mut world = World::new();
        world.settle();
        world.acts.clear();
        world.pod_reports(&json!({"phase": "Pending", "containerStatuses": [
            {"name": "claude", "state": {"waiting": {"reason": reason, "message": "image x"}}},
        ]}));
        world.settle();
        assert_eq!(world.says(), (STUCK, "False", "ImagePullFailed"));
        assert_eq!(world.acts, ["WriteStatus", "DeletePod"]);
        assert!(world.condition("Ready").unwrap().message.contains("image x"));
    }
}

#[test]
fn a_pod_that_no_node_takes_waits_and_heals() {
    let mut world = World::new();
    world.settle();
    world.pod_reports(&json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
    ]}));
    world.settle();
    assert_eq!(world.says(), (WORKING, "False", "Unschedulable"));
    assert!(world.condition("Ready").unwrap().message.contains("0/1 nodes"));
    world.pod_reports(&running());
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "AgentRunning"));
}
