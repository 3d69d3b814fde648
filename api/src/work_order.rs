//! What the operator tells the containers of a pod: one JSON document in a pod annotation, read through a downward API
//! volume. It holds no secret. One part is for every role, the other for the pod's own.

mod polecat;

use serde::{Deserialize, Serialize};

pub use self::polecat::{
    AgentOrder, ApiKeyOrder, DiskOrder, GitOrder, MAIL_DOMAIN, ModelApi, ModelOrder, PaceOrder, PolecatOrder,
    ResumeOrder, is_allowed, price_of,
};
use crate::budget::Share;
use crate::repository::RepositoryUrl;

/// Everything a pod has to know about its attempt. The annotation has a `WorkOrder<Role>`; a program whose role is known
/// works with the part of its own, by default a polecat's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkOrder<R = PolecatOrder> {
    /// The name of the object that the attempt belongs to.
    pub owner: String,
    /// The namespace of that object and of the pod.
    pub namespace: String,
    /// The name of the rig, whether or not such a Rig exists.
    pub rig: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// How long the pod may take.
    pub limits: Limits,
    /// The proxy through which the broker reaches hosts by HTTPS; none: it reaches them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyOrder>,
    /// The part for the pod's role.
    pub role: R,
}

/// The role of a pod, with the part of the order that only this role needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// An agent works on a task.
    Polecat(Box<PolecatOrder>),
}

impl<R> WorkOrder<R> {
    /// The order with another role part.
    pub fn map<S>(self, role: impl FnOnce(R) -> S) -> WorkOrder<S> {
        let Self {
            owner,
            namespace,
            rig,
            attempt,
            limits,
            proxy,
            role: own,
        } = self;
        WorkOrder {
            owner,
            namespace,
            rig,
            attempt,
            limits,
            proxy,
            role: role(own),
        }
    }
}

/// Times that bound a pod of any role, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// How long the attempt may take, not counting what it was parked.
    pub deadline_seconds: u64,
    /// How long it may be parked in all.
    pub parking_seconds: u64,
    /// The pod's grace period.
    pub grace_seconds: u64,
}

/// A proxy that takes `CONNECT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyOrder {
    /// `http://HOST:PORT`.
    pub url: String,
    /// Hosts that are reached without it: a name stands for its subdomains too, `*` for every host.
    pub except: Vec<String>,
}

/// A repository on a git host, and who may be sent the credential for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoteOrder {
    /// The upstream repository.
    pub repository: RepositoryUrl,
    /// The name of the git secret, for messages.
    pub secret: String,
    /// Hosts that may be sent the token besides those in the secret's key `hosts`: the Rig's own and the chart's list.
    /// An entry with a port allows that port only.
    pub trusted_hosts: Vec<String>,
    /// Host keys in the form of `known_hosts(5)`, used when neither the secret nor the ConfigMap has any.
    pub known_hosts: String,
}

/// What the operator tells a pod with a budget while it runs, in an annotation of its own. A pod without it has an
/// operator that sets nothing aside; an older broker does not look for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Control {
    /// The part of the budget that the status has set aside for the attempt.
    pub granted: Share,
}
