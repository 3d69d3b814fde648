//! The machine, driven for an owner that is no kind of ours: a job whose pod has a broker and one container.

use std::borrow::Cow;
use std::sync::Arc;

use gastown_api::evidence::BrokerState;
use gastown_api::pod::BROKER;
use gastown_api::reason::Reason;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{Known, failure};
use super::readiness::Signal;
use super::*;
use crate::pod_view::{Ending, PodView, Shape};
use crate::testing::{at, merge};
use crate::types::{Refusal, Step};

const SHAPE: Shape = Shape {
    main: "work",
    init: &[],
    sidecars: &[BROKER],
};

/// What the broker of a job reports.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Report {
    attempt: u32,
    state: BrokerState,
    found: u32,
}

impl Evidence for Report {
    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn state(&self) -> &BrokerState {
        &self.state
    }
}

/// A job with one attempt.
struct Job {
    wanted: Wanted,
    stopped_for: Option<Refusal>,
    lacks_marks: bool,
}

impl Owner for Job {
    type Act = &'static str;

    fn kind(&self) -> Cow<'_, str> {
        "Job".into()
    }

    fn uid(&self) -> Option<&str> {
        Some("job-uid")
    }

    fn shape(&self) -> Shape {
        SHAPE
    }

    fn grace_seconds(&self) -> i64 {
        30
    }

    fn longest_wait_for_a_node(&self) -> SignedDuration {
        SignedDuration::from_secs(300)
    }

    fn has_own_image(&self) -> bool {
        false
    }

    fn named_attempt(&self, pod_uid: &str) -> Option<i32> {
        (pod_uid == "pod-1").then_some(1)
    }

    fn wanted(&self) -> Wanted {
        self.wanted
    }

    fn stopped_for(&self, _open: &Open) -> Option<Refusal> {
        self.stopped_for.clone()
    }

    fn restore_marks(&self, _number: i32, _pod: &PodView) -> Option<&'static str> {
        self.lacks_marks.then_some("restore")
    }
}

const WELL: Job = Job {
    wanted: Wanted::Work,
    stopped_for: None,
    lacks_marks: false,
};

fn open(pod_uid: Option<&str>) -> Open {
    Open {
        number: 1,
        pod_uid: pod_uid.map(str::to_owned),
    }
}

fn pod(changes: Value) -> PodView {
    let mut object = json!({
        "metadata": {
            "name": "job-a", "namespace": "town", "uid": "pod-1",
            "creationTimestamp": "1970-01-01T00:00:00Z",
            "labels": {"gastown.io/attempt": "1"},
            "finalizers": ["gastown.io/evidence"],
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Job", "name": "a", "uid": "job-uid", "controller": true,
            }],
        },
        "status": {"phase": "Pending"},
    });
    merge(&mut object, changes);
    serde_json::from_value(object).unwrap()
}

fn running(ready: bool) -> Value {
    json!({"status": {
        "phase": "Running",
        "initContainerStatuses": [
            {"name": "broker", "ready": ready, "state": {"running": {"startedAt": "1970-01-01T00:00:00Z"}}},
        ],
        "containerStatuses": [{"name": "work", "state": {"running": {}}}],
    }})
}

fn seen(pod: PodLookup) -> Observed<Report> {
    Observed {
        pod,
        report: None,
        refusal: None,
        claimed: None,
        restored: false,
    }
}

fn found(changes: Value) -> Observed<Report> {
    seen(PodLookup::Found(Arc::new(pod(changes))))
}

fn reported(state: &Value) -> Observed<Report> {
    let mut seen = found(running(false));
    let line = json!({"attempt": 1, "state": state, "found": 3}).to_string();
    seen.report = Some(BrokerReport {
        pod_uid: "pod-1".to_owned(),
        evidence: evidence_in_log(&line, 1),
        read_at: at(1000),
    });
    seen
}

#[test]
fn only_the_reconcile_that_claimed_an_attempt_creates_its_pod() {
    let mut none = seen(PodLookup::NotCached);
    let decision = decide(&WELL, &open(None), &none, at(1000));
    assert_eq!(decision, Decision::Pod(Step::Act(PodAct::Look)));
    none.pod = PodLookup::NotFound;
    let decision = decide(&WELL, &open(None), &none, at(1000));
    assert_eq!(decision, Decision::Prepare { claimed: false });
    none.claimed = Some(1);
    let decision = decide(&WELL, &open(None), &none, at(1000));
    assert_eq!(decision, Decision::Prepare { claimed: true });
    none.refusal = Some(Refusal::new(Reason::QuotaExceeded, "full"));
    let decision = decide(&WELL, &open(None), &none, at(1000));
    assert!(matches!(decision, Decision::Over(End::Failed(_))), "{decision:?}");
    let stopped = Job {
        wanted: Wanted::Stop(Reason::Terminated),
        ..WELL
    };
    let decision = decide(&stopped, &open(None), &none, at(1000));
    assert_eq!(decision, Decision::Over(End::NeverStarted(Reason::Terminated)));
}

