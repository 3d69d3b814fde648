//! The model: what the API server holds, what really runs on nodes, and what the operator believes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use fastrand::Rng;
use gastown_api::evidence::{BrokerState, Evidence};
use gastown_api::labels::{POLECAT_FINALIZER, RETRY_REQUESTED_AT};
use gastown_api::pod::{BROKER, CLAUDE, GIT_INIT, KEEPER};
use gastown_api::polecat::{AttemptOutcome, DesiredState, Polecat, PolecatPhase};
use gastown_api::reason::Reason;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::json;

use super::super::super::{Act, FIRST_ATTEMPT, Observed, Report, Sight, Step, Word, next, next_of_orphan};
use crate::controller::polecat::validate::{Refusal, Settings};
use crate::pod_view::{ConditionView, ContainerView, PodView, RunningView, StateView, TerminatedView};
use crate::testing::{BASE, HEAD, at, polecat, settings};

const GRACE: i64 = 120;

/// Parsed once: that takes longer than a whole order of events.
static SETTINGS: LazyLock<Settings> = LazyLock::new(settings);

/// What really runs: the containers of one pod on one node.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each container ends by itself, in any order"
)]
struct Machine {
    uid: String,
    attempt: i32,
    node: Node,
    started: bool,
    /// The agent's exit code, when it has ended.
    claude: Option<i32>,
    keeper_ended: bool,
    broker_ended: bool,
    broker: BrokerState,
    head_moved: bool,
    evicted: bool,
    ended_at: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Well,
    /// It does not answer, and its containers go on.
    Silent,
    /// The machine is off, and its Node object deleted.
    Gone,
}

impl Machine {
    fn runs(&self) -> bool {
        let all_ended = self.claude.is_some() && self.keeper_ended && self.broker_ended;
        self.node != Node::Gone && !all_ended
    }

    /// A second pod beside this one would be one too many. A sidecar whose end the kubelet does not report long after
    /// the agent's and the grace does nothing any more.
    fn is_live(&self, now: i64) -> bool {
        let is_waited_for = self.claude.is_none() || now < self.ended_at + GRACE + 30;
        self.runs() && is_waited_for
    }
}

/// Why a look ended early.
struct Broken;

pub struct Town {
    rng: Rng,
    settings: &'static Settings,
    now: i64,
    calm: bool,
    version: u64,
    // The API server.
    polecat: Option<Polecat>,
    pod: Option<PodView>,
    // The nodes.
    machines: Vec<Machine>,
    // The operator's caches.
    seen_polecat: Option<Arc<Polecat>>,
    seen_pod: Option<Arc<PodView>>,
    word: Option<Word>,
    wake: Option<Timestamp>,
    // What happened, for the checks.
    delivered: bool,
    outcomes: BTreeMap<i32, AttemptOutcome>,
    /// Of each pod that ever was.
    numbers: BTreeSet<i32>,
    story: Vec<String>,
}

impl Town {
    pub fn new(mut rng: Rng) -> Self {
        let limit = rng.i32(0..3);
        let polecat = (*polecat(json!({"spec": {"backoffLimit": limit}}))).clone();
        Self {
            rng,
            settings: &SETTINGS,
            now: 1_800_000_000,
            calm: false,
            version: 1,
            seen_polecat: Some(Arc::new(polecat.clone())),
            polecat: Some(polecat),
            pod: None,
            machines: vec![],
            seen_pod: None,
            word: None,
            wake: None,
            delivered: false,
            outcomes: BTreeMap::new(),
            numbers: BTreeSet::new(),
            story: vec![],
        }
    }

