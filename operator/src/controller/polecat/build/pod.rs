//! The pod of an attempt: `broker`, `keeper`, `git-init` and `claude`. Its shape is in `docs/architecture.md`.

use std::collections::BTreeMap;

use gastown_api::pod;
use gastown_api::pod_metadata::Table;
use gastown_api::polecat::Polecat;
use gastown_api::work_order::{Control, Role};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::order::work_order;
use crate::controller::polecat::validate::{Work, labels_of};
use crate::pod_view::Shape;
use crate::restricted_pod::{
    Blueprint, Broker, Key, Keyless, Mount, Part, Scratch, attempt_labels, owner_reference, pod_uid, value,
};
use crate::types::Settings;

/// The containers of a polecat's pod.
pub const SHAPE: Shape = Shape {
    main: pod::CLAUDE,
    init: &[pod::GIT_INIT],
    sidecars: &[pod::BROKER, pod::KEEPER],
};

/// The pod of attempt `attempt`.
pub fn pod(
    polecat: &Polecat,
    work: &Work,
    attempt: i32,
    settings: &Settings,
) -> Result<Pod, serde_json::Error> {
    let config = &settings.config;
    let order = work_order(polecat, work, attempt, config);
    let control = if order.role.model.has_budget() {
        let granted = order.role.model.left().first_quarter();
        Some(serde_json::to_string(&Control { granted })?)
    } else {
        None
    };
    let limits = order.limits;
    let backstop = [
        limits.deadline_seconds,
        limits.parking_seconds,
        limits.grace_seconds,
    ]
    .into_iter()
    .fold(0_i64, i64::saturating_add_unsigned);
    let blueprint = Blueprint {
        name: pod::pod_name(&polecat.name_any()),
        namespace: polecat.namespace(),
        labels: labels_with(&work.options.labels, polecat, attempt),
        annotations: work.options.annotations.clone(),
        owner: owner_reference(polecat),
        order: serde_json::to_string(&order.map(Role::from))?,
        control,
        broker: Broker {
            image: &settings.agent_image,
            resources: &config.resources.broker,
            state: &config.volumes.broker,
            tmp: &config.volumes.tmp,
            keys: keys(work),
        },
        keyless: keyless(work, settings),
        scratch: scratch(settings),
        grace_seconds: config.grace_seconds,
        deadline_seconds: backstop,
        placement: work.options.placement.clone(),
        pull_secrets: &work.options.pull_secrets,
        host_users: work.options.host_users,
    };
    Ok(blueprint.pod())
}

/// What the broker may read. Of the credentials secret nothing of another provider.
fn keys(work: &Work) -> Vec<Key<'_>> {
    let credentials = &work.credentials;
    let model = credentials.secret.as_deref().map(|secret| {
        let keys = work.provider.credential_keys().iter().chain(&pod::SETTINGS_KEYS);
        Key::Model {
            secret,
            keys: keys.copied().collect(),
        }
    });
    let api_key = credentials.api_key.as_ref().map(|api_key| Key::Api {
        secret: &api_key.secret,
        key: &api_key.key,
    });
    let known_hosts = work
        .known_hosts_config_map
        .as_deref()
        .map(|config_map| Key::KnownHosts { config_map });
    let git = Key::Git {
        secret: &work.git_secret,
    };
    [Some(git), model, api_key, known_hosts]
        .into_iter()
        .flatten()
        .collect()
}

/// All but `claude` always run the operator's own agent image.
fn keyless<'a>(work: &'a Work, settings: &'a Settings) -> Vec<Keyless<'a>> {
    let resources = &settings.config.resources;
    let own = work.options.env.iter().cloned();
    vec![
        // Snapshots the work tree, at the latest when the pod is asked to end.
        Keyless {
            name: pod::KEEPER,
            role: &["keeper", "run"],
            image: &settings.agent_image,
            resources: &resources.keeper,
            env: vec![pod_uid(), value("HOME", pod::KEEPER_DIR)],
            part: Part::Sidecar {
                stop: &["polecat", "keeper", "stop"],
            },
        },
        // Clones from the broker.
        Keyless {
            name: pod::GIT_INIT,
            role: &["clone"],
            image: &settings.agent_image,
            resources: &resources.git_init,
            env: vec![value("HOME", pod::HOME_DIR)],
            part: Part::Init,
        },
        // Runs the agent, in the polecat's own image and environment where it names them.
        Keyless {
            name: pod::CLAUDE,
            role: &["run"],
            image: &work.image,
            resources: &work.options.resources,
            env: own
                .chain([value("HOME", pod::HOME_DIR), value("TMPDIR", pod::TMP_DIR)])
                .collect(),
            part: Part::Main,
        },
    ]
}

/// What `git-init`, `claude` and the keeper share. The home is not saved, but its size is watched.
fn scratch(settings: &Settings) -> Vec<Scratch<'_>> {
    let sizes = &settings.config.volumes;
    let mount = |container, path| Mount {
        container,
        path,
        read_only: false,
    };
    let all = |path| {
        vec![
            mount(pod::KEEPER, path),
            mount(pod::GIT_INIT, path),
            mount(pod::CLAUDE, path),
        ]
    };
    let watched = Mount {
        read_only: true,
        ..mount(pod::KEEPER, pod::HOME_DIR)
    };
    vec![
        Scratch {
            name: "workspace",
            size: &sizes.workspace,
            mounts: all(pod::WORKSPACE_DIR),
        },
        Scratch {
            name: "home",
            size: &sizes.home,
            mounts: vec![
                watched,
                mount(pod::GIT_INIT, pod::HOME_DIR),
                mount(pod::CLAUDE, pod::HOME_DIR),
            ],
        },
        Scratch {
            name: "tmp",
            size: &sizes.tmp,
            mounts: all(pod::TMP_DIR),
        },
        Scratch {
            name: "keeper-state",
            size: &sizes.keeper,
            mounts: vec![mount(pod::KEEPER, pod::KEEPER_DIR)],
        },
    ]
}

/// The labels of the pod of attempt `attempt`.
#[must_use]
pub fn pod_labels(polecat: &Polecat, attempt: i32) -> BTreeMap<String, String> {
    let of_polecat = labels_of(polecat)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    of_polecat.chain(attempt_labels(attempt)).collect()
}

/// Ours win: the tables were checked, and a polecat's labels are what its pods are found by.
fn labels_with(given: &Table, polecat: &Polecat, attempt: i32) -> BTreeMap<String, String> {
    let mut all = given.clone();
    all.extend(pod_labels(polecat, attempt));
    all
}

#[cfg(test)]
mod tests;
