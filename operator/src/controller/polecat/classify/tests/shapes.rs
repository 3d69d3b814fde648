//! Statuses of pods in the shapes that kubelet, containerd, CRI-O and the controllers of Kubernetes give them, on
//! cgroup v1 and v2, and what the operator makes of each.

use super::*;

/// A pod that ended, the reason it must have, and words that its message must hold.
struct Shape {
    name: &'static str,
    status: Value,
    own_image: bool,
    reason: Reason,
    words: &'static str,
}

fn shape(name: &'static str, status: Value, reason: Reason, words: &'static str) -> Shape {
    Shape {
        name,
        status,
        own_image: false,
        reason,
        words,
    }
}

/// All four containers ended, with evidence of no change; `claude` and `broker` changed.
fn after(claude: Value, broker: Value, of_pod: Value) -> Value {
    let mut status = unchanged(1, claude);
    merge(
        &mut status["initContainerStatuses"][0]["state"]["terminated"],
        broker,
    );
    merge(&mut status, of_pod);
    status
}

fn disrupted(reason: &str) -> Value {
    json!({"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "node n1"},
        {"type": "PodScheduled", "status": "True"},
    ]})
}

/// The kubelet's last report before its node went away.
fn last_seen_running(of_pod: Value) -> Value {
    let mut status = running();
    merge(&mut status, of_pod);
    status
}

#[rustfmt::skip]
fn shapes() -> Vec<Shape> {
    const RUNC: &str = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc \
        create failed: unable to start container process: exec: \"polecat\": executable file not found in $PATH: unknown";
    let not_an_agent = after(json!({"exitCode": 128, "reason": "StartError", "message": RUNC}), json!({}), json!({}));
    let killed = |exit: i32, message: Value| json!({"exitCode": exit, "reason": "OOMKilled", "message": message});
    let of_broker_v2 = after(json!({}), json!({"exitCode": 137, "reason": "OOMKilled", "message": null}), json!({}));
    let mut restarted = after(json!({}), json!({"exitCode": 143, "reason": "Error", "message": null}), json!({}));
    merge(&mut restarted["initContainerStatuses"][0], json!({"restartCount": 1, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}));
    vec![
        Shape { own_image: true, ..shape("containerd, no polecat in the image", not_an_agent.clone(), Reason::ImageIsNotAnAgent, "executable file not found") },
        shape("the same of the operator's own image", not_an_agent, Reason::ContainerCannotStart, "StartError"),
        Shape { own_image: true, ..shape("an image for another machine", after(json!({"exitCode": 128, "reason": "StartError", "message": "exec /usr/bin/polecat: exec format error"}), json!({}), json!({})), Reason::ImageIsNotAnAgent, "exec format error") },
        shape("cgroup v2: all of claude", after(killed(137, Value::Null), json!({}), json!({})), Reason::OutOfMemory, "all of it at once"),
        shape("cgroup v1: the agent", after(killed(137, json!(r#"{"agentExit":137,"pushed":false}"#)), json!({}), json!({})), Reason::OutOfMemory, "the agent in container claude was killed"),
        shape("cgroup v1: a child, and the agent failed", after(killed(2, json!(r#"{"agentExit":2,"pushed":true}"#)), json!({}), json!({})), Reason::OutOfMemory, "a process that the agent had started was killed in container claude, and the agent exited with 2"),
        shape("cgroup v1: a child, and the agent ended with 0", after(killed(0, json!(r#"{"agentExit":0,"pushed":true}"#)), json!({}), json!({})), Reason::OutOfMemory, "exited with 0"),
        shape("cgroup v2: the broker", of_broker_v2, Reason::SidecarOutOfMemory, "container broker was killed"),
        shape("cgroup v1: git in the broker", after(json!({}), json!({"reason": "OOMKilled"}), json!({})), Reason::SidecarOutOfMemory, "a process that container broker had started"),
        shape("the broker earlier, and no evidence", restarted, Reason::SidecarOutOfMemory, "killed and started again"),
        shape("node pressure", json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}), Reason::Evicted, "low on resource"),
        shape("an emptyDir over its limit, which has no DisruptionTarget", json!({"phase": "Failed", "reason": "Evicted", "message": "Usage of EmptyDir volume \"workspace\" exceeds the limit \"10Gi\"."}), Reason::Evicted, "workspace"),
        shape("drain", after(json!({"exitCode": 143}), json!({}), disrupted("EvictionByEvictionAPI")), Reason::Evicted, "EvictionByEvictionAPI"),
        shape("preemption", after(json!({"exitCode": 143}), json!({}), disrupted("PreemptionByScheduler")), Reason::Evicted, "PreemptionByScheduler"),
        shape("kubelet's eviction", after(json!({"exitCode": 137}), json!({}), disrupted("TerminationByKubelet")), Reason::Evicted, "TerminationByKubelet"),
        shape("graceful shutdown of the node", after(json!({"exitCode": 143}), json!({}), json!({"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown."})), Reason::Evicted, "imminent node shutdown"),
        shape("a taint on a node that is well", after(json!({"exitCode": 143}), json!({}), disrupted("DeletionByTaintManager")), Reason::Evicted, "DeletionByTaintManager"),
        shape("the kubelet refused the pod", json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"}), Reason::Evicted, "OutOfcpu: Node didn't have"),
        shape("its node was deleted", last_seen_running(merged(disrupted("DeletionByPodGC"), json!({"phase": "Failed"}))), Reason::NodeLost, "DeletionByPodGC"),
        shape("its node does not answer", last_seen_running(disrupted("DeletionByTaintManager")), Reason::NodeLost, "DeletionByTaintManager"),
        shape("an old controller's word", last_seen_running(json!({"reason": "NodeLost", "message": "Node n1 which was running pod is unresponsive"})), Reason::NodeLost, "unresponsive"),
        shape("the deadline of the pod", after(json!({"exitCode": 143}), json!({}), json!({"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"})), Reason::DeadlineExceeded, "longer than"),
        shape("the broker's disk was lost", { let mut status = ended(0, &json!("")); merge(&mut status, json!({"phase": "Succeeded"})); status }, Reason::EvidenceMissing, "left no evidence"),
        shape("git-init was killed for memory", json!({"phase": "Failed", "initContainerStatuses": [{"name": "git-init", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}), Reason::OutOfMemory, "container git-init was killed"),
    ]
}

fn merged(mut a: Value, b: Value) -> Value {
    merge(&mut a, b);
    a
}

#[test]
fn each_shape_has_its_reason_and_says_what_happened() {
    let mut wrong = Vec::new();
    for shape in shapes() {
        let context = AttemptContext {
            own_image: shape.own_image,
            ..context()
        };
        let classification = classify(&pod(json!({"status": shape.status})), &context);
        if classification.reason != shape.reason || !classification.message.contains(shape.words) {
            wrong.push(format!(
                "{}: {} {:?}",
                shape.name, classification.reason, classification.message
            ));
        }
        assert!(
            !classification.reason.remedy().is_empty(),
            "{}: a person is told what to do",
            shape.name
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_node_that_is_lost_may_take_work_with_it_and_an_agent_that_never_started_may_not() {
    for shape in shapes() {
        let classification = classify(&pod(json!({"status": shape.status})), &context());
        match classification.reason {
            Reason::NodeLost => assert!(classification.may_be_lost.is_some(), "{}", shape.name),
            Reason::ContainerCannotStart => assert_eq!(classification.may_be_lost, None, "{}", shape.name),
            _ => {}
        }
    }
}