    pub fn story(&self) -> String {
        let status = self.polecat.as_ref().and_then(|p| p.status.as_ref());
        format!(
            "\n{}\nstatus {status:#?}\npod {:#?}",
            self.story.join("\n"),
            self.pod
        )
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    fn demand(&self, holds: bool, law: &str) {
        assert!(holds, "{law}: {}", self.story());
    }

    /// One random thing happens.
    pub fn event(&mut self) {
        match self.rng.u8(..40) {
            0..14 => self.look(),
            14..24 => self.kubelet_acts(),
            24..27 => self.watches_deliver(),
            27..29 => {
                self.now += self.rng.i64(1..400);
                self.tell(format!("it is {}", self.now));
            }
            29..31 => self.someone_wants(),
            31 => self.someone_asks_for_a_retry(),
            32 => self.someone_deletes_the_polecat(),
            33 => self.someone_deletes_the_pod(GRACE),
            34 => self.someone_deletes_the_pod(0),
            35 => self.nodes_become(Node::Well, Node::Silent),
            36 => self.nodes_become(Node::Silent, Node::Well),
            37 => self.the_node_is_deleted(),
            38 => self.the_pod_vanishes(),
            _ => self.operator_restarts(),
        }
    }

    fn touch(&mut self, change: impl FnOnce(&mut Polecat)) {
        self.version += 1;
        let version = self.version.to_string();
        if let Some(polecat) = &mut self.polecat {
            change(polecat);
            polecat.metadata.resource_version = Some(version);
        }
    }

    fn someone_wants(&mut self) {
        let desired = self.rng.choice([
            DesiredState::Idle,
            DesiredState::Working,
            DesiredState::Terminated,
        ]);
        self.tell(format!("someone wants {desired:?}"));
        self.touch(|polecat| {
            polecat.spec.desired_state = desired.unwrap_or_default();
            polecat.metadata.generation = polecat.metadata.generation.map(|g| g + 1);
        });
    }

    fn someone_asks_for_a_retry(&mut self) {
        let value = self.now.to_string();
        self.tell("someone asks for a retry");
        self.touch(|polecat| {
            polecat
                .annotations_mut()
                .insert(RETRY_REQUESTED_AT.to_owned(), value);
        });
    }

    fn someone_deletes_the_polecat(&mut self) {
        self.tell("someone deletes the polecat");
        let now = Time(at(self.now));
        self.touch(|polecat| {
            polecat.metadata.deletion_timestamp.get_or_insert(now);
        });
        self.forget_released_polecat();
    }

    fn forget_released_polecat(&mut self) {
        let is_gone = self
            .polecat
            .as_ref()
            .is_some_and(|p| p.metadata.deletion_timestamp.is_some() && p.finalizers().is_empty());
        if is_gone {
            self.polecat = None;
            self.tell("the polecat is gone");
            // The garbage collection of objects whose owner is gone.
            self.delete_pod(GRACE);
        }
    }

    fn someone_deletes_the_pod(&mut self, grace: i64) {
        self.tell(format!("someone deletes the pod with {grace} s"));
        self.delete_pod(grace);
    }

    fn delete_pod(&mut self, grace: i64) {
        let Some(pod) = &mut self.pod else { return };
        let machine = self.machines.iter().find(|m| m.uid == pod.uid());
        let never_placed = machine.is_none();
        let grace = if never_placed { 0 } else { grace };
        let meta = &mut pod.metadata;
        let until = Time(at(self.now + grace));
        let before = meta.deletion_timestamp.take();
        meta.deletion_timestamp =
            Some(before.map_or(until.clone(), |b| if b.0 < until.0 { b } else { until }));
        let least = meta.deletion_grace_period_seconds.unwrap_or(grace).min(grace);
        meta.deletion_grace_period_seconds = Some(least);
        self.forget_released_pod();
    }

    /// The API server drops a pod at a deletion with a grace of 0 and without finalizers.
    fn forget_released_pod(&mut self) {
        let is_gone = self.pod.as_ref().is_some_and(|pod| {
            pod.is_deleting()
                && pod.metadata.deletion_grace_period_seconds == Some(0)
                && pod.metadata.finalizers.as_deref().unwrap_or_default().is_empty()
        });
        if is_gone {
            self.pod = None;
            self.tell("the pod is gone");
        }
    }

    fn nodes_become(&mut self, from: Node, to: Node) {
        for machine in self.machines.iter_mut().filter(|m| m.node == from) {
            machine.node = to;
        }
        self.tell(if to == Node::Well {
            "nodes answer"
        } else {
            "nodes fall silent"
        });
    }

    /// Of a machine that is off: the garbage collection of pods marks its pods and deletes them by force.
    fn the_node_is_deleted(&mut self) {
        for machine in self.machines.iter_mut().filter(|m| m.node == Node::Silent) {
            machine.node = Node::Gone;
        }
        let lost = self
            .pod
            .as_ref()
            .and_then(|pod| self.machines.iter().find(|m| m.uid == pod.uid()));
        if lost.is_none_or(|m| m.node != Node::Gone) {
            return;
        }
        self.tell("the pod's node is deleted");
        if let Some(pod) = &mut self.pod
            && !matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
        {
            pod.status.phase = Some("Failed".to_owned());
            pod.status
                .conditions
                .push(condition("DisruptionTarget", "DeletionByPodGC"));
        }
        self.delete_pod(0);
    }

    /// Someone takes the finalizer off and deletes by force, and its containers are killed.
    fn the_pod_vanishes(&mut self) {
        if let Some(pod) = self.pod.take() {
            self.tell("the pod vanishes");
            for machine in self.machines.iter_mut().filter(|m| m.uid == pod.uid()) {
                machine.node = Node::Gone;
            }
        }
    }

    fn watches_deliver(&mut self) {
        self.seen_polecat = self.polecat.clone().map(Arc::new);
        self.seen_pod = self.pod.clone().map(Arc::new);
    }

    fn operator_restarts(&mut self) {
        self.tell("the operator restarts");
        self.word = None;
        self.watches_deliver();
    }

    // The kubelet.

    fn kubelet_acts(&mut self) {
        let Some(pod) = &self.pod else { return };
        let (uid, attempt, deleting) = (
            pod.uid().to_owned(),
            pod.attempt().unwrap_or(0),
            pod.is_deleting(),
        );
        if !self.machines.iter().any(|m| m.uid == uid) {
            if !deleting {
                self.place(uid, attempt);
            }
            return;
        }
        let calm = self.calm;
        let now = self.now;
        let rng = &mut self.rng;
        let Some(machine) = self
            .machines
            .iter_mut()
            .find(|m| m.uid == uid && m.node == Node::Well)
        else {
            return;
        };
        if !machine.runs() {
            // It has reported the end, and now lets the object go.
            if deleting {
                self.delete_pod(0);
            }
            return;
        }
        if machine.claude.is_some() || deleting {
            end_one(machine, rng, now);
        } else if !machine.started {
            machine.started = true;
        } else {
            work(machine, rng, now, calm);
        }
        self.kubelet_reports(&uid);
    }

    fn place(&mut self, uid: String, attempt: i32) {
        self.tell(format!("pod {uid} gets a node"));
        if let Some(pod) = &mut self.pod {
            pod.status.conditions.push(condition("PodScheduled", ""));
        }
        self.machines.push(Machine {
            uid,
            attempt,
            node: Node::Well,
            started: false,
            claude: None,
            keeper_ended: false,
            broker_ended: false,
            broker: BrokerState::Serving,
            head_moved: false,
            evicted: false,
            ended_at: 0,
        });
    }

    fn kubelet_reports(&mut self, uid: &str) {
        let Some(machine) = self.machines.iter().find(|m| m.uid == uid) else {
            return;
        };
        let Some(pod) = self.pod.as_mut().filter(|p| p.uid() == uid) else {
            return;
        };
        let all_ended = !machine.runs();
        let status = &mut pod.status;
        if !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            status.phase = Some(phase(machine, all_ended, &mut self.rng).to_owned());
        }
        status.reason = (machine.evicted && all_ended).then(|| "Evicted".to_owned());
        status.init_container_statuses = vec![
            broker(machine),
            sidecar(KEEPER, machine.keeper_ended),
            ContainerView {
                name: GIT_INIT.to_owned(),
                state: ended(0, None, None),
                ..ContainerView::default()
            },
        ];
        status.container_statuses = vec![claude(machine)];
        let words = format!(
            "the kubelet reports {:?}, claude {:?}",
            status.phase, machine.claude
        );
        self.tell(words);
        if all_ended && self.pod.as_ref().is_some_and(PodView::is_deleting) {
            self.delete_pod(0);
        }
    }

