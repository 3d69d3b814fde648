//! A life up to Done, and that Done is the end.

use super::*;

#[test]
fn an_ordinary_life_is_six_writes_and_one_event() {
    let mut world = World::new();
    assert_eq!(world.settle(), None);
    assert_eq!(world.acts, ["Claim", "CreatePod", "WriteStatus"]);
    assert_eq!(world.says(), (WORKING, "True", "PodStarting"));
    world.pod_reports(&running());
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "AgentRunning"));
    assert!(world.status().pod_active);
    world.pod_reports(&ended(0, &evidence(json!({}))));
    world.settle();
    let (all, writes) = (
        ["Claim", "CreatePod"],
        ["WriteStatus", "WriteStatus", "WriteStatus", "ReleasePod"],
    );
    assert_eq!(world.acts, [&all[..], &writes[..]].concat());
    assert_eq!(world.transitions, [Reason::Delivered]);
    assert_eq!(world.says(), (DONE, "True", "Delivered"));
    let status = world.status();
    assert_eq!(
        (status.base.as_deref(), status.head.as_deref()),
        (Some(BASE), Some(HEAD))
    );
    assert_eq!(status.branch.as_deref(), Some("polecat/furiosa-mjuohs00"));
    assert_eq!(status.cost.as_deref(), Some("$0.0045"));
    assert_eq!(status.attempts[0].outcome, Some(AttemptOutcome::Delivered));
}

#[test]
fn a_settled_polecat_is_left_alone_whatever_the_time() {
    let mut world = World::at_work();
    world.pod_reports(&ended(0, &evidence(json!({}))));
    world.settle();
    world.acts.clear();
    world.now += 1_000_000;
    assert_eq!(world.settle(), None);
    assert!(world.acts.is_empty(), "{:?}", world.acts);
}

#[test]
fn done_polecat_is_not_run_again() {
    let mut world = World::at_work();
    world.pod_reports(&ended(0, &evidence(json!({}))));
    world.settle();
    world.acts.clear();
    for sight in [PodLookup::NotCached, PodLookup::NotFound] {
        world.observed.attempt.pod = sight;
        for desired in ["Working", "Idle", "Working"] {
            world.want(desired);
            world.settle();
        }
    }
    assert!(world.acts.is_empty(), "{:?}", world.acts);
    world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "now"}}}));
    world.settle();
    assert!(world.acts.is_empty(), "{:?}", world.acts);
}

#[test]
fn delivered_stays_true_after_termination() {
    let mut world = World::at_work();
    world.pod_reports(&ended(0, &evidence(json!({}))));
    world.settle();
    world.want("Terminated");
    world.settle();
    assert_eq!(world.says(), (TERMINATED, "True", "Terminated"));
    assert_eq!(world.condition("Delivered").unwrap().status, "True");
    world.want("Working");
    world.settle();
    assert_eq!(world.says().0, TERMINATED);
}

#[test]
fn work_that_was_finished_before_the_stop_is_done_first() {
    let mut world = World::at_work();
    world.want("Terminated");
    world.settle();
    world.pod_reports(&ended(0, &evidence(json!({}))));
    world.settle();
    assert_eq!(world.says().0, TERMINATED);
    assert_eq!(world.condition("Delivered").unwrap().status, "True");
}

#[test]
fn status_comes_before_the_pods_finalizer_goes() {
    let mut world = World::at_work();
    world.pod_reports(&ended(1, &evidence(json!({"head": BASE}))));
    world.settle();
    assert_eq!(world.acts, ["WriteStatus", "ReleasePod"]);
}

#[test]
fn the_brokers_end_is_awaited_after_the_agents_but_not_for_ever() {
    let mut world = World::at_work();
    let mut status = ended(0, &evidence(json!({})));
    status["initContainerStatuses"][0]["state"] = json!({"running": {}});
    status["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!("1970-01-01T00:16:40Z");
    world.pod_reports(&status);
    let until = world.settle();
    assert_eq!(until, Some(at(1000 + 150)));
    assert!(world.acts.is_empty(), "{:?}", world.acts);
    world.now = 1150;
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "EvidenceMissing"));
}
