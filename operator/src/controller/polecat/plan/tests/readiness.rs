//! A broker that rings: why it is read, how often, and what follows.

use super::*;

#[test]
fn a_parked_broker_is_heard_once_and_goes_on() {
    let mut world = World::at_work();
    world.log = format!("{{\"level\":\"INFO\"}}\n{}\nnoise\n", parked(None));
    ring(&mut world, false);
    world.settle();
    assert_eq!(world.acts, ["ReadBroker", "WriteStatus"]);
    assert_eq!(world.says(), (WORKING, "False", "SecretMissing"));
    assert!(
        world
            .condition("Parked")
            .unwrap()
            .message
            .starts_with("secret \"git\"")
    );
    assert_eq!(world.transitions, [Reason::SecretMissing]);
    world.settle();
    assert_eq!(world.acts.len(), 2, "no polling: {:?}", world.acts);
    ring(&mut world, true);
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "AgentRunning"));
    assert!(world.condition("Parked").is_none());
}

#[test]
fn checkpoints_that_fail_are_a_condition_while_they_fail_and_told_once() {
    let mut world = World::at_work();
    world.log = evidence(json!({"checkpointsFailing": "no \u{1b}[2Jspace"})).to_string();
    ring(&mut world, false);
    world.settle();
    assert_eq!(world.acts, ["ReadBroker", "WriteStatus"]);
    assert_eq!(world.says(), (WORKING, "True", "AgentRunning"));
    let failing = world.condition("CheckpointsFailing").unwrap();
    assert_eq!(failing.reason, "CheckpointFailed");
    assert!(
        failing.message.starts_with("no \\u{1b}[2Jspace; "),
        "{}",
        failing.message
    );
    assert_eq!(world.transitions, [Reason::CheckpointFailed]);
    world.now = 2000;
    world.settle();
    assert_eq!(world.acts.len(), 2, "no polling: {:?}", world.acts);
    // It parks as well: its readiness flips, and both are shown.
    ring(&mut world, true);
    let state = json!({"name": "parked", "reason": "SecretMissing", "message": "m"});
    world.log = evidence(json!({"checkpointsFailing": "no space", "state": state})).to_string();
    ring(&mut world, false);
    world.settle();
    assert!(world.condition("CheckpointsFailing").is_some() && world.condition("Parked").is_some());
    ring(&mut world, true);
    world.settle();
    assert!(world.condition("CheckpointsFailing").is_none(), "saved again");
}

#[test]
fn after_a_restart_the_bell_is_heard_anew() {
    let mut world = World::at_work();
    world.log = parked(None);
    ring(&mut world, false);
    world.settle();
    world.observed.attempt.report = None;
    world.log =
        evidence(json!({"state": {"name": "stopped", "reason": "BudgetSpent", "message": "m"}})).to_string();
    world.acts.clear();
    world.settle();
    assert_eq!(world.acts, ["ReadBroker", "WriteStatus", "DeletePod"]);
}

#[test]
fn a_pod_that_is_parked_past_its_time_is_asked_again() {
    let mut world = World::at_work();
    world.log = parked(Some("1970-01-01T00:20:00Z"));
    ring(&mut world, false);
    assert_eq!(world.settle(), Some(at(1205)));
    world.acts.clear();
    world.now = 1205;
    world.log = parked(Some("1970-01-01T00:30:00Z"));
    assert_eq!(world.settle(), Some(at(1805)));
    assert_eq!(
        world.acts,
        ["ReadBroker", "WriteStatus"],
        "the status names the new time"
    );
}

#[test]
fn a_stopped_broker_ends_its_pod_and_says_why() {
    let mut world = World::at_work();
    let stopped =
        json!({"head": BASE, "state": {"name": "stopped", "reason": "BudgetSpent", "message": "9 of 9"}});
    world.log = evidence(stopped.clone()).to_string();
    ring(&mut world, false);
    world.settle();
    assert_eq!(world.acts, ["ReadBroker", "WriteStatus", "DeletePod"]);
    assert_eq!(world.says().2, "Stopping");
    world.pod_reports(&ended(143, &evidence(stopped)));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "BudgetSpent"));
    assert!(world.condition("Ready").unwrap().message.contains("9 of 9"));
}

#[test]
fn a_broker_before_its_first_probe_rings_no_bell() {
    let mut world = World::new();
    world.settle();
    let mut status = running();
    status["initContainerStatuses"][0]["ready"] = json!(false);
    status["initContainerStatuses"][0]["state"]["running"]["startedAt"] = json!("1970-01-01T00:16:38Z");
    world.pod_reports(&status);
    world.acts.clear();
    assert_eq!(world.settle(), Some(at(1003)));
    assert_eq!(world.acts, ["WriteStatus"]);
    world.now = 1003;
    world.log = parked(None);
    world.settle();
    assert_eq!(world.acts, ["WriteStatus", "ReadBroker", "WriteStatus"]);
}

#[test]
fn a_log_that_does_not_say_why_is_read_again_later() {
    let mut world = World::at_work();
    world.log = "nothing\n".to_owned();
    ring(&mut world, false);
    assert_eq!(world.settle(), Some(at(1010)));
    assert_eq!(world.acts, ["ReadBroker"]);
}

#[test]
fn a_broker_that_restarts_in_vain_is_stopped() {
    let mut world = World::at_work();
    let stopped =
        evidence(json!({"state": {"name": "stopped", "reason": "PodLost", "message": "port taken"}}));
    let mut status = running();
    status["initContainerStatuses"][0] = json!({
        "name": "broker", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "message": stopped.to_string()}},
    });
    world.pod_reports(&status);
    world.settle();
    assert_eq!(world.acts, ["WriteStatus", "DeletePod"]);
}