    // The operator.

    /// One look of the operator; any call may fail, and the operator may die after any.
    pub fn look(&mut self) {
        let Some(polecat) = self.seen_polecat.clone() else {
            self.tend_orphan();
            return;
        };
        let ready = self
            .seen_pod
            .as_ref()
            .and_then(|p| p.container(BROKER))
            .is_none_or(|b| b.ready);
        if ready {
            self.word = None;
        }
        let mut observed = Observed {
            polecat,
            rig: None,
            pod: self.seen_pod.clone().map_or(Sight::Unseen, Sight::Present),
            word: self.word.clone(),
            refusal: None,
            claimed: None,
        };
        for _ in 0..12 {
            match next(&observed, self.settings, at(self.now)).unwrap() {
                Step::Wait(wake) => {
                    self.wake = wake;
                    return;
                }
                Step::Act(act) => {
                    self.tell(format!("  {}", act.name()));
                    if !self.calm && self.rng.u8(..12) == 0 {
                        return self.tell("  the call fails");
                    }
                    if self.carry_out(act, &mut observed).is_err() {
                        self.tell("  a conflict, or gone");
                        return self.watches_deliver();
                    }
                    if !self.calm && self.rng.u8(..12) == 0 {
                        return self.operator_restarts();
                    }
                }
            }
        }
        self.demand(false, "a look has an end");
    }