#[test]
fn a_pod_that_a_status_names_is_lost_only_if_the_api_server_has_none() {
    let is_lost = |lookup| {
        let seen = seen(lookup);
        let decision = decide(&WELL, &open(Some("pod-1")), &seen, at(1000));
        decision == Decision::Over(End::Lost(Wanted::Work))
    };
    assert!(!is_lost(PodLookup::NotCached));
    assert!(is_lost(PodLookup::NotFound));
}

#[test]
fn the_pod_of_an_earlier_object_goes_first_and_a_strangers_fails_the_attempt() {
    let other = |uid: &str| json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Job", "name": "a", "uid": uid, "controller": true}]}});
    let earlier = found(other("earlier"));
    let decision = decide(&WELL, &open(None), &earlier, at(1000));
    let uid = "pod-1".to_owned();
    assert_eq!(decision, Decision::Pod(Step::Act(PodAct::Delete { uid })));
    let strange = found(json!({"metadata": {"ownerReferences": null}}));
    let decision = decide(&WELL, &open(None), &strange, at(1000));
    let Decision::Over(End::Failed(refusal)) = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(
        (refusal.reason, refusal.message.as_str()),
        (Reason::PodNameTaken, "pod \"job-a\" exists and belongs to no job")
    );
}

#[test]
fn marks_are_put_back_once_a_reconcile() {
    let bare = Job {
        lacks_marks: true,
        ..WELL
    };
    let mut seen = found(running(true));
    assert_eq!(
        decide(&bare, &open(None), &seen, at(1000)),
        Decision::Restore("restore")
    );
    seen.restored = true;
    let decision = decide(&bare, &open(None), &seen, at(1000));
    assert!(matches!(decision, Decision::Running { .. }), "{decision:?}");
}

#[test]
fn a_broker_is_read_once_and_then_believed() {
    let seen = found(running(false));
    let decision = decide(&WELL, &open(None), &seen, at(1000));
    let uid = "pod-1".to_owned();
    assert_eq!(
        decision,
        Decision::Pod(Step::Act(PodAct::ReadBroker { uid, attempt: 1 }))
    );
    let parked = json!({"name": "parked", "reason": "SecretMissing", "message": "secret \"git\""});
    let parked = reported(&parked);
    let decision = decide(&WELL, &open(None), &parked, at(1001));
    let Decision::Parked { reason, message, .. } = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(
        (reason, message.as_str()),
        (Reason::SecretMissing, "secret \"git\"")
    );
    let stopped = json!({"name": "stopped", "reason": "DeadlineExceeded", "message": "an hour"});
    let stopped = reported(&stopped);
    let decision = decide(&WELL, &open(None), &stopped, at(1001));
    let Decision::Stop { why, .. } = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(why.reason, Reason::DeadlineExceeded);
}

#[test]
fn a_pod_is_deleted_once_the_status_says_why() {
    let going = Job {
        wanted: Wanted::Stop(Reason::Idle),
        ..WELL
    };
    let seen = found(running(true));
    let decision = decide(&going, &open(None), &seen, at(1000));
    let Decision::Stop { why, .. } = decision else {
        panic!("{decision:?}")
    };
    let recorded = Job {
        stopped_for: Some(why),
        ..going
    };
    let decision = decide(&recorded, &open(None), &seen, at(1000));
    let uid = "pod-1".to_owned();
    assert_eq!(decision, Decision::Pod(Step::Act(PodAct::Delete { uid })));
    // It is wanted again, and goes all the same: it was deleted for that.
    let again = Job {
        wanted: Wanted::Work,
        ..recorded
    };
    let seen = seen_deleting();
    let decision = decide(&again, &open(None), &seen, at(1000));
    let Decision::Stopping { overdue, wake, .. } = decision else {
        panic!("{decision:?}")
    };
    assert_eq!((overdue, wake), (false, Some(at(1060))));
    let decision = decide(&again, &open(None), &seen, at(1060));
    let Decision::Stopping { overdue, .. } = decision else {
        panic!("{decision:?}")
    };
    assert!(overdue);
    assert_eq!(
        again.request(again.stopped_for.as_ref(), true),
        Wanted::Stop(Reason::Idle)
    );
}

