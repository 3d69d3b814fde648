//! Attempts that someone asks for, and what they start from.

use super::*;
use crate::controller::polecat::build;
use crate::controller::polecat::validate::validate;

#[test]
fn a_failed_attempt_is_repeated_only_on_request_and_once() {
    let mut world = World::at_work();
    world.pod_reports(&ended(0, &evidence(json!({"head": BASE}))));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "NothingChanged"));
    world.change(json!({"spec": {"task": {"description": "more precise"}}}));
    world.acts.clear();
    world.settle();
    assert!(world.acts.is_empty(), "{:?}", world.acts);

    world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "1"}}}));
    world.settle();
    // The old pod, which only its log kept, makes room; the claim is a status write.
    assert_eq!(
        world.acts,
        ["DeletePod", "WriteStatus", "CreatePod", "WriteStatus"]
    );
    assert_eq!(world.pod().attempt(), Some(2));
    assert_eq!(world.status().retry_handled.as_deref(), Some("1"));

    world.pod_reports(&ended(0, &evidence(json!({"attempt": 2, "head": BASE}))));
    world.settle();
    assert_eq!(world.says().2, "NothingChanged");
    world.acts.clear();
    world.settle();
    assert!(
        world.acts.is_empty(),
        "the same annotation starts nothing again: {:?}",
        world.acts
    );
    assert_eq!(world.status().usage.unwrap().tokens(), 2200);
    assert_eq!(world.status().cost.as_deref(), Some("$0.0090"));
}

#[test]
fn a_retry_waits_until_the_old_pod_is_gone() {
    let mut world = World::at_work();
    world.pod_reports(&ended(0, &evidence(json!({"head": BASE}))));
    world.settle();
    world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "1"}}}));
    world.pod_changes(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    world.acts.clear();
    assert_eq!(world.settle(), None);
    assert!(world.acts.is_empty(), "{:?}", world.acts);
}

#[test]
fn an_annotation_that_was_there_from_the_start_is_no_retry() {
    let mut world = World::of(polecat(
        json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "0"}}}),
    ));
    world.settle();
    world.pod_reports(&ended(1, &evidence(json!({"head": BASE}))));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "AgentFailed"));
    assert_eq!(world.status().attempts.len(), 1);
}

#[test]
fn the_budget_is_over_all_attempts() {
    let mut world = World::of(polecat(json!({"spec": {"budget": {"tokens": 1500}}})));
    world.settle();
    world.pod_reports(&ended(1, &evidence(json!({"head": BASE}))));
    world.settle();
    world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "1"}}}));
    world.settle();
    let order = world.order_of_the_next_pod();
    assert_eq!(order["role"]["polecat"]["model"]["tokensLeft"], 400);
    assert_eq!(order["role"]["polecat"]["git"]["base"], BASE);

    world.pod_reports(&ended(1, &evidence(json!({"attempt": 2, "head": BASE}))));
    world.settle();
    world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "2"}}}));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "BudgetSpent"));
    world.change(json!({"spec": {"budget": {"tokens": 9000}}}));
    world.settle();
    assert_eq!(world.says().0, WORKING, "the request to retry still stands");
}

impl World {
    /// The work order that a pod of the open attempt gets.
    fn order_of_the_next_pod(&self) -> Value {
        let polecat = &self.observed.polecat;
        let work = validate(polecat, None, &self.settings).unwrap();
        let number = self.status().attempts.last().unwrap().number;
        let pod = build::pod::pod(polecat, &work, number, &self.settings).unwrap();
        serde_json::from_str(&pod.metadata.annotations.unwrap()["gastown.io/work-order"]).unwrap()
    }
}

#[test]
fn a_later_attempt_starts_from_what_was_saved_and_a_third_not_from_what_the_branch_has_since() {
    let mut world = World::at_work();
    let wip = json!({"head": BASE, "wip": {"name": "refs/gastown/wip/furiosa/1", "sha": HEAD, "at": "2026-01-01T00:00:00Z"}});
    world.pod_reports(&ended(1, &evidence(wip)));
    world.settle();
    let resume = |world: &World| {
        let work = validate(&world.observed.polecat, None, &world.settings).unwrap();
        build::order::work_order(&world.observed.polecat, &work, 2, &world.settings.config)
            .role
            .git
            .resume
    };
    let first = resume(&world).unwrap();
    assert_eq!(
        (first.name.as_str(), first.sha.as_str()),
        ("refs/gastown/wip/furiosa/1", HEAD)
    );
    world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "1"}}}));
    world.settle();
    let second = json!({"attempt": 2, "head": BASE, "resumed": HEAD});
    world.pod_reports(&ended(1, &evidence(second)));
    world.settle();
    assert_eq!(world.status().attempts.len(), 2);
    assert_eq!(
        resume(&world),
        None,
        "what it held is on the branch, or was dropped on purpose"
    );
}

#[test]
fn a_repeat_by_itself_asks_first_for_what_the_attempt_before_had_pushed_and_one_that_was_asked_for_works() {
    for asked in [false, true] {
        let mut world = World::at_work();
        let failed = json!({"name": "failed", "reason": "GitHostUnreachable", "message": "no route"});
        world.pod_reports(&ended(0, &evidence(json!({"pushed": HEAD, "finalRead": failed}))));
        let next = world.settle().expect("it wakes for the retry");
        assert_eq!(world.status().attempts[0].unconfirmed.as_deref(), Some(HEAD));
        if asked {
            world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "1"}}}));
        } else {
            world.now = next.as_second();
        }
        world.settle();
        assert_eq!(world.status().attempts.len(), 2);
        let work = validate(&world.observed.polecat, None, &world.settings).unwrap();
        let order = build::order::work_order(&world.observed.polecat, &work, 2, &world.settings.config);
        let wanted = (!asked).then(|| HEAD.parse().unwrap());
        assert_eq!(order.role.git.unconfirmed, wanted, "{asked}");
    }
}

#[test]
fn ten_attempts_are_kept() {
    let mut world = World::at_work();
    for number in 1..=12 {
        world.pod_reports(&ended(1, &evidence(json!({"attempt": number, "head": BASE}))));
        world.settle();
        let request = format!("{number}");
        world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": request}}}));
        world.settle();
    }
    let attempts = &world.status().attempts;
    assert_eq!((attempts.len(), attempts[9].number), (10, 13));
    assert_eq!(world.status().usage.unwrap().tokens(), 12 * 1100);
}