    fn tend_orphan(&mut self) {
        let Some(pod) = self.seen_pod.clone() else { return };
        match next_of_orphan(&pod, self.settings, at(self.now)) {
            Some(Act::ReleasePod { uid }) => self.release(&uid),
            Some(Act::DeletePod { uid }) if self.pod.as_ref().is_some_and(|p| p.uid() == uid) => {
                self.delete_pod(GRACE);
            }
            _ => {}
        }
        self.watches_deliver();
    }

    fn carry_out(&mut self, act: Act, observed: &mut Observed) -> Result<(), Broken> {
        match act {
            Act::Claim { finalizers, labels } => {
                self.precondition(observed)?;
                self.touch(|polecat| {
                    polecat.metadata.finalizers = Some(finalizers);
                    polecat.metadata.labels = Some(labels);
                });
                self.observe_polecat(observed)?;
                observed.claimed = Some(FIRST_ATTEMPT);
            }
            Act::CreatePod(pod) => self.create(&pod, observed),
            Act::LookForPod => self.observe_pod(observed),
            Act::ReadBroker { uid, attempt } => {
                let machine = self
                    .machines
                    .iter()
                    .find(|m| m.uid == uid && m.node == Node::Well);
                let machine = machine.filter(|_| self.pod.is_some()).ok_or(Broken)?;
                let word = Word {
                    pod_uid: uid,
                    evidence: Some(evidence(machine)).filter(|e| i64::from(e.attempt) == i64::from(attempt)),
                    read_at: at(self.now),
                };
                self.word = Some(word.clone());
                observed.word = Some(word);
            }
            Act::DeletePod { uid } => {
                if self.pod.as_ref().is_some_and(|p| p.uid() == uid) {
                    self.delete_pod(GRACE);
                } else if self.pod.is_some() {
                    return Err(Broken);
                }
                self.observe_pod(observed);
            }
            Act::ReleasePod { uid } => {
                if self.pod.as_ref().is_some_and(|p| p.uid() != uid) {
                    return Err(Broken);
                }
                self.release(&uid);
                self.observe_pod(observed);
            }
            Act::ReleasePolecat { finalizers } => {
                self.precondition(observed)?;
                let held = self.pod.as_ref().is_some_and(PodView::holds_evidence);
                self.demand(!held, "a polecat waits for its pod");
                self.touch(|polecat| polecat.metadata.finalizers = Some(finalizers));
                let released = self.polecat.clone();
                self.forget_released_polecat();
                observed.polecat = Arc::new(released.ok_or(Broken)?);
                self.watches_deliver();
            }
            Act::DeletePolecat => {
                self.demand(false, "nothing says that it should be deleted");
            }
            Act::WriteStatus(report) => {
                self.precondition(observed)?;
                self.check_status(&report);
                let Report { status, claims, .. } = *report;
                self.touch(|polecat| polecat.status = Some(status));
                self.observe_polecat(observed)?;
                observed.refusal = None;
                observed.claimed = claims.or(observed.claimed);
            }
        }
        Ok(())
    }

