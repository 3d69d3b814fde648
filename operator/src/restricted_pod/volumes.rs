//! The volumes, and who mounts them.

use gastown_api::{labels, pod};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, KeyToPath,
    ObjectFieldSelector, ResourceFieldSelector, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::config::Size;

const ORDER: &str = "work-order";
const BROKER_STATE: &str = "broker-state";
const BROKER_TMP: &str = "broker-tmp";

/// Without an fsGroup a file of mode 0400 belongs to root and cannot be read by the container's user.
const READABLE: i32 = 0o444;

/// An empty volume that containers without keys share. The broker mounts none.
pub struct Scratch<'a> {
    /// Its name.
    pub name: &'static str,
    /// Its size.
    pub size: &'a Size,
    /// Who mounts it.
    pub mounts: Vec<Mount>,
}

impl Scratch<'_> {
    /// The volume.
    pub(super) fn volume(&self) -> Volume {
        empty(self.name, self.size)
    }
}

/// How one container mounts a [`Scratch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The container.
    pub container: &'static str,
    /// Where.
    pub path: &'static str,
    /// Whether it may not write there.
    pub read_only: bool,
}

/// Something that the broker may read, and nobody else. All are optional: the broker says what is missing, and the kubelet
/// fills them when they appear.
pub enum Key<'a> {
    /// The git secret, whole.
    Git {
        /// Its name.
        secret: &'a str,
    },
    /// Keys of the secret with model credentials and the agent's settings.
    Model {
        /// Its name.
        secret: &'a str,
        /// Which of its keys.
        keys: Vec<&'static str>,
    },
    /// A model API key that stands alone.
    Api {
        /// The name of the secret.
        secret: &'a str,
        /// The key.
        key: &'a str,
    },
    /// Host keys of git hosts.
    KnownHosts {
        /// The name of the ConfigMap.
        config_map: &'a str,
    },
}

impl Key<'_> {
    /// The volume's name, and where the broker mounts it.
    fn place(&self) -> (&'static str, &'static str) {
        match self {
            Self::Git { .. } => ("git-secret", pod::GIT_SECRET_DIR),
            Self::Model { .. } => ("model-secret", pod::MODEL_SECRET_DIR),
            Self::Api { .. } => ("api-key", pod::API_KEY_DIR),
            Self::KnownHosts { .. } => ("known-hosts", pod::KNOWN_HOSTS_DIR),
        }
    }

    fn volume(&self) -> Volume {
        let (volume, _) = self.place();
        match self {
            Self::Git { secret: name } => secret(volume, name, &[]),
            Self::Model { secret: name, keys } => secret(volume, name, keys),
            Self::Api { secret: name, key } => secret(volume, name, &[key]),
            Self::KnownHosts { config_map } => known_hosts(volume, config_map),
        }
    }
}

/// The volumes of the broker alone, of these sizes.
pub(super) fn of_the_broker_alone(state: &Size, tmp: &Size, keys: &[Key<'_>]) -> Vec<Volume> {
    [empty(BROKER_STATE, state), empty(BROKER_TMP, tmp)]
        .into_iter()
        .chain(keys.iter().map(Key::volume))
        .collect()
}

/// What the broker mounts: every key, and nothing that an agent wrote.
pub(super) fn of_broker(keys: &[Key<'_>]) -> Vec<VolumeMount> {
    let own = [
        order_mount(),
        writable(BROKER_STATE, pod::BROKER_DIR),
        writable(BROKER_TMP, pod::TMP_DIR),
    ];
    let keys = keys.iter().map(|key| {
        let (volume, path) = key.place();
        read_only(volume, path)
    });
    own.into_iter().chain(keys).collect()
}

/// What the container `name` without keys mounts.
pub(super) fn of_keyless(name: &str, scratch: &[Scratch<'_>]) -> Vec<VolumeMount> {
    let shared = scratch.iter().flat_map(|scratch| {
        let own = scratch.mounts.iter().filter(|mount| mount.container == name);
        own.map(|mount| {
            if mount.read_only {
                read_only(scratch.name, mount.path)
            } else {
                writable(scratch.name, mount.path)
            }
        })
    });
    [order_mount()].into_iter().chain(shared).collect()
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
pub(super) fn work_order(containers: &[&str]) -> Volume {
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
    let limits = containers.iter().flat_map(|container| {
        ["limit", "request"].map(|bound| DownwardAPIVolumeFile {
            path: format!("{storage}/{container}.{bound}"),
            field_ref: None,
            mode: Some(READABLE),
            resource_field_ref: Some(ResourceFieldSelector {
                container_name: Some((*container).to_owned()),
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

fn known_hosts(volume: &str, name: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
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
