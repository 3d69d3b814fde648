//! The volumes of the pod, and who mounts them.

use gastown_api::{labels, pod};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, KeyToPath,
    ObjectFieldSelector, ResourceFieldSelector, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::config::{Config, Size};
use crate::controller::polecat::validate::Work;

const ORDER: &str = "work-order";
const WORKSPACE: &str = "workspace";
const HOME: &str = "home";
const TMP: &str = "tmp";
const BROKER_STATE: &str = "broker-state";
const BROKER_TMP: &str = "broker-tmp";
const KEEPER_STATE: &str = "keeper-state";
const GIT_SECRET: &str = "git-secret";
const MODEL_SECRET: &str = "model-secret";
const API_KEY: &str = "api-key";
const KNOWN_HOSTS: &str = "known-hosts";

/// Without an fsGroup a file of mode 0400 belongs to root and cannot be read by the container's user.
const READABLE: i32 = 0o444;

/// Every volume. Secrets are optional: the broker says what is missing, and the kubelet fills them when they appear.
#[must_use]
pub fn volumes(work: &Work, config: &Config) -> Vec<Volume> {
    let sizes = &config.volumes;
    let mut all = vec![
        work_order(),
        empty(WORKSPACE, &sizes.workspace),
        empty(HOME, &sizes.home),
        empty(TMP, &sizes.tmp),
        empty(BROKER_STATE, &sizes.broker),
        empty(BROKER_TMP, &sizes.tmp),
        empty(KEEPER_STATE, &sizes.keeper),
        secret(GIT_SECRET, &work.git_secret, &[]),
    ];
    let credentials = &work.credentials;
    all.extend(
        credentials
            .secret
            .as_ref()
            .map(|name| secret(MODEL_SECRET, name, &credential_keys(work))),
    );
    all.extend(
        credentials
            .api_key
            .as_ref()
            .map(|key| secret(API_KEY, &key.secret, &[&key.key])),
    );
    all.extend(work.known_hosts_config_map.as_deref().map(known_hosts));
    all
}

/// What the broker mounts: every secret, and nothing that the agent wrote.
#[must_use]
pub fn of_broker(work: &Work) -> Vec<VolumeMount> {
    let known_hosts = work.known_hosts_config_map.as_ref();
    let mut all = vec![
        order_mount(),
        read_only(GIT_SECRET, pod::GIT_SECRET_DIR),
        writable(BROKER_STATE, pod::BROKER_DIR),
        writable(BROKER_TMP, pod::TMP_DIR),
    ];
    let credentials = &work.credentials;
    all.extend(
        credentials
            .secret
            .as_ref()
            .map(|_| read_only(MODEL_SECRET, pod::MODEL_SECRET_DIR)),
    );
    all.extend(
        credentials
            .api_key
            .as_ref()
            .map(|_| read_only(API_KEY, pod::API_KEY_DIR)),
    );
    all.extend(known_hosts.map(|_| read_only(KNOWN_HOSTS, pod::KNOWN_HOSTS_DIR)));
    all
}

/// What the keeper mounts: what the agent wrote, and no secret. The home is not saved, but its size is watched.
#[must_use]
pub fn of_keeper() -> Vec<VolumeMount> {
    vec![
        order_mount(),
        writable(WORKSPACE, pod::WORKSPACE_DIR),
        read_only(HOME, pod::HOME_DIR),
        writable(TMP, pod::TMP_DIR),
        writable(KEEPER_STATE, pod::KEEPER_DIR),
    ]
}

/// What `git-init` and `claude` mount: no secret.
#[must_use]
pub fn of_agent() -> Vec<VolumeMount> {
    vec![
        order_mount(),
        writable(WORKSPACE, pod::WORKSPACE_DIR),
        writable(HOME, pod::HOME_DIR),
        writable(TMP, pod::TMP_DIR),
    ]
}

fn order_mount() -> VolumeMount {
    let (folder, _) = split(pod::ORDER_FILE);
    read_only(ORDER, folder)
}

/// Folder and name of a file.
fn split(path: &'static str) -> (&'static str, &'static str) {
    path.rsplit_once('/').unwrap_or(("/", path))
}

/// The work order, what the operator tells the pod of its budget, and the pod's limits of ephemeral storage as they were
/// admitted. An annotation that is not there is an empty file.
fn work_order() -> Volume {
    let annotation = |path: &'static str, name: &str| DownwardAPIVolumeFile {
        path: split(path).1.to_owned(),
        field_ref: Some(ObjectFieldSelector {
            field_path: format!("metadata.annotations['{name}']"),
            api_version: None,
        }),
        mode: Some(READABLE),
        resource_field_ref: None,
    };
    let annotations = [
        annotation(pod::ORDER_FILE, labels::WORK_ORDER),
        annotation(pod::CONTROL_FILE, labels::CONTROL),
    ];
    let (folder, _) = split(pod::ORDER_FILE);
    let storage = pod::STORAGE_DIR
        .trim_start_matches(folder)
        .trim_start_matches('/');
    let limits = pod::OURS.into_iter().flat_map(|container| {
        ["limit", "request"].map(|bound| DownwardAPIVolumeFile {
            path: format!("{storage}/{container}.{bound}"),
            field_ref: None,
            mode: Some(READABLE),
            resource_field_ref: Some(ResourceFieldSelector {
                container_name: Some(container.to_owned()),
                divisor: Some(Quantity("1".to_owned())),
                resource: format!("{bound}s.ephemeral-storage"),
            }),
        })
    });
    Volume {
        name: ORDER.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(annotations.into_iter().chain(limits).collect()),
            default_mode: None,
        }),
        ..Volume::default()
    }
}

fn empty(name: &str, size: &Size) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.as_str().to_owned())),
            medium: None,
        }),
        ..Volume::default()
    }
}

/// What the broker may read of the credentials secret: nothing of another provider.
fn credential_keys(work: &Work) -> Vec<&'static str> {
    let credentials = work.provider.credential_keys();
    credentials.iter().chain(&pod::SETTINGS_KEYS).copied().collect()
}

/// A secret; of its keys only `keys`, or all where none are named.
fn secret(volume: &str, name: &str, keys: &[&str]) -> Volume {
    let item = |key: &&str| KeyToPath {
        key: (*key).to_owned(),
        path: (*key).to_owned(),
        mode: None,
    };
    let items: Vec<_> = keys.iter().map(item).collect();
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.to_owned()),
            items: (!items.is_empty()).then_some(items),
            optional: Some(true),
            default_mode: Some(READABLE),
        }),
        ..Volume::default()
    }
}

fn known_hosts(name: &str) -> Volume {
    Volume {
        name: KNOWN_HOSTS.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: name.to_owned(),
            optional: Some(true),
            default_mode: Some(READABLE),
            items: None,
        }),
        ..Volume::default()
    }
}

fn writable(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

fn read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..writable(volume, path)
    }
}