    fn precondition(&self, observed: &Observed) -> Result<(), Broken> {
        let current = self.polecat.as_ref().map(|p| &p.metadata.resource_version);
        if current == Some(&observed.polecat.metadata.resource_version) {
            Ok(())
        } else {
            Err(Broken)
        }
    }

    /// What a write answered is what the next look waits to see.
    fn observe_polecat(&mut self, observed: &mut Observed) -> Result<(), Broken> {
        let polecat = Arc::new(self.polecat.clone().ok_or(Broken)?);
        self.seen_polecat = Some(polecat.clone());
        observed.polecat = polecat;
        Ok(())
    }

    fn observe_pod(&mut self, observed: &mut Observed) {
        self.seen_pod = self.pod.clone().map(Arc::new);
        observed.pod = self.seen_pod.clone().map_or(Sight::Absent, Sight::Present);
    }

    fn create(&mut self, pod: &Pod, observed: &mut Observed) {
        if self.pod.is_some() {
            return self.observe_pod(observed);
        }
        if !self.calm && self.rng.u8(..10) == 0 {
            let reason = self.rng.choice([Reason::QuotaExceeded, Reason::AdmissionRefused]);
            observed.refusal = reason.map(|reason| Refusal::new(reason, "no"));
            return self.tell("  the pod is refused");
        }
        let uid = format!("pod-{}", self.version);
        self.version += 1;
        let mut view = PodView {
            metadata: pod.metadata.clone(),
            ..PodView::default()
        };
        view.metadata.annotations = None;
        view.metadata.uid = Some(uid.clone());
        view.metadata.creation_timestamp = Some(Time(at(self.now)));
        view.status.phase = Some("Pending".to_owned());
        let number = view.attempt().unwrap_or(0);
        self.tell(format!("  pod {uid} of attempt {number}"));
        self.demand(
            self.machines.iter().all(|m| !m.is_live(self.now)),
            "never two live pods of one polecat",
        );
        self.demand(!self.delivered, "what is Done is not run again");
        let is_new = self.numbers.insert(number) && !self.outcomes.contains_key(&number);
        self.demand(is_new, "an attempt number is never used twice");
        self.pod = Some(view);
        self.observe_pod(observed);
        observed.claimed = None;
    }

    fn release(&mut self, uid: &str) {
        let Some(number) = self.pod.as_ref().and_then(PodView::attempt) else {
            return;
        };
        let is_told = self.polecat.is_none() || self.outcomes.contains_key(&number);
        self.demand(
            is_told,
            "the outcome is in the status before the pod's finalizer goes",
        );
        let machine = self.machines.iter().find(|m| m.uid == uid);
        let agent_runs = machine.is_some_and(|m| m.runs() && m.claude.is_none());
        self.demand(!agent_runs, "a pod is not let go while its agent runs");
        if let Some(pod) = &mut self.pod {
            pod.metadata.finalizers = None;
        }
        self.forget_released_pod();
    }

