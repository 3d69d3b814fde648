//! What a manifest wants, what it lacks, and what it names in vain.

use super::*;

#[test]
fn a_running_polecat_is_stopped_with_its_grace_and_then_idle() {
    for (desired, phase) in [("Idle", IDLE), ("Terminated", TERMINATED)] {
        let mut world = World::at_work();
        world.want(desired);
        world.settle();
        assert_eq!(world.says(), (WORKING, "True", "Stopping"));
        assert!(world.has_pod());
        let wip =
            json!({"wip": {"name": "refs/gastown/wip/furiosa/1", "sha": HEAD, "at": "2026-01-01T00:00:00Z"}});
        world.pod_reports(&ended(143, &evidence(merged(wip, json!({"head": BASE})))));
        world.settle();
        assert_eq!(
            world.acts,
            ["WriteStatus", "DeletePod", "WriteStatus", "ReleasePod"]
        );
        assert_eq!((world.says().0, world.has_pod()), (phase, false));
        assert_eq!(
            world.status().wip.as_ref().unwrap().name,
            "refs/gastown/wip/furiosa/1"
        );
        assert_eq!(world.status().attempts[0].outcome, Some(AttemptOutcome::Stopped));
        assert!(world.condition("WorkMayBeLost").is_none());
    }
}

fn merged(mut a: Value, b: Value) -> Value {
    merge(&mut a, b);
    a
}

#[test]
fn an_idle_polecat_works_again_in_a_new_attempt_on_the_same_branch() {
    let mut world = World::at_work();
    world.want("Idle");
    world.settle();
    world.pod_reports(&ended(143, &evidence(json!({"head": BASE}))));
    world.settle();
    let branch = world.status().branch.clone();
    world.acts.clear();
    world.want("Working");
    world.settle();
    assert_eq!(world.acts, ["WriteStatus", "CreatePod", "WriteStatus"]);
    assert_eq!(world.pod().attempt(), Some(2));
    assert_eq!(world.status().branch, branch);
    assert_eq!(world.status().attempts.len(), 2);
}

#[test]
fn what_was_never_wanted_gets_no_pod() {
    for (desired, phase) in [("Idle", IDLE), ("Terminated", TERMINATED)] {
        let mut world = World::of(polecat(json!({"spec": {"desiredState": desired}})));
        world.settle();
        assert_eq!(world.acts, ["WriteStatus"]);
        assert_eq!(world.says().0, phase);
    }
}

#[test]
fn without_task_and_bead_there_is_nothing_to_do() {
    let mut world = World::of(polecat(json!({"spec": {"task": null}})));
    world.settle();
    assert_eq!(world.acts, ["WriteStatus"]);
    assert_eq!(world.says(), (IDLE, "True", "NothingToDo"));
    world.change(json!({"spec": {"beadID": "mp-a1b2"}}));
    world.settle();
    assert_eq!(world.says().0, WORKING);
    assert_eq!(
        world.status().branch.as_deref(),
        Some("polecat/furiosa/mp-a1b2@mjuohs00")
    );
}

#[test]
fn a_manifest_that_lacks_something_heals_when_it_is_there() {
    let mut world = World::of(polecat(json!({"spec": {"kubernetes": null}})));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "SpecIncomplete"));
    assert_eq!(world.transitions, [Reason::SpecIncomplete]);
    world.now += 5;
    world.settle();
    assert_eq!(world.acts, ["WriteStatus"]);
    world.observed.rig = Some(rig());
    world.settle();
    assert_eq!(world.says().0, WORKING);
    assert_eq!(
        world.status().repository.as_deref(),
        Some("ssh://git@git.example:2222/org/repo.git")
    );
    assert_eq!(world.condition("RigFound").unwrap().status, "True");
}

#[test]
fn a_polecat_without_a_rig_stands_alone() {
    let mut world = World::new();
    world.settle();
    assert_eq!(world.says().0, WORKING);
    let found = world.condition("RigFound").unwrap();
    assert_eq!(
        (found.status.as_str(), found.reason.as_str()),
        ("False", "RigNotFound")
    );
}

#[test]
fn fields_without_effect_are_named() {
    let mut world = World::of(polecat(json!({"spec": {
        "agentConfig": {"configMapRef": {"name": "x"}},
        "resources": {"claims": [{"name": "gpu"}]},
    }})));
    world.settle();
    let message = &world.condition("FieldsIgnored").unwrap().message;
    for path in ["spec.agentConfig.configMapRef", "spec.resources.claims"] {
        assert!(message.contains(path), "{path} is not in {message}");
    }
}
