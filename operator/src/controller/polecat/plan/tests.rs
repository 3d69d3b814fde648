//! Every test drives the plan through a world in which each act succeeds as an API server would have it.

mod lifecycle;
mod orders;
mod trouble;

use std::sync::Arc;

use gastown_api::polecat::PolecatPhase;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::*;
use crate::controller::polecat::build;
use crate::controller::polecat::judge::evidence_in_log;
use crate::controller::polecat::validate::validate;
use crate::testing::{BASE, HEAD, at, ended, evidence, merge, pod, polecat, rig, running, settings};

/// The cluster, as far as a plan can tell.
struct World {
    observed: Observed,
    settings: Settings,
    now: i64,
    /// What the plan did, in order.
    acts: Vec<&'static str>,
    notices: Vec<Reason>,
    /// What the API server says to the next pod.
    refuse: Option<Refusal>,
    /// What the broker's log holds.
    log: String,
}

impl World {
    fn of(polecat: Arc<Polecat>) -> Self {
        Self {
            observed: Observed {
                polecat,
                rig: None,
                pod: Sight::Unseen,
                word: None,
                refusal: None,
                claimed: None,
            },
            settings: settings(),
            now: 1000,
            acts: vec![],
            notices: vec![],
            refuse: None,
            log: String::new(),
        }
    }

    fn new() -> Self {
        Self::of(polecat(json!({})))
    }

    /// A polecat whose agent runs.
    fn at_work() -> Self {
        let mut world = Self::new();
        world.settle();
        world.pod_reports(&running());
        world.settle();
        world.acts.clear();
        world
    }

    /// Plans and carries out until the plan waits.
    fn settle(&mut self) -> Option<Timestamp> {
        for _ in 0..12 {
            match next(&self.observed, &self.settings, at(self.now)).unwrap() {
                Step::Wait(until) => return until,
                Step::Act(act) => self.carry_out(act),
            }
        }
        panic!("does not settle: {:?}", self.acts);
    }

