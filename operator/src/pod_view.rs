//! What the operator reads of a pod, and nothing else: thousands of these are held in memory.

use std::borrow::Cow;

use crate::types::later;
use gastown_api::budget::Share;
use gastown_api::work_order::Control;
use gastown_api::{labels, pod};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

/// Which containers the operator puts into the pods of a kind, by name. Others are put there by policies, webhooks and
/// people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The one whose end is the attempt's.
    pub main: &'static str,
    /// Those that run to their end before it, in this order.
    pub init: &'static [&'static str],
    /// Those that run beside it, and whose ends tell what was saved and seen.
    pub sidecars: &'static [&'static str],
}

impl Shape {
    /// Whether a container of this name is one of them.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.main == name || self.init.contains(&name) || self.sidecars.contains(&name)
    }
}

/// A pod as the plan sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodView {
    /// Name, UID, labels, owner, finalizers, deletion.
    pub metadata: ObjectMeta,
    /// What the kubelet reports.
    #[serde(default)]
    pub status: StatusView,
}

/// What the kubelet reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusView {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Option<String>,
    /// Such as `Evicted` or `DeadlineExceeded`.
    pub reason: Option<String>,
    /// In words.
    pub message: Option<String>,
    /// When the kubelet took it.
    pub start_time: Option<Time>,
    /// Of these, `PodScheduled` and `DisruptionTarget` are kept.
    pub conditions: Vec<ConditionView>,
    /// `broker`, `keeper` and `git-init`.
    pub init_container_statuses: Vec<ContainerView>,
    /// `claude`, and what others put into the pod.
    pub container_statuses: Vec<ContainerView>,
    /// Containers for debugging.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ephemeral_container_statuses: Vec<ContainerView>,
}

/// A condition of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConditionView {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// In words.
    pub message: Option<String>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Whether its readiness probe succeeds.
    pub ready: bool,
    /// How often it was started again.
    pub restart_count: i32,
    /// What it does.
    pub state: StateView,
    /// How it ended before it was restarted.
    pub last_state: StateView,
}

/// What a container does: one of the three, or nothing known yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateView {
    /// It has not started, or waits to be restarted.
    pub waiting: Option<WaitingView>,
    /// It runs.
    pub running: Option<RunningView>,
    /// It has ended.
    pub terminated: Option<TerminatedView>,
}

/// Why a container waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaitingView {
    /// Such as `PodInitializing` or `ImagePullBackOff`.
    pub reason: Option<String>,
    /// In words.
    pub message: Option<String>,
}

/// Since when a container runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunningView {
    /// The kubelet's time.
    pub started_at: Option<Time>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TerminatedView {
    /// Its exit code.
    pub exit_code: i32,
    /// Such as `Completed`, `Error` or `OOMKilled`.
    pub reason: Option<String>,
    /// Its termination message.
    pub message: Option<String>,
    /// The kubelet's time.
    pub finished_at: Option<Time>,
}

impl ContainerView {
    /// Whether a process of the image ran in it. A kubelet that does not find the container of an evicted pod any more
    /// says `waiting`, with an end that it makes up, and counts a restart.
    #[must_use]
    pub fn was_started(&self) -> bool {
        let ends = [&self.state.terminated, &self.last_state.terminated];
        let ran = ends.into_iter().flatten().any(|end| !end.never_started());
        self.state.running.is_some() || ran || self.restart_count > 0
    }
}

impl TerminatedView {
    /// Whether the container runtime could not start it: its program is not in the image, or not for this machine. These
    /// are the words that containerd and CRI-O make the kubelet say.
    #[must_use]
    pub fn never_started(&self) -> bool {
        const REASONS: [&str; 4] = [
            "StartError",
            "RunContainerError",
            "CreateContainerError",
            "ContainerCannotRun",
        ];
        self.reason.as_deref().is_some_and(|r| REASONS.contains(&r))
    }

    /// Whether nobody saw the end: the container was gone when the kubelet or the runtime looked for it, after an
    /// eviction or a restart of the node.
    #[must_use]
    pub fn is_made_up(&self) -> bool {
        matches!(self.reason.as_deref(), Some("ContainerStatusUnknown" | "Unknown"))
    }
}

impl Resource for PodView {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl PodView {
    /// Leaves out what no plan reads.
    pub fn prune(&mut self) {
        let meta = &mut self.metadata;
        meta.managed_fields = None;
        if let Some(annotations) = &mut meta.annotations {
            annotations.retain(|name, _| name == labels::CONTROL);
        }
        meta.annotations = meta.annotations.take().filter(|left| !left.is_empty());
        meta.generate_name = None;
        meta.self_link = None;
        let kept = |c: &ConditionView| matches!(c.type_.as_str(), "PodScheduled" | "DisruptionTarget");
        self.status.conditions.retain(kept);
        self.status.conditions.shrink_to_fit();
        let status = &mut self.status;
        let all = status.init_container_statuses.iter_mut();
        for container in all.chain(&mut status.container_statuses) {
            if !pod::OURS.contains(&container.name.as_str()) {
                container.last_state = StateView::default();
            } else if container.name != pod::BROKER
                && let Some(end) = &mut container.last_state.terminated
            {
                // Only the broker's last words are evidence. That there was an end says that the container ran.
                end.message = None;
            }
        }
        for container in &mut self.status.ephemeral_container_statuses {
            container.last_state = StateView::default();
        }
        self.status.init_container_statuses.shrink_to_fit();
        self.status.container_statuses.shrink_to_fit();
    }

