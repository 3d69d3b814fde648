//! The table of `desiredState`, retries, and what time alone does.

use super::*;
use crate::config::Config;

const EVICTED: &str =
    r#"{"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}"#;

impl World {
    /// The pod was evicted without a word of its broker.
    fn is_evicted(&mut self) {
        self.pod_reports(&serde_json::from_str(EVICTED).unwrap());
    }

    fn fails_for_good(&mut self) {
        self.pod_reports(&ended(1, &evidence(json!({"head": BASE}))));
        self.settle();
    }

    fn message(&self) -> &str {
        &self.condition("Ready").unwrap().message
    }

    fn is(&self, type_: &str) -> bool {
        self.condition(type_).unwrap().status == "True"
    }
}

/// A polecat in each phase, with nothing left to do.
fn in_phase(phase: PolecatPhase) -> World {
    let mut world = World::at_work();
    match phase {
        WORKING => {}
        DONE => {
            world.pod_reports(&ended(0, &evidence(json!({}))));
            world.settle();
        }
        STUCK => world.fails_for_good(),
        IDLE | TERMINATED => {
            world.want(if phase == IDLE { "Idle" } else { "Terminated" });
            world.settle();
            world.pod_reports(&ended(143, &evidence(json!({"head": BASE}))));
            world.settle();
        }
    }
    assert_eq!(world.says().0, phase);
    world.acts.clear();
    world.transitions.clear();
    world
}

#[test]
fn each_cell_of_the_table_of_desired_states_holds() {
    // The phase now, what is wanted, and the phase when all has settled; a pod that is stopped saves and ends.
    let table = [
        (IDLE, [IDLE, WORKING, TERMINATED]),
        (WORKING, [IDLE, WORKING, TERMINATED]),
        (DONE, [DONE, DONE, TERMINATED]),
        (STUCK, [IDLE, STUCK, TERMINATED]),
        (TERMINATED, [TERMINATED, TERMINATED, TERMINATED]),
    ];
    for (phase, row) in table {
        for (wanted, expected) in ["Idle", "Working", "Terminated"].into_iter().zip(row) {
            let mut world = in_phase(phase);
            world.want(wanted);
            world.settle();
            let stops = phase == WORKING && wanted != "Working";
            assert_eq!(
                world.acts.contains(&"DeletePod"),
                stops || (phase == IDLE && wanted == "Working" && world.acts[0] == "DeletePod"),
                "{phase:?} {wanted}: {:?}",
                world.acts
            );
            if stops {
                assert_eq!(world.says(), (WORKING, "True", "Stopping"));
                world.pod_reports(&ended(143, &evidence(json!({"head": BASE}))));
                world.settle();
            }
            assert_eq!(world.says().0, expected, "{phase:?} {wanted}");
            let attempts = if phase == IDLE && wanted == "Working" {
                2
            } else {
                1
            };
            assert_eq!(world.status().attempts.len(), attempts, "{phase:?} {wanted}");
            if phase == DONE {
                assert!(world.is("Delivered"), "{wanted}");
            }
            world.acts.clear();
            world.settle();
            assert!(
                world.acts.is_empty(),
                "{phase:?} {wanted} does not rest: {:?}",
                world.acts
            );
        }
    }
}