    fn carry_out(&mut self, act: Act) {
        self.acts.push(act.name());
        match act {
            Act::Claim { finalizers, labels } => {
                self.change(json!({"metadata": {"finalizers": finalizers, "labels": labels}}));
                self.observed.claimed = Some(FIRST_ATTEMPT);
            }
            Act::CreatePod(pod) => {
                self.observed.refusal = self.refuse.take();
                if self.observed.refusal.is_none() {
                    let mut view = serde_json::to_value(&pod).unwrap();
                    let attempt = &pod.metadata.labels.as_ref().unwrap()["gastown.io/attempt"];
                    merge(
                        &mut view,
                        json!({"metadata": {"uid": format!("pod-uid-{attempt}")}}),
                    );
                    self.observed.pod = Sight::Present(Arc::new(serde_json::from_value(view).unwrap()));
                    self.observed.claimed = None;
                }
            }
            Act::LookForPod => self.observed.pod = Sight::Absent,
            Act::ReadBroker { uid, attempt } => {
                self.observed.word = Some(Word {
                    pod_uid: uid,
                    evidence: evidence_in_log(&self.log, attempt),
                    read_at: at(self.now),
                });
            }
            Act::DeletePod { uid } => {
                assert_eq!(self.pod().uid(), uid);
                self.pod_changes(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
                self.drop_released();
            }
            Act::ReleasePod { uid } => {
                assert_eq!(self.pod().uid(), uid);
                self.pod_changes(json!({"metadata": {"finalizers": []}}));
                self.drop_released();
            }
            Act::ReleasePolecat { finalizers } => {
                self.change(json!({"metadata": {"finalizers": finalizers}}));
            }
            Act::DeletePolecat => {
                self.change(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
            }
            Act::WriteStatus(report) => {
                self.notices.extend(report.notice.map(|n| n.reason));
                let status = serde_json::to_value(&report.status).unwrap();
                // Through JSON, as the API server has it.
                self.change(json!({"status": null}));
                self.change(json!({"status": status}));
                self.observed.refusal = None;
                self.observed.claimed = report.claims.or(self.observed.claimed);
            }
        }
    }

    /// A pod that is to go goes when no finalizer holds it and nothing of it runs.
    fn drop_released(&mut self) {
        let gone = {
            let pod = self.pod();
            pod.is_deleting() && !pod.holds_evidence() && pod.ending(0) == Ending::Ended
        };
        if gone {
            self.observed.pod = Sight::Absent;
        }
    }

    fn change(&mut self, patch: Value) {
        let mut object = serde_json::to_value(&*self.observed.polecat).unwrap();
        merge(&mut object, patch);
        self.observed.polecat = Arc::new(serde_json::from_value(object).unwrap());
    }

    fn want(&mut self, desired: &str) {
        self.change(json!({"spec": {"desiredState": desired}}));
    }

    fn pod(&self) -> &PodView {
        match &self.observed.pod {
            Sight::Present(pod) => pod,
            sight => panic!("no pod: {sight:?}"),
        }
    }

    fn pod_changes(&mut self, patch: Value) {
        let mut object = serde_json::to_value(self.pod()).unwrap();
        merge(&mut object, patch);
        self.observed.pod = Sight::Present(Arc::new(serde_json::from_value(object).unwrap()));
    }

    fn pod_reports(&mut self, status: &Value) {
        self.pod_changes(json!({"status": null}));
        self.pod_changes(json!({"status": status}));
    }

    fn status(&self) -> &PolecatStatus {
        self.observed.polecat.status.as_ref().expect("there is a status")
    }

    /// Phase, and status and reason of Ready.
    fn says(&self) -> (PolecatPhase, &str, &str) {
        let ready = self.condition("Ready").expect("Ready is always there");
        (
            self.status().phase.expect("there is a phase"),
            ready.status.as_str(),
            ready.reason.as_str(),
        )
    }

    fn condition(&self, type_: &str) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
        self.status().conditions.iter().find(|c| c.type_ == type_)
    }

    fn has_pod(&self) -> bool {
        matches!(self.observed.pod, Sight::Present(_))
    }
}

const IDLE: PolecatPhase = PolecatPhase::Idle;
const WORKING: PolecatPhase = PolecatPhase::Working;
const DONE: PolecatPhase = PolecatPhase::Done;
const STUCK: PolecatPhase = PolecatPhase::Stuck;
const TERMINATED: PolecatPhase = PolecatPhase::Terminated;

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
    assert_eq!(world.notices, [Reason::Delivered]);
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
    for sight in [Sight::Unseen, Sight::Absent] {
        world.observed.pod = sight;
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
            ["DeletePod", "WriteStatus", "WriteStatus", "ReleasePod"]
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
    assert_eq!(world.notices, [Reason::SpecIncomplete]);
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
    assert_eq!(order["model"]["tokensLeft"], 400);
    assert_eq!(order["git"]["base"], BASE);

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
fn a_number_that_was_claimed_before_a_crash_is_not_used_again() {
    // Claimed by the finalizer, and then the operator went away: before the pod, or after it, and someone took it away.
    let claimed = json!({"metadata": {"finalizers": ["gastown.io/polecat-cleanup"]}});
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
    world.observed.pod = Sight::Present(Arc::new(pod(json!({}))));
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
    world.observed.claimed = None;
    world.observed.pod = Sight::Unseen;
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
    world.observed.pod = Sight::Present(Arc::new(pod(later)));
    let step = next(&world.observed, &world.settings, at(world.now)).unwrap();
    assert!(
        matches!(step, Step::Act(Act::WriteStatus(_))),
        "a status on an old state is refused: {step:?}"
    );
}

#[test]
fn a_pod_that_vanished_is_looked_for_before_it_is_lost() {
    let mut world = World::at_work();
    world.observed.pod = Sight::Unseen;
    world.settle();
    assert_eq!(world.acts, ["LookForPod", "WriteStatus"]);
    assert_eq!(world.says(), (STUCK, "False", "PodLost"));
    assert_eq!(world.condition("WorkMayBeLost").unwrap().status, "True");
}

#[test]
fn a_pod_that_the_cache_had_not_seen_yet_is_no_loss() {
    let mut world = World::at_work();
    let pod = world.observed.pod.clone();
    world.observed.pod = Sight::Unseen;
    let step = next(&world.observed, &world.settings, at(world.now)).unwrap();
    assert_eq!(step, Step::Act(Act::LookForPod));
    world.observed.pod = pod;
    world.settle();
    assert!(world.acts.is_empty(), "{:?}", world.acts);
}

#[test]
fn the_pod_of_an_earlier_polecat_of_that_name_goes_first() {
    let mut world = World::new();
    let foreign = json!({"metadata": {"uid": "old", "ownerReferences": [{
        "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat", "name": "furiosa", "uid": "other",
        "controller": true,
    }]}, "status": running()});
    world.observed.pod = Sight::Present(Arc::new(pod(foreign)));
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
    world.observed.pod = Sight::Present(Arc::new(pod(stranger)));
    world.settle();
    assert_eq!(world.acts, ["WriteStatus"]);
    assert_eq!(world.says(), (STUCK, "False", "PodNameTaken"));
}

#[test]
fn a_refused_pod_ends_the_attempt_in_the_servers_words() {
    let mut world = World::new();
    world.refuse = Some(Refusal::new(Reason::QuotaExceeded, "exceeded quota: q"));
    world.settle();
    assert_eq!(world.acts, ["Claim", "CreatePod", "WriteStatus"]);
    assert_eq!(world.says(), (STUCK, "False", "QuotaExceeded"));
    assert!(
        world
            .condition("Ready")
            .unwrap()
            .message
            .contains("exceeded quota: q")
    );
    world.change(json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "1"}}}));
    world.refuse = Some(Refusal::new(Reason::AdmissionRefused, "no"));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "AdmissionRefused"));
    assert_eq!(world.status().attempts[0].number, 2);
}

