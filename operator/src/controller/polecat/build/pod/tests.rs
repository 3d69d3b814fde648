//! The rendered pod against the rules it has to pass, one by one, for manifests that set everything and nothing.

mod order;
mod random;

use gastown_api::labels;
use gastown_api::work_order::WorkOrder;
use gastown_crypto::sha256;
use k8s_openapi::api::core::v1::Container;
use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::controller::polecat::validate::validate;
use crate::testing::{polecat, rig, settings};

/// Pods of manifests from bare to full.
fn pods() -> Vec<Pod> {
    let full = json!({"spec": {
        "beadID": "mp-1",
        "budget": {"tokens": 9},
        "agentConfig": {"model": "claude-sonnet-4-5", "env": [{"name": "A", "value": "b"}]},
        "kubernetes": {
            "image": "other/agent:1",
            "workBranch": "feature/x",
            "apiKeySecretRef": {"name": "keys", "key": "k"},
            "sshKnownHostsConfigMapRef": {"name": "hosts"},
            "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
            "activeDeadlineSeconds": 60,
            "podLabels": {"team": "payments"},
            "podAnnotations": {"example.com/note": "text"},
            "gitAuthor": {"name": "Jane Doe", "email": "jane@example.com"},
        },
    }});
    let mut user_namespace = settings();
    let text = "hostUsers: false\nimagePullSecrets: [pull]\ngraceSeconds: 30";
    user_namespace.config = Config::parse(text).unwrap();
    let mut pods = vec![];
    for settings in [settings(), user_namespace] {
        for (change, rig) in [
            (json!({}), None),
            (full.clone(), None),
            (json!({"spec": {"kubernetes": null}}), Some(rig())),
        ] {
            let polecat = polecat(change);
            let work = validate(&polecat, rig.as_deref(), &settings).unwrap();
            pods.push(pod(&polecat, &work, 1, &settings).unwrap());
        }
    }
    pods
}

fn containers(pod: &Pod) -> Vec<&Container> {
    let spec = pod.spec.as_ref().unwrap();
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .collect()
}

fn json_of(pod: &Pod) -> Value {
    serde_json::to_value(pod.spec.as_ref().unwrap()).unwrap()
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, baseline and restricted.
#[test]
fn every_pod_keeps_each_rule_of_pod_security_restricted() {
    for pod in pods() {
        let spec = json_of(&pod);
        for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(spec.get(forbidden).is_none(), "{forbidden}");
        }
        let of_pod = &spec["securityContext"];
        assert_eq!(of_pod["runAsNonRoot"], true);
        assert_eq!(of_pod["seccompProfile"], json!({"type": "RuntimeDefault"}));
        for forbidden in ["sysctls", "seLinuxOptions", "appArmorProfile", "windowsOptions"] {
            assert!(of_pod.get(forbidden).is_none(), "{forbidden}");
        }
        for volume in spec["volumes"].as_array().unwrap() {
            let kinds: Vec<_> = volume
                .as_object()
                .unwrap()
                .keys()
                .filter(|k| *k != "name")
                .collect();
            let allowed = ["configMap", "downwardAPI", "emptyDir", "secret"];
            assert!(
                kinds.len() == 1 && allowed.contains(&kinds[0].as_str()),
                "{volume}"
            );
        }
        for container in containers(&pod) {
            let context = serde_json::to_value(container.security_context.as_ref().unwrap()).unwrap();
            let expected = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
                "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(context, expected, "{}", container.name);
            assert!(
                container
                    .ports
                    .iter()
                    .flatten()
                    .all(|port| port.host_port.is_none())
            );
            let probe = container
                .readiness_probe
                .as_ref()
                .and_then(|p| p.http_get.as_ref());
            assert!(
                probe.is_none_or(|get| get.host.is_none()),
                "a probe must name no host"
            );
        }
    }
}

