//! Images that a polecat names, under a policy.

use super::*;

const NAMED: &str = "registry.example/team/agent:1";
const PINNED: &str =
    "registry.example/team/agent@sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A polecat that names its image, and what its policy's answer is.
fn world(answer: Answer) -> World {
    let mut world = World::of(polecat(json!({"spec": {"kubernetes": {"image": NAMED}}})));
    let vectors = include_str!("../../../../../../signatures/vectors/cosign-3.1.3.json");
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let key = vectors["keys"]["a"].as_str().unwrap().to_owned();
    world.settings.config.image_policy.keys = vec![key];
    world.answer = Some(answer);
    world
}

fn allowed() -> Answer {
    let pinned = PINNED.to_owned();
    Answer::Allowed { pinned }
}

fn refused() -> Answer {
    Answer::Refused(Refusal::new(Reason::ImageUnsigned, "it has no signature"))
}

fn unreachable(again: i64) -> Answer {
    Answer::Unreachable {
        refusal: Refusal::new(Reason::RegistryUnreachable, "it answers 503"),
        again: at(again),
    }
}

#[test]
fn an_image_is_asked_about_before_the_claim_and_the_pod_has_it_by_digest() {
    let mut world = world(allowed());
    world.settle();
    assert_eq!(world.acts, ["AskForImage", "Claim", "CreatePod", "WriteStatus"]);
    assert_eq!(world.image.as_deref(), Some(PINNED));
    assert_eq!(world.status().agent_image.as_deref(), Some(PINNED));
    // While it works nobody asks again.
    world.pod_reports(&running());
    world.settle();
    assert_eq!(world.acts[4..], ["WriteStatus"]);
}

#[test]
fn without_a_policy_or_a_named_image_nobody_is_asked() {
    let mut world = World::of(polecat(json!({"spec": {"kubernetes": {"image": NAMED}}})));
    world.settle();
    assert_eq!(world.image.as_deref(), Some(NAMED));
    let mut world = self::world(refused());
    world.change(json!({"spec": {"kubernetes": {"image": null}}}));
    world.settle();
    assert_eq!(world.acts, ["Claim", "CreatePod", "WriteStatus"]);
    assert_eq!(world.image.as_ref(), Some(&world.settings.agent_image));
}

#[test]
fn an_image_that_is_refused_has_no_attempt_and_is_asked_about_when_something_changes() {
    let mut world = world(refused());
    assert_eq!(world.settle(), None);
    assert_eq!(world.acts, ["AskForImage", "WriteStatus"]);
    assert_eq!(world.says(), (STUCK, "False", "ImageUnsigned"));
    assert_eq!(world.transitions, [Reason::ImageUnsigned]);
    assert!(world.status().attempts.is_empty() && !world.has_pod());
    assert_eq!(world.settle(), None);
    assert_eq!(world.acts[2..], ["AskForImage"]);
    world.answer = Some(allowed());
    world.settle();
    assert_eq!(world.says().0, WORKING);
    assert_eq!(world.pod().attempt(), Some(1));
}

#[test]
fn a_registry_that_is_away_parks_the_polecat_which_goes_on_by_itself() {
    let mut world = world(unreachable(1010));
    assert_eq!(world.settle(), Some(at(1010)));
    assert_eq!(world.says(), (WORKING, "False", "RegistryUnreachable"));
    assert_eq!(world.condition("Parked").unwrap().status, "True");
    assert_eq!(world.transitions, [Reason::RegistryUnreachable]);
    assert!(world.status().attempts.is_empty() && !world.has_pod() && !world.status().pod_active);
    // Asked again in vain, it writes nothing.
    world.now = 1010;
    world.answer = Some(unreachable(1030));
    world.acts.clear();
    assert_eq!(world.settle(), Some(at(1030)));
    assert_eq!(world.acts, ["AskForImage"]);
    world.answer = Some(allowed());
    world.settle();
    assert_eq!(world.says().0, WORKING);
    assert_eq!(
        (world.pod().attempt(), world.image.as_deref()),
        (Some(1), Some(PINNED))
    );
    assert!(
        world
            .condition("Parked")
            .is_none_or(|parked| parked.status == "False")
    );
}

#[test]
fn a_polecat_that_is_parked_for_its_image_can_be_idled_terminated_and_deleted() {
    for (change, phase) in [
        (json!({"spec": {"desiredState": "Idle"}}), IDLE),
        (json!({"spec": {"desiredState": "Terminated"}}), TERMINATED),
    ] {
        let mut world = world(unreachable(1010));
        world.settle();
        world.change(change);
        world.settle();
        assert_eq!(world.says().0, phase);
        assert!(
            world
                .condition("Parked")
                .is_none_or(|parked| parked.status == "False")
        );
    }
    let mut world = world(unreachable(1010));
    world.settle();
    world.change(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    world.acts.clear();
    assert_eq!(world.settle(), None);
    assert!(world.acts.is_empty(), "{:?}", world.acts);
}

#[test]
fn a_retry_whose_registry_is_away_stays_one_of_those_that_are_counted() {
    let mut world = world(allowed());
    world.settle();
    world.pod_reports(&running());
    world.settle();
    world.pod_reports(&json!({"phase": "Failed", "reason": "Evicted", "message": "node was low"}));
    world.settle();
    let next = world.settle().expect("a retry comes");
    world.now = next.as_second();
    world.answer = Some(unreachable(world.now + 10));
    world.settle();
    assert_eq!(world.says(), (WORKING, "False", "RegistryUnreachable"));
    world.now += 10;
    world.answer = Some(allowed());
    for _ in 0..3 {
        world.settle();
    }
    let last = world.status().attempts.last().unwrap();
    assert_eq!((last.number, last.retry), (2, Some(1)), "{last:?}");
}

#[test]
fn an_image_that_nobody_vouches_for_any_more_starts_no_pod_of_a_claimed_attempt() {
    let mut world = world(allowed());
    world.settle();
    // Its pod was lost before a status named it, and the operator restarted.
    world.change(json!({"status": null}));
    world.observed.attempt.pod = PodLookup::NotCached;
    world.observed.attempt.claimed = None;
    world.change(
        json!({"status": {"phase": "Working", "podActive": false, "conditions": [],
        "attempts": [{"number": 1, "startedAt": "1970-01-01T00:16:40Z"}]}}),
    );
    world.answer = Some(unreachable(1010));
    assert_eq!(world.settle(), Some(at(1010)));
    assert_eq!(world.says(), (WORKING, "False", "RegistryUnreachable"));
    world.answer = Some(refused());
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "ImageUnsigned"));
    assert!(!world.has_pod());
}
