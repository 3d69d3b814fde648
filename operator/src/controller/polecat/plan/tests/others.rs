//! What others own or delete: pods of the same name, finalizers, the pod, the polecat itself.

use super::*;

#[test]
fn the_pod_of_an_earlier_polecat_of_that_name_goes_first() {
    let mut world = World::new();
    let foreign = json!({"metadata": {"uid": "old", "ownerReferences": [{
        "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat", "name": "furiosa", "uid": "other",
        "controller": true,
    }]}, "status": running()});
    world.observed.attempt.pod = PodLookup::Found(Arc::new(pod(foreign)));
    world.settle();
    assert_eq!(world.acts, ["DeletePod"]);
    world.pod_reports(&ended(143, &evidence(json!({}))));
    world.settle();
    assert_eq!(
        world.acts,
        ["DeletePod", "ReleasePod", "Claim", "CreatePod", "WriteStatus"]
    );
    assert_eq!(world.says(), (WORKING, "True", "PodStarting"));
}

#[test]
fn a_strangers_pod_of_that_name_is_left_alone() {
    let mut world = World::new();
    let stranger = json!({"metadata": {"ownerReferences": null, "labels": null, "finalizers": null}});
    world.observed.attempt.pod = PodLookup::Found(Arc::new(pod(stranger)));
    world.settle();
    assert_eq!(world.acts, ["WriteStatus"]);
    assert_eq!(world.says(), (STUCK, "False", "PodNameTaken"));
}

#[test]
fn finalizers_of_others_stay() {
    let mut world = World::of(polecat(json!({"metadata": {
        "finalizers": ["other/one", "gastown.io/polecat-cleanup"], "deletionTimestamp": "2026-01-01T00:00:00Z",
    }})));
    world.settle();
    assert_eq!(world.acts, ["ReleasePolecat"]);
    assert_eq!(world.observed.polecat.finalizers(), ["other/one"]);
}

#[test]
fn a_pod_that_others_delete_is_reported_when_it_has_ended() {
    let mut world = World::at_work();
    world.pod_changes(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "Stopping"));
    world.pod_reports(&ended(143, &evidence(json!({"head": BASE}))));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "PodDeleted"));
}

#[test]
fn a_deleted_polecat_saves_its_work_and_names_the_ref_in_an_event() {
    let mut world = World::at_work();
    world.change(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    world.settle();
    assert_eq!(world.acts, ["WriteStatus", "DeletePod"]);
    assert!(
        !world.observed.polecat.finalizers().is_empty(),
        "it waits for its pod"
    );
    let wip = json!({"head": BASE, "wip": {"name": "refs/w", "sha": HEAD, "at": "2026-01-01T00:00:00Z"}});
    world.pod_reports(&ended(143, &evidence(wip)));
    let step = next(&world.observed, &world.settings, at(world.now)).unwrap();
    let Step::Act(Act::WriteStatus(report)) = step else {
        panic!("{step:?}")
    };
    let transition = report.transition.unwrap();
    assert_eq!(transition.reason, Reason::Terminated);
    assert!(
        transition.note.contains("refs/w") && transition.note.contains(HEAD),
        "{}",
        transition.note
    );
    world.settle();
    let tail = &world.acts[world.acts.len() - 3..];
    assert_eq!(tail, ["WriteStatus", "ReleasePod", "ReleasePolecat"]);
    assert!(world.observed.polecat.finalizers().is_empty());
}

#[test]
fn the_pod_of_a_polecat_that_is_gone_is_released_when_it_has_ended() {
    let settings = settings();
    let act = |view: &PodView| match next_of_orphan(view, &settings, at(1000)) {
        types::Step::Act(act) => Some(act.name()),
        types::Step::Wait(_) => None,
    };
    assert_eq!(act(&pod(json!({"status": running()}))), Some("DeletePod"));
    assert_eq!(
        act(&pod(json!({"status": ended(0, &evidence(json!({})))}))),
        Some("ReleasePod")
    );
    assert_eq!(act(&pod(json!({"metadata": {"finalizers": null}}))), None);
    // Its sidecars' end is not reported any more, and nothing else wakes it.
    let mut status = ended(0, &evidence(json!({})));
    status["initContainerStatuses"][0]["state"] = json!({"running": {}});
    status["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!("1970-01-01T00:16:40Z");
    let going = json!({"metadata": {"deletionTimestamp": "1970-01-01T00:16:41Z"}, "status": status});
    let step = next_of_orphan(&pod(going), &settings, at(1000));
    assert_eq!(step, types::Step::Wait(Some(at(1150))));
}