    /// The pod's UID; the API server gives every object one.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The number of the attempt, from its label.
    #[must_use]
    pub fn attempt(&self) -> Option<i32> {
        self.label(labels::ATTEMPT)?.parse().ok()
    }

    /// What the pod was told of its budget.
    #[must_use]
    pub fn granted(&self) -> Share {
        let annotations = self.metadata.annotations.as_ref();
        let control = annotations.and_then(|all| serde_json::from_str(all.get(labels::CONTROL)?).ok());
        control.map_or_else(Share::default, |control: Control| control.granted)
    }

    /// The value of that label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        let labels = self.metadata.labels.as_ref()?;
        labels.get(name).map(String::as_str)
    }

    /// The UID of the object of that kind that controls it.
    #[must_use]
    pub fn owner(&self, kind: &str) -> Option<&str> {
        let owners = self.metadata.owner_references.as_ref()?;
        let owner = owners
            .iter()
            .find(|o| o.kind == kind && o.controller == Some(true));
        owner.map(|o| o.uid.as_str())
    }

    /// Whether someone asked for its deletion.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether our finalizer holds it.
    #[must_use]
    pub fn holds_evidence(&self) -> bool {
        let finalizers = self.metadata.finalizers.as_deref().unwrap_or_default();
        finalizers.iter().any(|f| f == labels::EVIDENCE_FINALIZER)
    }

    /// The container of that name, once the kubelet has reported it.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerView> {
        let status = &self.status;
        let all = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses);
        all.into_iter().find(|c| c.name == name)
    }

    /// How the container of that name ended.
    #[must_use]
    pub fn terminated(&self, name: &str) -> Option<&TerminatedView> {
        self.container(name)?.state.terminated.as_ref()
    }

    /// Whether the container of that name was started, as far as the kubelet reports it.
    #[must_use]
    pub fn was_started(&self, name: &str) -> bool {
        self.container(name).is_some_and(ContainerView::was_started)
    }

    /// The condition of that type.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&ConditionView> {
        self.status.conditions.iter().find(|c| c.type_ == type_)
    }

    /// Ordinary containers that others put into the pod, and those for debugging. Nothing is known of what they are for.
    pub fn strangers(&self, shape: Shape) -> impl Iterator<Item = &ContainerView> {
        let status = &self.status;
        let ordinary = status.container_statuses.iter();
        ordinary
            .filter(move |c| c.name != shape.main)
            .chain(&status.ephemeral_container_statuses)
    }

    /// Every container that is known.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerView> {
        let status = &self.status;
        status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
    }

    /// Whether its node is gone, and the garbage collection of pods has said so.
    #[must_use]
    pub fn is_collected(&self) -> bool {
        let disrupted = self.condition("DisruptionTarget").filter(|c| c.status == "True");
        disrupted.is_some_and(|c| c.reason.as_deref() == Some("DeletionByPodGC"))
    }

    /// When nothing of the pod runs any more; [`Ending::Expected`] says how long to wait for the kubelet's last word.
    ///
    /// A deletion by force says nothing about the containers: the pod has ended when the kubelet says so, when it never
    /// had a node, or when its node is gone. A pod may be `Succeeded` or `Failed` while a sidecar's end is not reported
    /// yet, and that end carries the evidence; the patience for it starts at the end of the main container.
    #[must_use]
    pub fn ending(&self, shape: Shape, grace_seconds: i64) -> Ending {
        let over = matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let mut sidecars = shape.sidecars.iter().filter_map(|name| self.container(name));
        let sidecars_run = sidecars.any(|c| c.state.running.is_some());
        if self.is_collected() || self.was_deleted_without_a_node() || self.was_stopped_everywhere(shape) {
            return Ending::Ended;
        }
        match (over, sidecars_run) {
            (false, _) => Ending::Alive,
            (true, false) => Ending::Ended,
            (true, true) => {
                let main = self.terminated(shape.main).and_then(|t| t.finished_at.as_ref());
                let patience = jiff::SignedDuration::from_secs(grace_seconds + 30);
                main.map_or(Ending::Ended, |at| Ending::Expected(later(at.0, patience)))
            }
        }
    }

    /// The API server sets the grace of a pod without a node to 0.
    fn was_deleted_without_a_node(&self) -> bool {
        let scheduled = self.condition("PodScheduled").is_some_and(|c| c.status == "True");
        let reported = self.containers().next().is_some();
        let forced = self.metadata.deletion_grace_period_seconds == Some(0);
        self.is_deleting() && forced && !scheduled && !reported
    }

    /// Each of our containers that the kubelet knows has ended, the main one among them.
    fn was_stopped_everywhere(&self, shape: Shape) -> bool {
        let mut ours = self.containers().filter(|c| shape.has(&c.name));
        self.is_deleting()
            && self.terminated(shape.main).is_some()
            && ours.all(|container| container.state.terminated.is_some())
    }
}

/// Whether a pod has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its containers run, or may still start.
    Alive,
    /// The main container has ended; the end of the sidecars is expected until then.
    Expected(Timestamp),
    /// Nothing of it runs.
    Ended,
}