/// `restricted-v2` chooses the user, the group and the security label itself; what a pod asks for is refused.
#[test]
fn every_pod_leaves_to_openshift_what_restricted_v2_chooses() {
    for pod in pods() {
        let spec = json_of(&pod);
        let text = spec.to_string();
        for chosen in [
            "runAsUser",
            "runAsGroup",
            "fsGroup",
            "supplementalGroups",
            "seLinuxOptions",
            "procMount",
        ] {
            assert!(!text.contains(chosen), "{chosen}");
        }
        assert!(!text.contains("hostPath"));
    }
}

#[test]
fn no_pod_can_speak_to_the_api_server() {
    for pod in pods() {
        let spec = pod.spec.unwrap();
        assert_eq!(spec.automount_service_account_token, Some(false));
        assert_eq!(spec.enable_service_links, Some(false));
        assert_eq!(spec.service_account_name, None);
    }
}

#[test]
fn only_the_broker_mounts_a_secret_and_it_mounts_nothing_of_the_agents() {
    for pod in pods() {
        let spec = pod.spec.as_ref().unwrap();
        let secret: Vec<_> = spec
            .volumes
            .iter()
            .flatten()
            .filter(|v| v.secret.is_some())
            .map(|v| &v.name)
            .collect();
        assert!((2..=3).contains(&secret.len()), "{secret:?}");
        let mounts = |name: &str| -> Vec<String> {
            let container = containers(&pod).into_iter().find(|c| c.name == name).unwrap();
            container
                .volume_mounts
                .iter()
                .flatten()
                .map(|m| m.name.clone())
                .collect()
        };
        for name in ["keeper", "git-init", "claude"] {
            assert!(
                mounts(name).iter().all(|mount| !secret.contains(&mount)),
                "{name}"
            );
        }
        let shared = mounts("claude");
        let of_broker: Vec<_> = mounts("broker")
            .into_iter()
            .filter(|mount| shared.contains(mount))
            .collect();
        assert_eq!(
            of_broker,
            ["work-order"],
            "the broker shares only what nobody can write"
        );
        for container in containers(&pod) {
            let order = container
                .volume_mounts
                .iter()
                .flatten()
                .find(|m| m.name == "work-order")
                .unwrap();
            assert_eq!(order.read_only, Some(true));
            let env = serde_json::to_string(&container.env).unwrap();
            assert!(!env.contains("secretKeyRef") && container.env_from.is_none());
        }
    }
}

#[test]
fn secrets_may_appear_later_and_only_keys_that_are_used_are_mounted() {
    for pod in pods() {
        for volume in pod.spec.unwrap().volumes.unwrap() {
            let Some(secret) = volume.secret else { continue };
            assert_eq!((secret.optional, secret.default_mode), (Some(true), Some(0o444)));
            let keys: Vec<_> = secret
                .items
                .iter()
                .flatten()
                .map(|item| item.key.as_str())
                .collect();
            match secret.secret_name.unwrap().as_str() {
                "claude-creds" | "rig-claude" => assert_eq!(
                    keys,
                    [
                        "ANTHROPIC_API_KEY",
                        "CLAUDE_CODE_OAUTH_TOKEN",
                        ".credentials.json",
                        "credentials.json",
                        "ca.crt",
                        "proxy",
                        "settings.json",
                        "CLAUDE.md",
                        "claude-home.tar.gz"
                    ]
                ),
                "keys" => assert_eq!(keys, ["k"]),
                _ => assert!(keys.is_empty(), "the git secret is mounted whole"),
            }
        }
    }
}

#[test]
fn every_container_is_bounded_and_every_volume_too() {
    for pod in pods() {
        for container in containers(&pod) {
            let limits = container.resources.as_ref().unwrap().limits.as_ref().unwrap();
            assert!(
                limits.contains_key("memory") && limits.contains_key("cpu"),
                "{}",
                container.name
            );
        }
        let volumes = pod.spec.unwrap().volumes.unwrap();
        let mut empty = volumes.iter().filter_map(|v| v.empty_dir.as_ref());
        assert!(empty.all(|dir| dir.size_limit.is_some()));
    }
}

