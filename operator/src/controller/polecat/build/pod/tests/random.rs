//! A hundred thousand random polecats, each pod held against each rule. The same rules as of the pods of chosen
//! manifests, here on the types: JSON would take minutes.

use std::sync::LazyLock;
use std::thread;

use fastrand::Rng;
use gastown_api::rig::Rig;
use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};

use super::*;
use crate::controller::polecat::validate::validate;
use crate::testing::{random, settings};

const POLECATS: u64 = 100_000;

/// Parsed once: that takes longer than to render a pod.
static SETTINGS: LazyLock<[Settings; 3]> = LazyLock::new(|| {
    [None, Some(false), Some(true)].map(|host_users| {
        let mut settings = settings();
        settings.config.host_users = host_users;
        settings
    })
});

/// What breaks a rule of the Pod Security Standard `restricted`, `baseline` included.
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
fn breaks_pod_security(spec: &PodSpec) -> Option<&'static str> {
    let of_pod = spec.security_context.as_ref()?;
    let volumes = spec.volumes.iter().flatten();
    let rules = [
        ("hostNetwork", spec.host_network.is_some()),
        ("hostPID", spec.host_pid.is_some()),
        ("hostIPC", spec.host_ipc.is_some()),
        ("runAsNonRoot", of_pod.run_as_non_root != Some(true)),
        (
            "seccompProfile",
            of_pod
                .seccomp_profile
                .as_ref()
                .is_none_or(|p| p.type_ != "RuntimeDefault"),
        ),
        ("sysctls", of_pod.sysctls.is_some()),
        ("seLinuxOptions", of_pod.se_linux_options.is_some()),
        ("appArmorProfile", of_pod.app_armor_profile.is_some()),
        ("windowsOptions", of_pod.windows_options.is_some()),
        ("volume types", volumes.into_iter().any(|v| !is_plain(v))),
        ("ephemeralContainers", spec.ephemeral_containers.is_some()),
    ];
    let broken = rules
        .into_iter()
        .find(|(_, broken)| *broken)
        .map(|(rule, _)| rule);
    broken.or_else(|| all(spec).find_map(breaks_container))
}

fn all(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn is_plain(volume: &Volume) -> bool {
    let kinds = [
        volume.config_map.is_some(),
        volume.downward_api.is_some(),
        volume.empty_dir.is_some(),
        volume.secret.is_some(),
    ];
    let others = Volume {
        name: volume.name.clone(),
        config_map: volume.config_map.clone(),
        downward_api: volume.downward_api.clone(),
        empty_dir: volume.empty_dir.clone(),
        secret: volume.secret.clone(),
        ..Volume::default()
    };
    kinds.iter().filter(|kind| **kind).count() == 1 && others == *volume
}

fn breaks_container(container: &Container) -> Option<&'static str> {
    let Some(context) = container.security_context.as_ref() else {
        return Some("securityContext");
    };
    let dropped = context.capabilities.as_ref();
    let handler = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
    let probes = [
        &container.readiness_probe,
        &container.liveness_probe,
        &container.startup_probe,
    ];
    let rules = [
        ("privileged", context.privileged.is_some()),
        (
            "allowPrivilegeEscalation",
            context.allow_privilege_escalation != Some(false),
        ),
        (
            "capabilities.drop",
            dropped.is_none_or(|c| c.drop.as_deref() != Some(&["ALL".to_owned()])),
        ),
        ("capabilities.add", dropped.is_some_and(|c| c.add.is_some())),
        ("runAsNonRoot", context.run_as_non_root != Some(true)),
        (
            "readOnlyRootFilesystem",
            context.read_only_root_filesystem != Some(true),
        ),
        ("procMount", context.proc_mount.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("windowsOptions", context.windows_options.is_some()),
        (
            "hostPort",
            container
                .ports
                .iter()
                .flatten()
                .any(|p| p.host_port.is_some() || p.host_ip.is_some()),
        ),
        (
            "probe host",
            probes
                .into_iter()
                .flatten()
                .any(|p| p.http_get.as_ref().is_some_and(|get| get.host.is_some())),
        ),
        (
            "hook host",
            handler.is_some_and(|h| h.http_get.is_some() || h.tcp_socket.is_some()),
        ),
        ("volumeDevices", container.volume_devices.is_some()),
    ];
    rules
        .into_iter()
        .find(|(_, broken)| *broken)
        .map(|(rule, _)| rule)
}

/// What OpenShift's `restricted-v2` chooses itself, and a pod that asks for it is refused.
fn breaks_restricted_v2(spec: &PodSpec) -> Option<&'static str> {
    let of_pod = spec.security_context.as_ref()?;
    let users = |container: &Container| {
        let context = container.security_context.as_ref();
        context.is_some_and(|c| c.run_as_user.is_some() || c.run_as_group.is_some())
    };
    let rules = [
        ("runAsUser", of_pod.run_as_user.is_some() || all(spec).any(users)),
        ("runAsGroup", of_pod.run_as_group.is_some()),
        (
            "fsGroup",
            of_pod.fs_group.is_some() || of_pod.fs_group_change_policy.is_some(),
        ),
        ("supplementalGroups", of_pod.supplemental_groups.is_some()),
        (
            "supplementalGroupsPolicy",
            of_pod.supplemental_groups_policy.is_some(),
        ),
        ("shareProcessNamespace", spec.share_process_namespace.is_some()),
    ];
    rules
        .into_iter()
        .find(|(_, broken)| *broken)
        .map(|(rule, _)| rule)
}