    fn check_status(&mut self, report: &Report) {
        let status = &report.status;
        let numbers: Vec<_> = status.attempts.iter().map(|a| a.number).collect();
        self.demand(numbers.is_sorted_by(|a, b| a < b), "attempts are in order");
        for attempt in &status.attempts {
            let before = self.outcomes.get(&attempt.number).copied();
            self.demand(
                before.is_none() || before == attempt.outcome,
                "an outcome is final",
            );
            if let Some(outcome) = attempt.outcome {
                self.outcomes.insert(attempt.number, outcome);
                let proof = self.machines.iter().any(|m| {
                    m.attempt == attempt.number && m.claude == Some(0) && m.head_moved && m.broker_ended
                });
                let is_new = before.is_none() && outcome == AttemptOutcome::Delivered;
                self.demand(
                    !is_new || proof,
                    "Done only with evidence, and a head that is not the base",
                );
                self.delivered |= outcome == AttemptOutcome::Delivered;
            }
        }
        let open = status.attempts.iter().filter(|a| a.outcome.is_none()).count();
        self.demand(open <= 1, "one attempt at a time");
        let phase = status.phase;
        if self.delivered {
            let is_over = matches!(phase, Some(PolecatPhase::Done | PolecatPhase::Terminated));
            self.demand(is_over, "Done is terminal");
        } else {
            self.demand(phase != Some(PolecatPhase::Done), "Done is a delivery");
        }
        self.tell(format!("  status {phase:?}"));
    }

    // The end.

    /// From here on nobody interferes: nodes answer or are deleted, agents end, calls succeed.
    pub fn calm_down(&mut self) {
        self.tell("all is calm");
        self.calm = true;
        self.the_node_is_deleted();
        self.watches_deliver();
    }

    /// Lets the kubelet and the operator do what they have to; whether there was nothing to do.
    pub fn is_at_rest(&mut self) -> bool {
        let before = (self.version, self.story.len());
        self.kubelet_acts();
        self.watches_deliver();
        self.wake = None;
        self.look();
        if (self.version, self.story.len()) != before {
            return false;
        }
        match self.wake {
            None => true,
            Some(wake) => {
                self.now = self.now.max(wake.as_second());
                false
            }
        }
    }

    /// Settled objects cause no act, whatever the time, and the table of desired states holds.
    pub fn stays_at_rest(&mut self) {
        self.now += 10_000_000;
        let before = self.story.len();
        self.operator_restarts();
        self.look();
        self.demand(self.story.len() == before + 1, "a settled object causes no act");
        let Some(polecat) = &self.polecat else {
            return self.demand(
                !self.pod.as_ref().is_some_and(PodView::holds_evidence),
                "nothing is left of it",
            );
        };
        let phase = polecat.status.as_ref().and_then(|s| s.phase);
        let expected: &[PolecatPhase] = match polecat.spec.desired_state {
            DesiredState::Idle => &[PolecatPhase::Idle, PolecatPhase::Done, PolecatPhase::Terminated],
            DesiredState::Working => &[PolecatPhase::Done, PolecatPhase::Stuck, PolecatPhase::Terminated],
            DesiredState::Terminated => &[PolecatPhase::Terminated],
        };
        self.demand(
            phase.is_some_and(|phase| expected.contains(&phase)),
            "the table holds",
        );
        self.demand(
            polecat.metadata.deletion_timestamp.is_none(),
            "a deleted polecat goes",
        );
        let finalizer = polecat.finalizers().iter().any(|f| f == POLECAT_FINALIZER);
        self.demand(
            self.machines.is_empty() || finalizer,
            "the finalizer stays until the end",
        );
    }
}

