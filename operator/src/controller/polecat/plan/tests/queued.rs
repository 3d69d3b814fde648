//! A polecat that has no slot, and one whose rig rests.

use gastown_api::rig::Rig;

use super::*;
use crate::slots::Bound;

fn rests(world: &mut World, suspend: &str) {
    let mut rig = serde_json::to_value(&*crate::testing::rig()).unwrap();
    merge(&mut rig, json!({"spec": {"suspend": suspend}}));
    let rig: Rig = serde_json::from_value(rig).unwrap();
    world.observed.rig = Some(Arc::new(rig));
}

#[test]
fn without_a_slot_it_stays_idle_and_says_once_whose_limit_that_is() {
    for (bound, reason) in [
        (Bound::Group, "RigAtCapacity"),
        (Bound::Total, "TownAtCapacity"),
        (Bound::Closed, "RigSuspended"),
    ] {
        let mut world = World::new();
        world.observed.bound = Some(bound);
        world.settle();
        world.now += 1000;
        assert_eq!(world.settle(), None, "it is told when there is a slot");
        assert_eq!(world.acts, ["WriteStatus"]);
        assert_eq!(world.says(), (IDLE, "True", reason));
        let queued = world.condition("Queued").unwrap();
        assert_eq!((queued.status.as_str(), queued.reason.as_str()), ("True", reason));
        assert!(
            queued.message.contains(';'),
            "it has a remedy: {}",
            queued.message
        );
        assert_eq!(world.transitions.len(), 1);
        world.observed.bound = None;
        world.settle();
        assert_eq!(world.acts[1..], ["Claim", "CreatePod", "WriteStatus"]);
        assert_eq!(world.says().0, WORKING);
        assert!(world.condition("Queued").is_none());
    }
}

#[test]
fn whoever_waits_has_no_claim_that_another_operator_would_take_for_a_slot() {
    let mut world = World::new();
    world.change(json!({"metadata": {"finalizers": [POLECAT_FINALIZER]}}));
    world.want("Idle");
    world.settle();
    world.acts.clear();
    world.want("Working");
    world.observed.bound = Some(Bound::Group);
    world.settle();
    assert_eq!(world.acts, ["LookForPod", "ReleasePolecat", "WriteStatus"]);
    assert_eq!(world.says(), (IDLE, "True", "RigAtCapacity"));
    world.observed.bound = None;
    world.settle();
    assert_eq!(world.acts[3..], ["Claim", "CreatePod", "WriteStatus"]);
}

#[test]
fn a_manifest_that_is_refused_does_not_wait() {
    let mut world = World::new();
    world.change(json!({"spec": {"kubernetes": {"gitSecretRef": null}}}));
    world.observed.bound = Some(Bound::Group);
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "SpecIncomplete"));
    assert!(world.condition("Queued").is_none());
}

#[test]
fn a_retry_without_a_slot_stays_the_retry_that_it_is() {
    let mut world = World::at_work();
    world.pod_reports(
        &json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory"}),
    );
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "Evicted"));
    world.observed.bound = Some(Bound::Group);
    world.now += 1000;
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "Evicted"));
    assert_eq!(world.condition("Queued").unwrap().reason, "RigAtCapacity");
    world.observed.bound = None;
    world.settle();
    let attempts = &world.status().attempts;
    assert_eq!((attempts[1].number, attempts[1].retry), (2, Some(1)));
    assert!(world.condition("Queued").is_none());
}

#[test]
fn who_does_not_want_to_work_any_more_does_not_wait() {
    let mut world = World::new();
    world.observed.bound = Some(Bound::Group);
    world.settle();
    world.want("Idle");
    world.settle();
    assert_eq!(world.says(), (IDLE, "True", "Idle"));
    assert!(world.condition("Queued").is_none());
}

#[test]
fn a_rig_that_rests_stops_nobody_at_work_unless_all_of_it_does() {
    let mut world = World::at_work();
    rests(&mut world, "Dispatch");
    world.settle();
    assert!(!world.acts.contains(&"DeletePod"));
    rests(&mut world, "All");
    world.settle();
    assert_eq!(world.acts.last(), Some(&"DeletePod"));
    world.pod_reports(&ended(143, &evidence(json!({"head": BASE}))));
    world.observed.bound = Some(Bound::Closed);
    world.settle();
    assert_eq!(world.says(), (IDLE, "True", "RigSuspended"));
    let attempts = &world.status().attempts;
    assert_eq!(attempts[0].outcome, Some(AttemptOutcome::Stopped));
    assert_eq!(attempts[0].reason.as_deref(), Some("RigSuspended"));
    rests(&mut world, "None");
    world.observed.bound = None;
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "PodStarting"));
    assert_eq!(world.status().attempts[1].number, 2, "it goes on by itself");
}

#[test]
fn a_parked_polecat_is_looked_at_when_its_slot_is_lent() {
    let mut world = World::at_work();
    world.observed.lends_at = Some(at(1700));
    assert_eq!(world.settle(), Some(at(1700)));
}
