//! An operator that went away between two calls, and caches that are behind.

use super::*;

#[test]
fn a_number_that_was_claimed_before_a_crash_is_not_used_again() {
    // Claimed by the finalizer, and then the operator went away: before the pod, or after it, and someone took it away.
    let labels = json!({"gastown.io/polecat": "furiosa", "gastown.io/rig": "my-project"});
    let claimed = json!({"metadata": {"finalizers": ["gastown.io/polecat-cleanup"], "labels": labels}});
    let mut world = World::of(polecat(claimed.clone()));
    world.settle();
    assert_eq!(
        world.acts,
        ["LookForPod", "WriteStatus", "CreatePod", "WriteStatus"]
    );
    let numbers: Vec<_> = world.status().attempts.iter().map(|a| a.number).collect();
    assert_eq!(numbers, [2]);
    assert_eq!(world.pod().attempt(), Some(2));
    // The pod was created, and then the operator went away before the status.
    let mut world = World::of(polecat(claimed));
    world.observed.attempt.pod = PodLookup::Found(Arc::new(pod(json!({}))));
    world.settle();
    assert_eq!(world.acts, ["WriteStatus"]);
    assert_eq!(world.status().attempts[0].pod_uid.as_deref(), Some("pod-uid"));
    assert_eq!(world.status().branch.as_deref(), Some("polecat/furiosa-mjuohs00"));
}

#[test]
fn a_retry_that_was_claimed_before_a_crash_goes_on_under_the_next_number() {
    let mut world = World::at_work();
    world.pod_reports(&serde_json::from_str(r#"{"phase": "Failed", "reason": "Evicted"}"#).unwrap());
    world.now = world.settle().unwrap().as_second();
    while !world.acts.ends_with(&["DeletePod", "WriteStatus"]) {
        let Step::Act(act) = next(&world.observed, &world.settings, at(world.now)).unwrap() else {
            panic!("{:?}", world.acts)
        };
        world.carry_out(act);
    }
    world.observed.attempt.claimed = None;
    world.observed.attempt.pod = PodLookup::NotCached;
    world.settle();
    let attempts: Vec<_> = world
        .status()
        .attempts
        .iter()
        .map(|a| (a.number, a.retry))
        .collect();
    assert_eq!(attempts, [(1, None), (3, Some(1))], "it is still the first retry");
}

#[test]
fn a_pod_of_a_later_attempt_than_the_status_knows_is_left_at_work() {
    // Another operator has claimed it, and our watch of polecats is behind that of pods.
    let mut world = World::at_work();
    world.pod_reports(&ended(1, &evidence(json!({"head": BASE}))));
    world.settle();
    let later =
        json!({"metadata": {"uid": "later", "labels": {"gastown.io/attempt": "2"}}, "status": running()});
    world.observed.attempt.pod = PodLookup::Found(Arc::new(pod(later)));
    let step = next(&world.observed, &world.settings, at(world.now)).unwrap();
    assert!(
        matches!(step, Step::Act(Act::WriteStatus(_))),
        "a status on an old state is refused: {step:?}"
    );
}

#[test]
fn a_pod_that_vanished_is_looked_for_before_it_is_lost() {
    let mut world = World::at_work();
    world.observed.attempt.pod = PodLookup::NotCached;
    world.settle();
    assert_eq!(world.acts, ["LookForPod", "WriteStatus"]);
    assert_eq!(world.says(), (STUCK, "False", "PodLost"));
    assert_eq!(world.condition("WorkMayBeLost").unwrap().status, "True");
}

#[test]
fn a_pod_that_the_cache_had_not_seen_yet_is_no_loss() {
    let mut world = World::at_work();
    let pod = world.observed.attempt.pod.clone();
    world.observed.attempt.pod = PodLookup::NotCached;
    let step = next(&world.observed, &world.settings, at(world.now)).unwrap();
    assert_eq!(step, Step::Act(Act::Pod(PodAct::Look)));
    world.observed.attempt.pod = pod;
    world.settle();
    assert!(world.acts.is_empty(), "{:?}", world.acts);
}
