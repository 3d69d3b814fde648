//! Finalizers and labels that others take off: `kubectl replace` with the original manifest, an edit, another manager.

use super::*;

fn finalizers(world: &World) -> Vec<String> {
    world.observed.polecat.finalizers().to_vec()
}

#[test]
fn what_others_took_off_a_polecat_comes_back_while_an_attempt_is_under_way() {
    for (what, taken) in [
        ("replaced", json!({"finalizers": null, "labels": null})),
        ("an edit of the finalizer", json!({"finalizers": ["other/one"]})),
        (
            "another value of a label",
            json!({"labels": {"gastown.io/rig": "other", "team": "x"}}),
        ),
    ] {
        let mut world = World::at_work();
        let labels = world.observed.polecat.labels().clone();
        world.change(json!({"metadata": taken}));
        let (others, team) = (
            finalizers(&world),
            world.observed.polecat.labels().get("team").cloned(),
        );
        world.settle();
        assert_eq!(world.acts, ["RestorePolecat"], "{what}");
        assert!(
            finalizers(&world).contains(&"gastown.io/polecat-cleanup".to_owned()),
            "{what}"
        );
        assert!(others.iter().all(|f| finalizers(&world).contains(f)), "{what}");
        let now = world.observed.polecat.labels();
        assert!(
            labels.iter().all(|(key, value)| now.get(key) == Some(value)),
            "{what}: {now:?}"
        );
        assert_eq!(now.get("team"), team.as_ref(), "{what}: labels of others stay");
        world.acts.clear();
        world.settle();
        assert!(world.acts.is_empty(), "{what} does not rest: {:?}", world.acts);
    }
}

#[test]
fn what_others_took_off_a_pod_comes_back_and_the_pod_stays_the_attempts() {
    for (what, taken) in [
        ("everything", json!({"finalizers": null, "labels": null})),
        ("the finalizer", json!({"finalizers": null})),
        (
            "the number of the attempt",
            json!({"labels": {"gastown.io/attempt": "7"}}),
        ),
    ] {
        let mut world = World::at_work();
        let before = world.pod().metadata.clone();
        world.pod_changes(json!({"metadata": taken}));
        world.settle();
        assert_eq!(world.acts, ["RestorePod"], "{what}");
        assert_eq!(world.pod().metadata, before, "{what}");
        world.acts.clear();
        world.settle();
        assert!(world.acts.is_empty(), "{what} does not rest: {:?}", world.acts);
        world.pod_reports(&ended(0, &evidence(json!({}))));
        world.settle();
        assert_eq!(world.says().0, DONE, "{what}");
    }
}

#[test]
fn a_policy_that_takes_them_off_again_at_once_is_asked_once_a_look() {
    let mut world = World::at_work();
    world.change(json!({"metadata": {"labels": null}}));
    let taken = world.observed.polecat.clone();
    let step = next(&world.observed, &world.settings, at(world.now)).unwrap();
    assert!(matches!(step, Step::Act(Act::RestorePolecat { .. })), "{step:?}");
    world.observed.polecat = taken;
    world.observed.attempt.restored = true;
    let step = next(&world.observed, &world.settings, at(world.now)).unwrap();
    assert_eq!(step, Step::Wait(None));
}

#[test]
fn nothing_comes_back_to_what_is_deleted_or_settled() {
    let mut world = World::at_work();
    world.change(
        json!({"metadata": {"finalizers": ["other/one"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    );
    world.settle();
    assert_eq!(world.acts, ["WriteStatus", "DeletePod"]);
    let mut world = World::at_work();
    world.pod_reports(&ended(0, &evidence(json!({}))));
    world.settle();
    world.acts.clear();
    world.change(json!({"metadata": {"finalizers": null, "labels": null}}));
    world.settle();
    assert!(world.acts.is_empty(), "{:?}", world.acts);
}