#[test]
fn the_sidecars_are_native_and_start_before_the_clone() {
    for pod in pods() {
        let spec = pod.spec.unwrap();
        let init = spec.init_containers.unwrap();
        let order: Vec<_> = init
            .iter()
            .map(|c| (c.name.as_str(), c.restart_policy.as_deref()))
            .collect();
        assert_eq!(
            order,
            [
                ("broker", Some("Always")),
                ("keeper", Some("Always")),
                ("git-init", None)
            ]
        );
        let stop = init[1]
            .lifecycle
            .as_ref()
            .unwrap()
            .pre_stop
            .as_ref()
            .unwrap()
            .exec
            .as_ref()
            .unwrap();
        assert_eq!(stop.command.as_ref().unwrap(), &["polecat", "keeper", "stop"]);
        assert_eq!(spec.containers.len(), 1);
        assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    }
}

#[test]
fn only_the_agents_container_runs_the_polecats_image() {
    let pod = &pods()[1];
    for container in containers(pod) {
        let image = container.image.as_deref().unwrap();
        assert_eq!(
            image == "other/agent:1",
            container.name == "claude",
            "{}",
            container.name
        );
    }
}

#[test]
fn a_deadline_longer_than_any_pod_may_live_is_that_of_the_broker_alone() {
    let polecat = polecat(json!({"spec": {"kubernetes": {"activeDeadlineSeconds": i64::MAX}}}));
    let work = validate(&polecat, None, &settings()).unwrap();
    let pod = pod(&polecat, &work, 1, &settings()).unwrap();
    assert_eq!(
        pod.spec.unwrap().active_deadline_seconds,
        Some(i64::from(i32::MAX))
    );
}

#[test]
fn the_pod_ends_by_itself_after_deadline_parking_and_grace() {
    let seconds: Vec<_> = pods()
        .iter()
        .map(|p| p.spec.as_ref().unwrap().active_deadline_seconds.unwrap())
        .collect();
    assert_eq!(seconds, [25320, 21780, 25320, 25230, 21690, 25230]);
    let spec = pods()[3].spec.clone().unwrap();
    assert_eq!(
        (spec.termination_grace_period_seconds, spec.host_users),
        (Some(30), Some(false))
    );
    assert_eq!(spec.image_pull_secrets.unwrap()[0].name, "pull");
}

#[test]
fn the_pod_belongs_to_its_polecat_and_holds_its_evidence() {
    let pod = &pods()[1];
    let meta = &pod.metadata;
    assert_eq!(meta.name.as_deref(), Some("polecat-furiosa"));
    assert_eq!(meta.finalizers.as_deref().unwrap(), ["gastown.io/evidence"]);
    let owner = &meta.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (owner.uid.as_str(), owner.controller, owner.block_owner_deletion),
        ("polecat-uid", Some(true), None)
    );
    let labels = meta.labels.as_ref().unwrap();
    for (key, value) in [
        ("polecat", "furiosa"),
        ("rig", "my-project"),
        ("bead", "mp-1"),
        ("attempt", "1"),
    ] {
        assert_eq!(labels[&format!("gastown.io/{key}")], value);
    }
    assert_eq!(
        meta.annotations.as_ref().unwrap()["kubectl.kubernetes.io/default-container"],
        "claude"
    );
}

#[test]
fn given_labels_and_annotations_stand_beside_the_operators_own() {
    let pod = &pods()[1];
    let (labels, annotations) = (
        pod.metadata.labels.as_ref().unwrap(),
        pod.metadata.annotations.as_ref().unwrap(),
    );
    assert_eq!(
        (labels["team"].as_str(), labels[labels::POLECAT].as_str()),
        ("payments", "furiosa")
    );
    assert_eq!(annotations["example.com/note"], "text");
    let order = order::parse(&annotations[labels::WORK_ORDER]);
    assert_eq!(
        (order.author().name.as_str(), order.committer().name.as_str()),
        ("Jane Doe", "furiosa")
    );
    assert_eq!(order.committer().email, "furiosa@my-project.gastown.invalid");
}
