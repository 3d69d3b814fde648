//! Every test drives the plan through a world in which each act succeeds as an API server would have it.

mod budget;
mod crash;
mod delivery;
mod image;
mod lifecycle;
mod manifest;
mod marks;
mod orders;
mod others;
mod queued;
mod readiness;
mod retry;
mod stopped;
mod trouble;

use std::sync::Arc;

use gastown_api::labels::POLECAT_FINALIZER;
use gastown_api::polecat::PolecatPhase;
use gastown_api::reason::AnyReason;
use gastown_api::work_order::Control;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::*;
use crate::attempt::{self, BrokerReport, FIRST, PodLookup, evidence_in_log};
use crate::images::Answer;
use crate::pod_view::Ending;
use crate::testing::{BASE, HEAD, at, ended, evidence, merge, pod, polecat, rig, running, settings};

/// The cluster, as far as a plan can tell.
struct World {
    observed: Observed,
    settings: Settings,
    now: i64,
    /// What the plan did, in order.
    acts: Vec<&'static str>,
    transitions: Vec<AnyReason>,
    /// What the API server says to the next pod.
    refuse: Option<Refusal>,
    /// What is known of the next image that is asked about.
    answer: Option<Answer>,
    /// The agent's image in the last pod.
    image: Option<String>,
    /// What the broker's log holds.
    log: String,
}

impl World {
    fn of(polecat: Arc<Polecat>) -> Self {
        Self {
            observed: Observed {
                polecat,
                rig: None,
                attempt: attempt::Observed {
                    pod: PodLookup::NotCached,
                    report: None,
                    refusal: None,
                    claimed: None,
                    restored: false,
                },
                image: None,
                bound: None,
                lends_at: None,
            },
            settings: settings(),
            now: 1000,
            acts: vec![],
            transitions: vec![],
            refuse: None,
            answer: None,
            image: None,
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
        self.observed.attempt.restored = false;
        self.observed.image = None;
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
                self.observed.attempt.claimed = Some(FIRST);
            }
            Act::RestorePolecat { finalizers, labels } => {
                self.change(json!({"metadata": {"finalizers": finalizers, "labels": labels}}));
                self.observed.attempt.restored = true;
            }
            Act::Pod(PodAct::Restore { uid, labels }) => {
                assert_eq!(self.pod().uid(), uid);
                self.pod_changes(
                    json!({"metadata": {"finalizers": ["gastown.io/evidence"], "labels": labels}}),
                );
                self.observed.attempt.restored = true;
            }
            Act::AskForImage(question) => {
                let answer = self.answer.clone().expect("nothing is known of the image");
                self.observed.image = Some((*question, answer));
            }
            Act::Pod(PodAct::Create(pod)) => {
                let claude = &pod.spec.as_ref().unwrap().containers[0];
                self.image.clone_from(&claude.image);
                self.observed.attempt.refusal = self.refuse.take();
                if self.observed.attempt.refusal.is_none() {
                    let mut view = serde_json::to_value(&pod).unwrap();
                    let attempt = &pod.metadata.labels.as_ref().unwrap()["gastown.io/attempt"];
                    merge(
                        &mut view,
                        json!({"metadata": {"uid": format!("pod-uid-{attempt}")}}),
                    );
                    self.observed.attempt.pod =
                        PodLookup::Found(Arc::new(serde_json::from_value(view).unwrap()));
                    self.observed.attempt.claimed = None;
                }
            }
            Act::Pod(PodAct::Look) => self.observed.attempt.pod = PodLookup::NotFound,
            Act::Pod(PodAct::ReadBroker { uid, attempt }) => {
                self.observed.attempt.report = Some(BrokerReport {
                    pod_uid: uid,
                    evidence: evidence_in_log(&self.log, attempt),
                    read_at: at(self.now),
                });
            }
            Act::Pod(PodAct::Grant { uid, granted }) => {
                assert_eq!(self.pod().uid(), uid);
                let control = serde_json::to_string(&Control { granted }).unwrap();
                self.pod_changes(json!({"metadata": {"annotations": {"gastown.io/control": control}}}));
            }
            Act::Pod(PodAct::Delete { uid }) => {
                assert_eq!(self.pod().uid(), uid);
                self.pod_changes(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
                self.drop_released();
            }
            Act::Pod(PodAct::Release { uid }) => {
                assert_eq!(self.pod().uid(), uid);
                self.pod_changes(json!({"metadata": {"finalizers": []}}));
                self.drop_released();
            }
            Act::ReleasePolecat => {
                let mut finalizers = self.observed.polecat.finalizers().to_vec();
                finalizers.retain(|finalizer| finalizer != POLECAT_FINALIZER);
                self.change(json!({"metadata": {"finalizers": finalizers}}));
            }
            Act::DeletePolecat => {
                self.change(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
            }
            Act::WriteStatus(report) => {
                self.transitions.extend(report.transition.map(|n| n.reason));
                let status = serde_json::to_value(&report.status).unwrap();
                // Through JSON, as the API server has it.
                self.change(json!({"status": null}));
                self.change(json!({"status": status}));
                self.observed.attempt.refusal = None;
                self.observed.attempt.claimed = report.claims.or(self.observed.attempt.claimed);
            }
        }
    }

    /// A pod that is to go goes when no finalizer holds it and nothing of it runs.
    fn drop_released(&mut self) {
        let gone = {
            let pod = self.pod();
            pod.is_deleting() && !pod.holds_evidence() && pod.ending(SHAPE, 0) == Ending::Ended
        };
        if gone {
            self.observed.attempt.pod = PodLookup::NotFound;
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
        match &self.observed.attempt.pod {
            PodLookup::Found(pod) => pod,
            sight => panic!("no pod: {sight:?}"),
        }
    }

    fn pod_changes(&mut self, patch: Value) {
        let mut object = serde_json::to_value(self.pod()).unwrap();
        merge(&mut object, patch);
        self.observed.attempt.pod = PodLookup::Found(Arc::new(serde_json::from_value(object).unwrap()));
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
        matches!(self.observed.attempt.pod, PodLookup::Found(_))
    }
}

const IDLE: PolecatPhase = PolecatPhase::Idle;
const WORKING: PolecatPhase = PolecatPhase::Working;
const DONE: PolecatPhase = PolecatPhase::Done;
const STUCK: PolecatPhase = PolecatPhase::Stuck;
const TERMINATED: PolecatPhase = PolecatPhase::Terminated;

fn ring(world: &mut World, ready: bool) {
    let mut status = running();
    status["initContainerStatuses"][0]["ready"] = json!(ready);
    world.pod_reports(&status);
    if ready {
        world.observed.attempt.report = None;
    }
}

fn parked(until: Option<&str>) -> String {
    let state =
        json!({"name": "parked", "reason": "SecretMissing", "message": "secret \"git\"", "until": until});
    evidence(json!({"state": state})).to_string()
}
