//! The containers: the broker, and those that hold no key.

use gastown_api::pod;
use gastown_api::resources::ResourceRequirements;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, Probe, SecurityContext, Volume,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::volumes::{self, Key, Scratch};
use crate::config::Size;

/// The sidecar that holds the keys. It starts first and ends last.
pub struct Broker<'a> {
    /// Its image.
    pub image: &'a str,
    /// Its requests and limits.
    pub resources: &'a ResourceRequirements,
    /// The size of its private state.
    pub state: &'a Size,
    /// The size of its scratch space.
    pub tmp: &'a Size,
    /// What it may read.
    pub keys: Vec<Key<'a>>,
}

/// A container that holds no key.
pub struct Keyless<'a> {
    /// Its name.
    pub name: &'static str,
    /// The role of the program that it runs, with its arguments.
    pub role: &'static [&'static str],
    /// Its image.
    pub image: &'a str,
    /// Its requests and limits.
    pub resources: &'a ResourceRequirements,
    /// Its environment. Of two variables of one name the kubelet takes the last.
    pub env: Vec<EnvVar>,
    /// When it runs.
    pub part: Part,
}

/// When a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Beside the others, until the main one has ended; `stop` is run when the pod is asked to end.
    Sidecar {
        /// The program and its arguments.
        stop: &'static [&'static str],
    },
    /// To its end before the main one begins.
    Init,
    /// The one whose end is the pod's.
    Main,
}

impl Broker<'_> {
    /// Its own volumes.
    pub(super) fn volumes(&self) -> Vec<Volume> {
        volumes::of_the_broker_alone(self.state, self.tmp, &self.keys)
    }

    /// The container.
    pub(super) fn container(&self, digest: &str) -> Container {
        Container {
            env: Some(vec![pod_uid(), value("HOME", pod::TMP_DIR), order_digest(digest)]),
            restart_policy: Some("Always".to_owned()),
            ports: Some(vec![ContainerPort {
                name: Some("ready".to_owned()),
                container_port: i32::from(pod::READY_PORT),
                protocol: Some("TCP".to_owned()),
                ..ContainerPort::default()
            }]),
            readiness_probe: Some(readiness()),
            volume_mounts: Some(volumes::of_broker(&self.keys)),
            ..container(pod::BROKER, &["broker"], self.image, self.resources)
        }
    }
}

impl Keyless<'_> {
    /// The container. It mounts the work order, and of `scratch` what names it.
    pub(super) fn container(self, scratch: &[Scratch<'_>], digest: &str) -> Container {
        let restart = match self.part {
            Part::Sidecar { .. } => Some("Always".to_owned()),
            Part::Init | Part::Main => None,
        };
        let lifecycle = match self.part {
            Part::Sidecar { stop } => Some(before_stop(stop)),
            Part::Init | Part::Main => None,
        };
        Container {
            env: Some(self.env.into_iter().chain([order_digest(digest)]).collect()),
            restart_policy: restart,
            lifecycle,
            volume_mounts: Some(volumes::of_keyless(self.name, scratch)),
            ..container(self.name, self.role, self.image, self.resources)
        }
    }
}

fn before_stop(command: &[&str]) -> Lifecycle {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(ExecAction {
                command: Some(command),
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

fn container(name: &str, role: &[&str], image: &str, resources: &ResourceRequirements) -> Container {
    let command = ["polecat"].iter().chain(role).map(|word| (*word).to_owned());
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command.collect()),
        resources: Some(resources.into()),
        security_context: Some(security_context()),
        termination_message_path: Some(pod::TERMINATION_LOG.to_owned()),
        termination_message_policy: Some("File".to_owned()),
        ..Container::default()
    }
}

/// What Pod Security `restricted` and OpenShift's `restricted-v2` want, and no user, which they choose.
fn security_context() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}

/// The doorbell: the broker turns it False when it parks or stops. No `host`, which Pod Security refuses.
fn readiness() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/readyz".to_owned()),
            port: IntOrString::Int(i32::from(pod::READY_PORT)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(2),
        timeout_seconds: Some(2),
        failure_threshold: Some(1),
        ..Probe::default()
    }
}

/// A variable of the environment.
#[must_use]
pub fn value(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

/// Binds the annotation to the pod: whoever may patch pods can change that, and no environment.
fn order_digest(digest: &str) -> EnvVar {
    value(pod::ORDER_DIGEST_ENV, digest)
}

/// The variable with the pod's UID.
#[must_use]
pub fn pod_uid() -> EnvVar {
    EnvVar {
        name: pod::POD_UID_ENV.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "metadata.uid".to_owned(),
                api_version: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}