fn end_one(machine: &mut Machine, rng: &mut Rng, now: i64) {
    let running = [
        machine.claude.is_none(),
        !machine.keeper_ended,
        !machine.broker_ended,
    ];
    let left: Vec<_> = (0..3).filter(|container| running[*container]).collect();
    match rng.choice(left) {
        Some(0) => {
            machine.claude = Some(143);
            machine.ended_at = now;
        }
        Some(1) => machine.keeper_ended = true,
        Some(_) => machine.broker_ended = true,
        None => {}
    }
}

fn work(machine: &mut Machine, rng: &mut Rng, now: i64, calm: bool) {
    let parked = |reason| BrokerState::Parked {
        reason,
        message: "m".to_owned(),
        until: None,
    };
    match rng.u8(..if calm { 4 } else { 8 }) {
        0 | 1 => {
            machine.head_moved = true;
            machine.claude = Some(0);
        }
        2 => machine.claude = Some(0),
        3 => machine.claude = Some(1),
        4 => machine.broker = parked(Reason::RateLimited),
        5 => machine.broker = BrokerState::Serving,
        6 => {
            machine.broker = BrokerState::Stopped {
                reason: Reason::BudgetSpent,
                message: "m".to_owned(),
            }
        }
        _ => {
            machine.claude = Some(137);
            machine.keeper_ended = true;
            machine.broker_ended = true;
            machine.evicted = true;
        }
    }
    machine.ended_at = now;
}

/// At times the pod's phase runs ahead of what is reported of its sidecars.
fn phase(machine: &Machine, all_ended: bool, rng: &mut Rng) -> &'static str {
    let is_over = all_ended || (machine.claude.is_some() && rng.u8(..4) == 0);
    match (is_over, machine.claude) {
        (true, Some(0)) => "Succeeded",
        (true, _) => "Failed",
        (false, _) if machine.started => "Running",
        (false, _) => "Pending",
    }
}

fn evidence(machine: &Machine) -> Evidence {
    Evidence {
        state: machine.broker.clone(),
        base: BASE.parse().ok(),
        head: if machine.head_moved { HEAD } else { BASE }.parse().ok(),
        ..Evidence::starting(u32::try_from(machine.attempt).unwrap())
    }
}

fn condition(type_: &str, reason: &str) -> ConditionView {
    ConditionView {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: None,
    }
}

fn ended(exit_code: i32, message: Option<String>, finished: Option<i64>) -> StateView {
    StateView {
        terminated: Some(TerminatedView {
            exit_code,
            reason: None,
            message,
            finished_at: finished.map(|second| Time(at(second))),
        }),
        ..StateView::default()
    }
}

fn running() -> StateView {
    StateView {
        running: Some(RunningView { started_at: None }),
        ..StateView::default()
    }
}

fn broker(machine: &Machine) -> ContainerView {
    let message = || Some(evidence(machine).to_json()).filter(|_| !machine.evicted);
    let serves = matches!(machine.broker, BrokerState::Serving | BrokerState::Starting);
    ContainerView {
        name: BROKER.to_owned(),
        ready: serves && !machine.broker_ended,
        state: if machine.broker_ended {
            ended(0, message(), None)
        } else {
            running()
        },
        ..ContainerView::default()
    }
}

fn sidecar(name: &str, has_ended: bool) -> ContainerView {
    ContainerView {
        name: name.to_owned(),
        ready: !has_ended,
        state: if has_ended {
            ended(0, None, None)
        } else {
            running()
        },
        ..ContainerView::default()
    }
}

fn claude(machine: &Machine) -> ContainerView {
    let state = match machine.claude {
        Some(exit) => ended(exit, None, Some(machine.ended_at)),
        None if machine.started => running(),
        None => StateView::default(),
    };
    ContainerView {
        name: CLAUDE.to_owned(),
        ready: machine.started,
        state,
        ..ContainerView::default()
    }
}