/// The laws of this project that no option of a polecat may touch.
fn breaks_our_laws(spec: &PodSpec) -> Option<&'static str> {
    let secrets: Vec<_> = spec
        .volumes
        .iter()
        .flatten()
        .filter(|v| v.secret.is_some())
        .map(|v| v.name.as_str())
        .collect();
    let mounts_secret = |c: &Container| {
        let mounts = c.volume_mounts.iter().flatten();
        mounts.into_iter().any(|m| secrets.contains(&m.name.as_str()))
    };
    let takes_secret = |c: &Container| {
        let variables = c.env.iter().flatten().filter_map(|v| v.value_from.as_ref());
        c.env_from.is_some()
            || variables
                .into_iter()
                .any(|v| v.secret_key_ref.is_some() || v.file_key_ref.is_some())
    };
    let is_bounded = |c: &Container| {
        let has = |map: Option<&BTreeMap<String, _>>| {
            map.is_some_and(|m| m.contains_key("cpu") && m.contains_key("memory"))
        };
        let resources = c.resources.as_ref();
        has(resources.and_then(|r| r.limits.as_ref())) && has(resources.and_then(|r| r.requests.as_ref()))
    };
    let own_image = |c: &Container| {
        let operators = c.image.as_deref() == Some("registry.example/agent@sha256:0");
        c.name != gastown_api::pod::CLAUDE && !operators
    };
    let last = |c: &Container, name: &str| {
        let mut values = c.env.iter().flatten().filter(|v| v.name == name);
        values.next_back().and_then(|v| v.value.clone())
    };
    let home = |c: &Container| {
        c.name == gastown_api::pod::CLAUDE && last(c, "HOME").as_deref() != Some(gastown_api::pod::HOME_DIR)
    };
    let rules = [
        ("a token", spec.automount_service_account_token != Some(false)),
        ("an account", spec.service_account_name.is_some()),
        ("links", spec.enable_service_links != Some(false)),
        ("a node by name", spec.node_name.is_some()),
        ("a restart", spec.restart_policy.as_deref() != Some("Never")),
        (
            "a secret beside the agent",
            all(spec).any(|c| c.name != gastown_api::pod::BROKER && mounts_secret(c)),
        ),
        ("a secret in an environment", all(spec).any(takes_secret)),
        (
            "a container without requests and limits",
            !all(spec).all(is_bounded),
        ),
        ("a sidecar in a foreign image", all(spec).any(own_image)),
        ("another home", all(spec).any(home)),
        (
            "a deadline that no pod can have",
            spec.active_deadline_seconds
                .is_none_or(|s| !(1..=i64::from(i32::MAX)).contains(&s)),
        ),
    ];
    rules
        .into_iter()
        .find(|(_, broken)| *broken)
        .map(|(rule, _)| rule)
}

/// A request above its limit, which the API server refuses.
fn breaks_order(spec: &PodSpec) -> Option<&'static str> {
    let amount = |q: &k8s_openapi::apimachinery::pkg::api::resource::Quantity| {
        let own: gastown_api::resources::Quantity = serde_json::from_value(q.0.clone().into()).unwrap();
        own.amount().unwrap()
    };
    let above = all(spec).any(|c| {
        let resources = c.resources.clone().unwrap_or_default();
        let limits = resources.limits.unwrap_or_default();
        let requests = resources.requests.unwrap_or_default();
        requests.iter().any(|(key, request)| {
            limits
                .get(key)
                .is_some_and(|limit| amount(request) > amount(limit))
        })
    });
    above.then_some("a request above its limit")
}

fn check(seed: u64) {
    let rng = &mut Rng::with_seed(seed);
    let manifest = random::polecat(rng);
    let polecat: Polecat = serde_json::from_value(manifest.clone()).unwrap();
    let rig: Option<Rig> = rng
        .bool()
        .then(|| serde_json::from_value(random::rig(rng)).unwrap());
    let settings = &SETTINGS[rng.usize(..3)];
    let work = validate(&polecat, rig.as_ref(), settings)
        .unwrap_or_else(|refusal| panic!("seed {seed}: {refusal:?}\n{manifest}"));
    let pod = pod(&polecat, &work, rng.i32(1..), settings).unwrap();
    let spec = pod.spec.unwrap();
    assert!(spec.security_context.is_some(), "seed {seed}");
    let rules = [
        breaks_pod_security,
        breaks_restricted_v2,
        breaks_our_laws,
        breaks_order,
    ];
    let broken = rules.into_iter().find_map(|rules| rules(&spec));
    assert_eq!(broken, None, "seed {seed}\n{manifest}");
}

#[test]
fn a_hundred_thousand_random_polecats_break_no_rule() {
    let threads = 4;
    thread::scope(|scope| {
        for part in 0..threads {
            scope.spawn(move || (part..POLECATS).step_by(4).for_each(check));
        }
    });
}
