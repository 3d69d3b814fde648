//! The model: what the API server holds, what really runs on nodes, and what the operator believes.

mod kubelet;
mod laws;
mod operator;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use fastrand::Rng;
use gastown_api::evidence::{BrokerState, Evidence};
use gastown_api::labels::{self, RETRY_REQUESTED_AT};
use gastown_api::polecat::{AttemptOutcome, DesiredState, Polecat};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::json;

use self::kubelet::condition;
use crate::attempt::BrokerReport;
use crate::pod_view::PodView;
use crate::testing::{at, polecat, settings};
use crate::types::Settings;

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
    /// A container that a policy injected: it runs until the pod is deleted, and the sidecars with it.
    injected: bool,
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
    report: Option<BrokerReport<Evidence>>,
    wake: Option<Timestamp>,
    // What happened, for the checks.
    delivered: bool,
    outcomes: BTreeMap<i32, AttemptOutcome>,
    /// Someone took finalizers and labels off.
    robbed: bool,
    /// Of each pod that ever was, by its UID.
    numbers: BTreeMap<String, i32>,
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
            report: None,
            wake: None,
            delivered: false,
            robbed: false,
            outcomes: BTreeMap::new(),
            numbers: BTreeMap::new(),
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

    /// One random thing happens.
    pub fn event(&mut self) {
        match self.rng.u8(..42) {
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
            39 => self.someone_robs_the_polecat(),
            40 => self.someone_robs_the_pod(),
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

    /// Before the status names a pod, the finalizer is all that says that an attempt was claimed.
    fn someone_robs_the_polecat(&mut self) {
        let status = self.polecat.as_ref().and_then(|p| p.status.as_ref());
        if status.is_none_or(|s| s.attempts.is_empty()) {
            return;
        }
        self.tell("someone replaces the polecat's metadata");
        self.robbed = true;
        self.touch(|polecat| {
            polecat.metadata.finalizers = None;
            polecat.metadata.labels = None;
        });
        self.forget_released_polecat();
    }

    /// A pod without its finalizer goes at a deletion by force; what runs of it is then killed, as by an administrator.
    /// Before the status names a pod, its labels are all that says whose it is.
    fn someone_robs_the_pod(&mut self) {
        let status = self.polecat.as_ref().and_then(|p| p.status.as_ref());
        let uid = self.pod.as_ref().map(|pod| pod.uid().to_owned());
        if !status.is_some_and(|s| s.attempts.iter().any(|a| a.pod_uid == uid)) {
            return;
        }
        let Some(pod) = &mut self.pod else { return };
        if pod.is_deleting() {
            return;
        }
        pod.metadata.finalizers = None;
        pod.metadata.labels = None;
        self.tell("someone takes finalizer and labels off the pod");
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
        if is_gone && let Some(pod) = self.pod.take() {
            for machine in self.machines.iter_mut().filter(|m| m.uid == pod.uid()) {
                machine.node = Node::Gone;
            }
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
        self.seen_pod = self.labelled_pod();
    }

    /// The watch of pods selects them by label.
    fn labelled_pod(&self) -> Option<Arc<PodView>> {
        let pod = self
            .pod
            .as_ref()
            .filter(|pod| pod.label(labels::POLECAT).is_some());
        pod.cloned().map(Arc::new)
    }

    fn operator_restarts(&mut self) {
        self.tell("the operator restarts");
        self.report = None;
        self.watches_deliver();
    }

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
}
