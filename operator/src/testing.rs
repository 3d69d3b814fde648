//! Minimal objects for tests, through the real parse step.

pub mod random;

use std::sync::Arc;

use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::Config;
use crate::pod_view::PodView;
use crate::types::Settings;

/// The commit that the first attempt found.
pub const BASE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Another one.
pub const HEAD: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// The defaults, and an agent image by digest.
pub fn settings() -> Settings {
    Settings {
        agent_image: "registry.example/agent@sha256:0".to_owned(),
        registry_secret: None,
        image_bundles: None,
        config: Config::parse("").unwrap(),
        operator: Arc::default(),
    }
}

/// A second of the epoch.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The seed's polecat, with `changes` merged over it.
pub fn polecat(changes: Value) -> Arc<Polecat> {
    let mut object = json!({
        "apiVersion": "gastown.gastown.io/v1alpha1",
        "kind": "Polecat",
        "metadata": {
            "name": "furiosa", "namespace": "town", "uid": "polecat-uid", "generation": 1, "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "rig": "my-project",
            "desiredState": "Working",
            "kubernetes": {
                "gitRepository": "git@github.com:org/repo.git",
                "gitSecretRef": {"name": "git-ssh-key"},
                "claudeCredsSecretRef": {"name": "claude-creds"},
            },
            "task": {"description": "Implement feature X"},
        },
    });
    merge(&mut object, changes);
    Arc::new(serde_json::from_value(object).unwrap())
}

/// A Rig that has everything a polecat may take from it.
pub fn rig() -> Arc<Rig> {
    let object = json!({
        "apiVersion": "gastown.gastown.io/v1alpha1",
        "kind": "Rig",
        "metadata": {"name": "my-project", "generation": 1},
        "spec": {
            "gitURL": "ssh://git@git.example:2222/org/repo.git",
            "beadsPrefix": "mp",
            "gitBranch": "develop",
            "gitSecretRef": {"name": "rig-git"},
            "claudeCredsSecretRef": {"name": "rig-claude"},
        },
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

/// A pod of that polecat's attempt 1, with `changes` merged over it.
pub fn pod(changes: Value) -> PodView {
    let mut object = json!({
        "metadata": {
            "name": "polecat-furiosa", "namespace": "town", "uid": "pod-uid",
            "labels": {
                "gastown.io/polecat": "furiosa", "gastown.io/rig": "my-project", "gastown.io/attempt": "1",
                "app.kubernetes.io/managed-by": "gastown-operator",
            },
            "finalizers": ["gastown.io/evidence"],
            "ownerReferences": [{
                "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat", "name": "furiosa",
                "uid": "polecat-uid", "controller": true,
            }],
        },
        "status": {"phase": "Pending"},
    });
    merge(&mut object, changes);
    serde_json::from_value(object).unwrap()
}

/// The status of a pod whose agent runs.
pub fn running() -> Value {
    json!({
        "phase": "Running",
        "initContainerStatuses": [
            {"name": "broker", "ready": true, "state": {"running": {"startedAt": "1970-01-01T00:00:00Z"}}},
            {"name": "keeper", "ready": true, "state": {"running": {}}},
            {"name": "git-init", "state": {"terminated": {"exitCode": 0}}},
        ],
        "containerStatuses": [{"name": "claude", "ready": true, "state": {"running": {}}}],
    })
}

/// The status of a pod that ended: the agent with `exit`, the broker with `evidence`.
pub fn ended(exit: i32, evidence: &Value) -> Value {
    let phase = if exit == 0 { "Succeeded" } else { "Failed" };
    json!({
        "phase": phase,
        "initContainerStatuses": [
            {"name": "broker", "state": {"terminated": {"exitCode": 0, "message": evidence.to_string()}}},
            {"name": "keeper", "state": {"terminated": {"exitCode": 0}}},
            {"name": "git-init", "state": {"terminated": {"exitCode": 0}}},
        ],
        "containerStatuses": [{"name": "claude", "state": {"terminated": {"exitCode": exit}}}],
    })
}

/// Evidence of attempt 1 with base and head, with `changes` merged over it; the head is what was pushed, unless they say
/// otherwise.
pub fn evidence(changes: Value) -> Value {
    let mut object = json!({
        "attempt": 1, "state": {"name": "serving"}, "base": BASE, "head": HEAD,
        "usage": {"inputTokens": 1000, "outputTokens": 100}, "costMicros": 4500, "settled": true,
        "finalRead": {"name": "read", "at": "2026-01-01T00:00:00Z"},
    });
    merge(&mut object, changes);
    if object.get("pushed").is_none() && object.get("head").is_some() {
        object["pushed"] = object["head"].clone();
    }
    object
}

/// A JSON merge patch (RFC 7396).
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(&key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}
