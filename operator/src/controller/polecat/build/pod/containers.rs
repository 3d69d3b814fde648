//! The four containers. All but `claude` always run the operator's own agent image.

use gastown_api::pod;
use gastown_api::resources::ResourceRequirements;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, Probe, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::volumes;
use crate::controller::polecat::validate::Work;
use crate::types::Settings;

/// The sidecar that holds the keys. It starts first and ends last.
#[must_use]
pub fn broker(work: &Work, settings: &Settings, digest: &str) -> Container {
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
        volume_mounts: Some(volumes::of_broker(work)),
        ..container(
            pod::BROKER,
            &["broker"],
            &settings.agent_image,
            &settings.config.resources.broker,
        )
    }
}

/// The sidecar that snapshots the work tree, at the latest when the pod is asked to end.
#[must_use]
pub fn keeper(settings: &Settings, digest: &str) -> Container {
    let stop = ["polecat", "keeper", "stop"].map(str::to_owned).to_vec();
    Container {
        env: Some(vec![
            pod_uid(),
            value("HOME", pod::KEEPER_DIR),
            order_digest(digest),
        ]),
        restart_policy: Some("Always".to_owned()),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                exec: Some(ExecAction { command: Some(stop) }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        volume_mounts: Some(volumes::of_keeper()),
        ..container(
            pod::KEEPER,
            &["keeper", "run"],
            &settings.agent_image,
            &settings.config.resources.keeper,
        )
    }
}

/// Clones from the broker.
#[must_use]
pub fn git_init(settings: &Settings, digest: &str) -> Container {
    Container {
        env: Some(vec![value("HOME", pod::HOME_DIR), order_digest(digest)]),
        volume_mounts: Some(volumes::of_agent()),
        ..container(
            pod::GIT_INIT,
            &["clone"],
            &settings.agent_image,
            &settings.config.resources.git_init,
        )
    }
}

/// Runs the agent, in the polecat's own image and environment where it names them. Of two variables of one name the
/// kubelet takes the last.
#[must_use]
pub fn claude(work: &Work, digest: &str) -> Container {
    let ours = [
        value("HOME", pod::HOME_DIR),
        value("TMPDIR", pod::TMP_DIR),
        order_digest(digest),
    ];
    Container {
        env: Some(work.options.env.iter().cloned().chain(ours).collect()),
        volume_mounts: Some(volumes::of_agent()),
        ..container(pod::CLAUDE, &["run"], &work.image, &work.options.resources)
    }
}

fn container(name: &str, verb: &[&str], image: &str, resources: &ResourceRequirements) -> Container {
    let command = ["polecat"].iter().chain(verb).map(|word| (*word).to_owned());
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

fn value(name: &str, value: &str) -> EnvVar {
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

fn pod_uid() -> EnvVar {
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