#[test]
fn an_evicted_polecat_is_tried_again_after_a_pause_that_doubles() {
    let mut world = World::at_work();
    world.is_evicted();
    let first = world.settle().expect("it wakes for the retry");
    assert_eq!(world.says(), (STUCK, "False", "Evicted"));
    assert!(world.is("Progressing") && !world.is("Degraded"));
    let words = format!("attempt 2 starts at {first} (retry 1 of 2)");
    assert!(world.message().contains(&words), "{}", world.message());
    assert!(!world.message().contains("and retry"), "no advice is needed yet");
    let pause = first.duration_since(at(1000)).as_secs();
    assert!((10..=13).contains(&pause), "{pause}");

    world.now = first.as_second() - 1;
    world.acts.clear();
    assert_eq!(world.settle(), Some(first));
    assert!(world.acts.is_empty(), "{:?}", world.acts);
    world.now = first.as_second();
    world.transitions.clear();
    world.settle();
    assert_eq!(
        world.acts,
        ["DeletePod", "WriteStatus", "CreatePod", "WriteStatus"]
    );
    assert_eq!(world.transitions, [Reason::Retrying]);
    let attempt = world.status().attempts[1].clone();
    assert_eq!((attempt.number, attempt.retry), (2, Some(1)));
    assert_eq!(world.says(), (WORKING, "True", "PodStarting"));

    world.is_evicted();
    let second = world.settle().unwrap();
    let pause = second.duration_since(at(world.now)).as_secs();
    assert!((20..=25).contains(&pause), "{pause}");
    world.now = second.as_second();
    world.settle();
    world.is_evicted();
    assert_eq!(world.settle(), None, "two retries are the limit");
    assert!(!world.is("Progressing") && world.is("Degraded"));
    assert!(
        world
            .message()
            .contains("given up after 2 retries; give the pod or its node more memory"),
        "{}",
        world.message()
    );
    world.acts.clear();
    world.now += 1_000_000;
    assert_eq!(world.settle(), None);
    assert!(world.acts.is_empty(), "{:?}", world.acts);
}

#[test]
fn a_request_retries_at_once_and_starts_the_count_anew() {
    let mut world = World::at_work();
    world.is_evicted();
    world.settle();
    world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "1"}}}));
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "PodStarting"));
    assert_eq!(world.status().attempts[1].retry, None);
    world.is_evicted();
    world.settle();
    assert!(world.message().contains("retry 1 of 2"), "{}", world.message());
}

#[test]
fn a_limit_that_is_raised_later_counts_and_none_means_none() {
    let mut world = World::at_work();
    world.change(json!({"spec": {"backoffLimit": 0}}));
    world.is_evicted();
    assert_eq!(world.settle(), None);
    assert!(world.is("Degraded"));
    world.change(json!({"spec": {"backoffLimit": 1}}));
    let wake = world.settle().expect("it will be retried");
    assert!(world.message().contains("retry 1 of 1"), "{}", world.message());
    world.now = wake.as_second();
    world.settle();
    assert_eq!(world.says().0, WORKING);
}

#[test]
fn what_waits_for_a_retry_can_be_stopped() {
    for (wanted, phase) in [("Idle", IDLE), ("Terminated", TERMINATED)] {
        let mut world = World::at_work();
        world.is_evicted();
        world.settle();
        world.want(wanted);
        assert_eq!(world.settle(), None);
        assert_eq!(world.says().0, phase);
    }
}

#[test]
fn a_quota_is_waited_for_as_long_as_it_takes_with_two_events_and_no_history() {
    let mut world = World::new();
    for _ in 0..20 {
        world.refuse = Some(Refusal::new(Reason::QuotaExceeded, "exceeded quota: q"));
        let wake = world.settle().expect("it tries again");
        assert_eq!(world.says(), (STUCK, "False", "QuotaExceeded"));
        assert_eq!(world.status().attempts.len(), 1);
        world.now = wake.as_second();
    }
    assert_eq!(world.transitions, [Reason::QuotaExceeded, Reason::Retrying]);
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "PodStarting"));
    assert_eq!(world.status().attempts[0].number, 21);
}

#[test]
fn the_budget_ends_retries() {
    let mut world = World::of(polecat(json!({"spec": {"budget": {"tokens": 1100}}})));
    world.settle();
    let mut status = ended(1, &evidence(json!({"head": BASE})));
    merge(&mut status, serde_json::from_str(EVICTED).unwrap());
    world.pod_reports(&status);
    let wake = world.settle().unwrap();
    world.now = wake.as_second();
    assert_eq!(world.settle(), None);
    assert_eq!(world.says(), (STUCK, "False", "BudgetSpent"));
    assert!(world.is("Degraded") && !world.is("Progressing"));
}

