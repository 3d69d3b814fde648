//! A pod that Pod Security `restricted` and OpenShift's `restricted-v2` admit, for any owner: the broker, which alone mounts keys,
//! and the owner's containers, which mount none.
//!
//! An owner says which empty volumes its containers share, and never a mount of the broker's: nothing that holds a key can
//! so come to mount what an agent writes, or the other way round.

mod containers;
mod volumes;

use std::collections::BTreeMap;

use gastown_api::placement::Placement;
use gastown_api::{labels, pod};
use gastown_crypto::sha256;
use k8s_openapi::api::core::v1::{LocalObjectReference, Pod, PodSecurityContext, PodSpec, SeccompProfile};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt as _};

pub use self::containers::{Broker, Keyless, Part, pod_uid, value};
pub use self::volumes::{Key, Mount, Scratch};

/// The longest that the API server lets a pod live.
const LONGEST: i64 = i32::MAX as i64;

/// The container that kubectl shows by itself.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// What an owner says of its pod.
pub struct Blueprint<'a> {
    /// The pod's name.
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, besides those that every such pod has.
    pub annotations: BTreeMap<String, String>,
    /// The object that the pod is of.
    pub owner: Option<OwnerReference>,
    /// The work order as JSON. Its digest is in each container's environment, which nobody can change.
    pub order: String,
    /// What the pod is told while it runs, as JSON.
    pub control: Option<String>,
    /// The container that holds the keys.
    pub broker: Broker<'a>,
    /// The other containers: first sidecars, then init containers, then the main one.
    pub keyless: Vec<Keyless<'a>>,
    /// The empty volumes that these share.
    pub scratch: Vec<Scratch<'a>>,
    /// How long the pod has to end.
    pub grace_seconds: u32,
    /// When the kubelet ends the pod at the latest.
    pub deadline_seconds: i64,
    /// Where the pod may run.
    pub placement: Placement,
    /// Pull secrets.
    pub pull_secrets: &'a [String],
    /// `pod.spec.hostUsers`: `false` for OpenShift's `restricted-v3`; the one thing in which clusters differ.
    pub host_users: Option<bool>,
}

impl Blueprint<'_> {
    /// The pod. It has the finalizer that keeps it until its evidence is read, no token and no user.
    #[must_use]
    pub fn pod(self) -> Pod {
        let digest = sha256(self.order.as_bytes()).hex();
        let keyless = self.keyless.iter().map(|container| container.name);
        let names: Vec<_> = [pod::BROKER].into_iter().chain(keyless).collect();
        let volumes = [volumes::work_order(&names)]
            .into_iter()
            .chain(self.scratch.iter().map(Scratch::volume))
            .chain(self.broker.volumes())
            .collect();
        let mut init_containers = vec![self.broker.container(&digest)];
        let (mut containers, mut main) = (Vec::new(), None);
        for keyless in self.keyless {
            let is_main = matches!(keyless.part, Part::Main);
            let name = keyless.name;
            let container = keyless.container(&self.scratch, &digest);
            if is_main {
                main = Some(name);
                containers.push(container);
            } else {
                init_containers.push(container);
            }
        }
        let default = main.map(|name| (DEFAULT_CONTAINER, name.to_owned()));
        let own = default
            .into_iter()
            .chain([(labels::WORK_ORDER, self.order)])
            .chain(self.control.map(|control| (labels::CONTROL, control)));
        let mut annotations = self.annotations;
        annotations.extend(own.map(|(key, value)| (key.to_owned(), value)));
        let pull_secret = |name: &String| LocalObjectReference { name: name.clone() };
        let pull_secrets: Vec<_> = self.pull_secrets.iter().map(pull_secret).collect();
        Pod {
            metadata: ObjectMeta {
                name: Some(self.name),
                namespace: self.namespace,
                labels: Some(self.labels),
                annotations: Some(annotations),
                finalizers: Some(vec![labels::EVIDENCE_FINALIZER.to_owned()]),
                owner_references: Some(self.owner.into_iter().collect()),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                init_containers: Some(init_containers),
                containers,
                volumes: Some(volumes),
                restart_policy: Some("Never".to_owned()),
                automount_service_account_token: Some(false),
                enable_service_links: Some(false),
                host_users: self.host_users,
                node_selector: self.placement.node_selector,
                tolerations: self.placement.tolerations,
                affinity: self.placement.affinity.map(|affinity| *affinity),
                priority_class_name: self.placement.priority_class_name,
                runtime_class_name: self.placement.runtime_class_name,
                image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
                security_context: Some(security_context()),
                termination_grace_period_seconds: Some(i64::from(self.grace_seconds)),
                active_deadline_seconds: Some(self.deadline_seconds.min(LONGEST)),
                ..PodSpec::default()
            }),
            status: None,
        }
    }
}

/// The controller reference without `blockOwnerDeletion`: with it, OpenShift asks for rights on the owner's finalizers.
#[must_use]
pub fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid()?,
        controller: Some(true),
        block_owner_deletion: None,
    })
}

/// The labels that the pod of attempt `attempt` of any owner has.
#[must_use]
pub fn attempt_labels(attempt: i32) -> [(String, String); 2] {
    [
        (labels::ATTEMPT.to_owned(), attempt.to_string()),
        (
            "app.kubernetes.io/managed-by".to_owned(),
            "gastown-operator".to_owned(),
        ),
    ]
}

/// No user, no group: OpenShift chooses them, and the images run as any.
fn security_context() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}