#[test]
fn an_image_that_cannot_be_pulled_ends_the_attempt_and_the_pod() {
    for reason in ["ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"] {
        let mut world = World::new();
        world.settle();
        world.acts.clear();
        world.pod_reports(&json!({"phase": "Pending", "containerStatuses": [
            {"name": "claude", "state": {"waiting": {"reason": reason, "message": "image x"}}},
        ]}));
        world.settle();
        assert_eq!(world.says(), (STUCK, "False", "ImagePullFailed"));
        assert_eq!(world.acts, ["WriteStatus", "DeletePod"]);
        assert!(world.condition("Ready").unwrap().message.contains("image x"));
    }
}

#[test]
fn a_pod_that_no_node_takes_waits_and_heals() {
    let mut world = World::new();
    world.settle();
    world.pod_reports(&json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
    ]}));
    world.settle();
    assert_eq!(world.says(), (WORKING, "False", "Unschedulable"));
    assert!(world.condition("Ready").unwrap().message.contains("0/1 nodes"));
    world.pod_reports(&running());
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "AgentRunning"));
}

#[test]
fn status_comes_before_the_pods_finalizer_goes() {
    let mut world = World::at_work();
    world.pod_reports(&ended(1, &evidence(json!({"head": BASE}))));
    world.settle();
    assert_eq!(world.acts, ["WriteStatus", "ReleasePod"]);
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
fn a_deleted_polecat_saves_its_work_and_names_the_ref_in_an_event() {
    let mut world = World::at_work();
    world.change(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    world.settle();
    assert_eq!(world.acts, ["DeletePod", "WriteStatus"]);
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
    let notice = report.notice.unwrap();
    assert_eq!(notice.reason, Reason::Terminated);
    assert!(
        notice.note.contains("refs/w") && notice.note.contains(HEAD),
        "{}",
        notice.note
    );
    world.settle();
    let tail = &world.acts[world.acts.len() - 3..];
    assert_eq!(tail, ["WriteStatus", "ReleasePod", "ReleasePolecat"]);
    assert!(world.observed.polecat.finalizers().is_empty());
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

fn ring(world: &mut World, ready: bool) {
    let mut status = running();
    status["initContainerStatuses"][0]["ready"] = json!(ready);
    world.pod_reports(&status);
    if ready {
        world.observed.word = None;
    }
}

fn parked(until: Option<&str>) -> String {
    let state =
        json!({"name": "parked", "reason": "SecretMissing", "message": "secret \"git\"", "until": until});
    evidence(json!({"state": state})).to_string()
}

#[test]
fn a_parked_broker_is_heard_once_and_goes_on() {
    let mut world = World::at_work();
    world.log = format!("{{\"level\":\"INFO\"}}\n{}\nnoise\n", parked(None));
    ring(&mut world, false);
    world.settle();
    assert_eq!(world.acts, ["ReadBroker", "WriteStatus"]);
    assert_eq!(world.says(), (WORKING, "False", "SecretMissing"));
    assert!(
        world
            .condition("Parked")
            .unwrap()
            .message
            .starts_with("secret \"git\"")
    );
    assert_eq!(world.notices, [Reason::SecretMissing]);
    world.settle();
    assert_eq!(world.acts.len(), 2, "no polling: {:?}", world.acts);
    ring(&mut world, true);
    world.settle();
    assert_eq!(world.says(), (WORKING, "True", "AgentRunning"));
    assert!(world.condition("Parked").is_none());
}

#[test]
fn after_a_restart_the_bell_is_heard_anew() {
    let mut world = World::at_work();
    world.log = parked(None);
    ring(&mut world, false);
    world.settle();
    world.observed.word = None;
    world.log =
        evidence(json!({"state": {"name": "stopped", "reason": "BudgetSpent", "message": "m"}})).to_string();
    world.acts.clear();
    world.settle();
    assert_eq!(world.acts, ["ReadBroker", "DeletePod", "WriteStatus"]);
}

#[test]
fn a_pod_that_is_parked_past_its_time_is_asked_again() {
    let mut world = World::at_work();
    world.log = parked(Some("1970-01-01T00:20:00Z"));
    ring(&mut world, false);
    assert_eq!(world.settle(), Some(at(1205)));
    world.acts.clear();
    world.now = 1205;
    world.log = parked(Some("1970-01-01T00:30:00Z"));
    assert_eq!(world.settle(), Some(at(1805)));
    assert_eq!(
        world.acts,
        ["ReadBroker", "WriteStatus"],
        "the status names the new time"
    );
}

#[test]
fn a_stopped_broker_ends_its_pod_and_says_why() {
    let mut world = World::at_work();
    let stopped =
        json!({"head": BASE, "state": {"name": "stopped", "reason": "BudgetSpent", "message": "9 of 9"}});
    world.log = evidence(stopped.clone()).to_string();
    ring(&mut world, false);
    world.settle();
    assert_eq!(world.acts, ["ReadBroker", "DeletePod", "WriteStatus"]);
    assert_eq!(world.says().2, "Stopping");
    world.pod_reports(&ended(143, &evidence(stopped)));
    world.settle();
    assert_eq!(world.says(), (STUCK, "False", "BudgetSpent"));
    assert!(world.condition("Ready").unwrap().message.contains("9 of 9"));
}

#[test]
fn a_broker_before_its_first_probe_rings_no_bell() {
    let mut world = World::new();
    world.settle();
    let mut status = running();
    status["initContainerStatuses"][0]["ready"] = json!(false);
    status["initContainerStatuses"][0]["state"]["running"]["startedAt"] = json!("1970-01-01T00:16:38Z");
    world.pod_reports(&status);
    world.acts.clear();
    assert_eq!(world.settle(), Some(at(1003)));
    assert_eq!(world.acts, ["WriteStatus"]);
    world.now = 1003;
    world.log = parked(None);
    world.settle();
    assert_eq!(world.acts, ["WriteStatus", "ReadBroker", "WriteStatus"]);
}

#[test]
fn a_log_that_does_not_say_why_is_read_again_later() {
    let mut world = World::at_work();
    world.log = "nothing\n".to_owned();
    ring(&mut world, false);
    assert_eq!(world.settle(), Some(at(1010)));
    assert_eq!(world.acts, ["ReadBroker"]);
}

#[test]
fn a_broker_that_restarts_in_vain_is_stopped() {
    let mut world = World::at_work();
    let stopped =
        evidence(json!({"state": {"name": "stopped", "reason": "PodLost", "message": "port taken"}}));
    let mut status = running();
    status["initContainerStatuses"][0] = json!({
        "name": "broker", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "message": stopped.to_string()}},
    });
    world.pod_reports(&status);
    world.settle();
    assert_eq!(world.acts, ["DeletePod", "WriteStatus"]);
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

#[test]
fn the_pod_of_a_polecat_that_is_gone_is_released_when_it_has_ended() {
    let settings = settings();
    let act = |view: &PodView| next_of_orphan(view, &settings, at(1000)).map(|act| act.name());
    assert_eq!(act(&pod(json!({"status": running()}))), Some("DeletePod"));
    assert_eq!(
        act(&pod(json!({"status": ended(0, &evidence(json!({})))}))),
        Some("ReleasePod")
    );
    assert_eq!(act(&pod(json!({"metadata": {"finalizers": null}}))), None);
}
