//! Who stopped a pod, and what for: that decides the outcome, and not what is wanted when the pod has ended.

use super::*;

fn cut_short(world: &mut World) {
    world.pod_reports(&ended(143, &evidence(json!({"head": BASE}))));
    world.settle();
}

fn attempts(world: &World) -> Vec<(i32, Option<AttemptOutcome>, Option<&str>)> {
    let attempts = world.status().attempts.iter();
    attempts
        .map(|a| (a.number, a.outcome, a.reason.as_deref()))
        .collect()
}

/// The status of a pod whose agent ended with `exit`, and in which `other` goes on.
fn held(exit: i32, list: &str, other: &str) -> Value {
    let mut status = running();
    status["containerStatuses"][0]["state"] = json!({"terminated": {"exitCode": exit}});
    if status[list].is_null() {
        status[list] = json!([]);
    }
    let other = json!({"name": other, "ready": true, "state": {"running": {}}});
    status[list].as_array_mut().unwrap().push(other);
    status
}

#[test]
fn idle_and_working_again_while_the_pod_ends_is_a_stop_and_a_new_attempt() {
    for wanted in ["Idle", "Terminated"] {
        let mut world = World::at_work();
        world.want(wanted);
        world.settle();
        assert_eq!(
            world.acts,
            ["WriteStatus", "DeletePod"],
            "why is written before the deletion"
        );
        world.want("Working");
        world.settle();
        assert_eq!(world.acts.len(), 2, "{:?}", world.acts);
        cut_short(&mut world);
        let stopped = (1, Some(AttemptOutcome::Stopped), Some(wanted));
        assert_eq!(attempts(&world), [stopped, (2, None, None)], "{wanted}");
        assert_eq!(world.says(), (WORKING, "True", "PodStarting"));
    }
}

#[test]
fn a_stop_that_was_written_down_is_carried_out_whatever_is_wanted_since() {
    let mut world = World::at_work();
    world.want("Idle");
    let Step::Act(act) = next(&world.observed, &world.settings, at(world.now)).unwrap() else {
        panic!("it stops")
    };
    world.carry_out(act);
    // The operator went away before the deletion, and came back after a change of mind.
    world.want("Working");
    world.settle();
    assert_eq!(world.acts, ["WriteStatus", "DeletePod"]);
    cut_short(&mut world);
    assert_eq!(attempts(&world)[0].1, Some(AttemptOutcome::Stopped));
}

#[test]
fn a_strangers_deletion_stays_one_and_an_agents_own_end_too() {
    let mut world = World::at_work();
    world.pod_changes(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    world.settle();
    cut_short(&mut world);
    assert_eq!(attempts(&world)[0].2, Some("PodDeleted"));
    // It failed before anybody stopped it.
    let mut world = World::at_work();
    world.want("Idle");
    world.pod_reports(&ended(1, &evidence(json!({"head": BASE}))));
    world.settle();
    assert_eq!(
        attempts(&world),
        [(1, Some(AttemptOutcome::Failed), Some("AgentFailed"))]
    );
    assert_eq!(world.says().0, IDLE);
}

#[test]
fn what_the_broker_stopped_for_outlives_its_evidence() {
    let mut world = World::at_work();
    let stopped =
        json!({"name": "stopped", "reason": "DiskFull", "message": "the volume tmp held 9 of 10 bytes"});
    world.log = evidence(json!({"head": BASE, "state": stopped})).to_string();
    ring(&mut world, false);
    world.settle();
    // The kubelet measured too, and left no grace.
    world.pod_reports(&json!({"phase": "Failed", "reason": "Evicted", "message": "Usage of EmptyDir"}));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "DiskFull"));
    assert!(world.condition("Ready").unwrap().message.contains("9 of 10"));
    assert_eq!(world.condition("WorkMayBeLost").unwrap().status, "True");
}

#[test]
fn a_container_of_others_does_not_hold_a_pod_whose_agent_has_ended() {
    for (list, name) in [
        ("containerStatuses", "mesh"),
        ("ephemeralContainerStatuses", "debugger"),
    ] {
        let mut world = World::at_work();
        world.pod_reports(&held(0, list, name));
        world.settle();
        assert_eq!(world.acts, ["WriteStatus", "DeletePod"], "{name}");
        assert_eq!(world.says(), (WORKING, "True", "Stopping"));
        let message = world.status().attempts[0].message.clone().unwrap();
        assert!(message.contains(name), "{message}");
        // Done takes the broker's last evidence.
        let mut status = held(0, list, name);
        status["initContainerStatuses"][1]["state"] = json!({"terminated": {"exitCode": 0}});
        world.pod_reports(&status);
        world.settle();
        assert_eq!(world.says().2, "Stopping", "the broker has not ended");
        let last = evidence(json!({})).to_string();
        status["initContainerStatuses"][0]["state"] = json!({"terminated": {"exitCode": 0, "message": last}});
        world.pod_reports(&status);
        world.settle();
        assert_eq!(world.says(), (DONE, "True", "Delivered"), "{name}");
    }
}

#[test]
fn an_agent_that_failed_beside_a_container_of_others_did_fail() {
    let mut world = World::at_work();
    world.pod_reports(&held(1, "containerStatuses", "mesh"));
    world.settle();
    world.pod_reports(&ended(1, &evidence(json!({"head": BASE}))));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "AgentFailed"));
}

#[test]
fn a_pod_without_containers_of_others_is_left_to_its_kubelet() {
    for exit in [0, 1] {
        let mut world = World::at_work();
        let mut status = running();
        status["containerStatuses"][0]["state"] = json!({"terminated": {"exitCode": exit}});
        world.pod_reports(&status);
        world.settle();
        assert!(!world.acts.contains(&"DeletePod"), "{:?}", world.acts);
        // One that has ended by itself holds nothing.
        status["containerStatuses"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "job", "state": {"terminated": {"exitCode": 0}}}));
        world.pod_reports(&status);
        world.settle();
        assert!(!world.acts.contains(&"DeletePod"), "{:?}", world.acts);
    }
}