#[test]
fn an_object_is_deleted_when_its_time_after_the_end_is_over() {
    for phase in [DONE, STUCK, TERMINATED] {
        let mut world = in_phase(phase);
        world.change(json!({"spec": {"ttlSecondsAfterFinished": 60}}));
        assert_eq!(world.settle(), Some(at(1060)), "{phase:?}");
        world.now = 1060;
        world.settle();
        assert_eq!(world.acts, ["DeletePolecat", "ReleasePolecat"], "{phase:?}");
    }
    for phase in [IDLE, WORKING] {
        let mut world = in_phase(phase);
        world.change(json!({"spec": {"ttlSecondsAfterFinished": 0}}));
        world.now += 1_000_000;
        world.settle();
        assert!(!world.acts.contains(&"DeletePolecat"), "{phase:?}");
    }
}

#[test]
fn what_will_be_tried_again_or_may_heal_has_not_ended() {
    let mut world = World::at_work();
    world.change(json!({"spec": {"ttlSecondsAfterFinished": 0}}));
    world.is_evicted();
    world.settle();
    assert!(!world.acts.contains(&"DeletePolecat"), "{:?}", world.acts);
    let bare = json!({"spec": {"kubernetes": null, "ttlSecondsAfterFinished": 0}});
    let mut world = World::of(polecat(bare));
    assert_eq!(world.settle(), None);
    assert_eq!(world.says(), (STUCK, "False", "SpecIncomplete"));
}

#[test]
fn a_long_idleness_is_ended() {
    for manifest in [
        json!({"spec": {"maxIdleSeconds": 30, "desiredState": "Idle"}}),
        json!({"spec": {"maxIdleSeconds": 30, "task": null}}),
    ] {
        let mut world = World::of(polecat(manifest));
        assert_eq!(world.settle(), Some(at(1030)));
        assert_eq!(world.says().0, IDLE);
        world.now = 1030;
        assert_eq!(world.settle(), None);
        assert_eq!(world.says(), (TERMINATED, "True", "Terminated"));
        assert!(world.message().contains("30 s"), "{}", world.message());
        assert_eq!(world.transitions, [Reason::Terminated]);
    }
}

#[test]
fn a_rig_that_comes_and_goes_stops_no_clock() {
    let mut idle = World::of(polecat(
        json!({"spec": {"maxIdleSeconds": 30, "desiredState": "Idle"}}),
    ));
    let mut done = in_phase(DONE);
    done.change(json!({"spec": {"ttlSecondsAfterFinished": 30}}));
    for (world, reason) in [(&mut idle, "Idle"), (&mut done, "Delivered")] {
        assert_eq!(world.settle(), Some(at(1030)), "{reason}");
        for (now, found) in [(1010, Some(rig())), (1020, None)] {
            world.now = now;
            world.observed.rig = found;
            assert_eq!(world.settle(), Some(at(1030)), "{reason}");
        }
        world.change(json!({"metadata": {"generation": 7}}));
        assert_eq!(
            world.settle(),
            Some(at(1030)),
            "a spec that is written anew is no life"
        );
        assert_eq!(world.says().2, reason);
    }
}

#[test]
fn a_pod_that_goes_on_after_parking_is_told_of_once() {
    let mut world = World::at_work();
    world.log = parked(Some("2026-01-01T05:00:00Z"));
    ring(&mut world, false);
    world.settle();
    assert!(
        world
            .condition("Parked")
            .unwrap()
            .message
            .contains("2026-01-01T05:00:00Z"),
        "the reset time is in the status"
    );
    ring(&mut world, true);
    world.settle();
    world.settle();
    assert_eq!(world.transitions, [Reason::SecretMissing, Reason::Resumed]);
}

#[test]
fn the_status_says_which_agent_works() {
    let agent = |spec: serde_json::Value| {
        let mut world = World::of(polecat(json!({"spec": spec})));
        world.settings.config =
            Config::parse("modelEndpoints: [https://api.anthropic.com, https://api.openai.com]").unwrap();
        world.settle();
        world.status().agent.clone().unwrap()
    };
    assert_eq!(agent(json!({})), "claude-code");
    assert_eq!(agent(json!({"agent": "codex"})), "codex");
    assert_eq!(
        agent(json!({"agentConfig": {"command": ["/opt/mine", "run"]}})),
        "/opt/mine"
    );
}