fn seen_deleting() -> Observed<Report> {
    let mut changes = running(true);
    merge(
        &mut changes,
        json!({"metadata": {"deletionTimestamp": "1970-01-01T00:16:40Z"}}),
    );
    found(changes)
}

#[test]
fn an_end_waits_for_the_brokers_last_report() {
    let mut changes = running(true);
    merge(&mut changes, json!({"status": {"phase": "Succeeded"}}));
    changes["status"]["containerStatuses"][0]["state"] =
        json!({"terminated": {"exitCode": 0, "finishedAt": "1970-01-01T00:16:40Z"}});
    let seen = found(changes.clone());
    let decision = decide(&WELL, &open(None), &seen, at(1000));
    let Decision::Running { wake, .. } = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(wake, Some(at(1060)));
    let message = json!({"attempt": 1, "state": {"name": "serving"}, "found": 7}).to_string();
    changes["status"]["initContainerStatuses"][0]["state"] =
        json!({"terminated": {"exitCode": 0, "message": message}});
    let seen = found(changes);
    let decision = decide(&WELL, &open(None), &seen, at(1000));
    let Decision::Over(End::Ended(ended)) = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(evidence_of::<Report>(ended, 1).unwrap().found, 7);
    assert_eq!(evidence_of::<Report>(ended, 2), None);
    let released = clear(ended, "Job", SHAPE, 30, at(1000));
    let uid = "pod-1".to_owned();
    assert_eq!(released, Some(Step::Act(PodAct::Release { uid })));
}

#[test]
fn why_an_attempt_failed_is_known_for_any_pod() {
    let known = Known {
        shape: SHAPE,
        broker: None,
        given_up: None,
        own_image: false,
    };
    let ended = |code: i32, reason: &str| {
        pod(json!({"status": {"phase": "Failed", "containerStatuses": [
            {"name": "work", "state": {"terminated": {"exitCode": code, "reason": reason}}},
        ]}}))
    };
    let none = || None;
    let killed = failure(&ended(137, "OOMKilled"), &known, none).unwrap();
    assert_eq!(
        killed,
        (Reason::OutOfMemory, "container work was killed".to_owned())
    );
    let own = || Some((Reason::CloneFailed, "mine".to_owned()));
    assert_eq!(
        failure(&ended(137, "OOMKilled"), &known, own).unwrap().0,
        Reason::CloneFailed
    );
    assert_eq!(failure(&ended(1, "Error"), &known, none), None);
    let evicted = pod(json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "disk"}}));
    assert_eq!(
        failure(&evicted, &known, own).unwrap(),
        (Reason::Evicted, "disk".to_owned())
    );
    let stopped = BrokerState::Stopped {
        reason: Reason::HostKeyUnknown,
        message: "github.com".to_owned(),
    };
    let known = Known {
        broker: Some(&stopped),
        ..known
    };
    assert_eq!(failure(&evicted, &known, own).unwrap().0, Reason::HostKeyUnknown);
}

#[test]
fn evidence_is_found_at_the_end_of_a_log_between_other_lines() {
    let word = |found: u32| json!({"attempt": 1, "state": {"name": "serving"}, "found": found}).to_string();
    let log = format!(
        "{}\n{{\"level\":\"INFO\"}}\n{}\nplain\n{{\"attempt\":1}}\n",
        word(1),
        word(2)
    );
    assert_eq!(evidence_in_log::<Report>(&log, 1).unwrap().found, 2);
    assert_eq!(evidence_in_log::<Report>(&log, 2), None);
}

#[test]
fn a_time_that_no_clock_reaches_stops_nothing() {
    let end = "9999-12-30T22:00:00Z";
    let mut changes = running(false);
    changes["status"]["initContainerStatuses"][0]["state"] = json!({"running": {"startedAt": end}});
    let signal = listen::<Report>(&pod(changes.clone()), SHAPE, 1, None, at(0));
    assert!(matches!(signal, Signal::Later(_)), "{signal:?}");
    changes["status"]["phase"] = json!("Succeeded");
    changes["status"]["containerStatuses"][0]["state"] =
        json!({"terminated": {"exitCode": 0, "finishedAt": end}});
    assert_eq!(
        pod(changes).ending(SHAPE, 120),
        Ending::Expected(jiff::Timestamp::MAX)
    );
}
