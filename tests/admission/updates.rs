//! What may not change, and what is filled in.

use serde_json::{Value, json};

use crate::ask::{Keep, Server, parse};

const POLECAT: &str = include_str!("samples/predecessor-polecat-full.yaml");
const RIG: &str = include_str!("samples/predecessor-rig.yaml");

fn named(sample: &str, name: &str) -> Value {
    let mut object = parse(sample);
    object["metadata"]["name"] = name.into();
    object
}

/// Changes `at` of a stored object, and gives back what the server says.
async fn update(server: &Server, stored: &Value, at: &str, put: Value) -> Result<Value, String> {
    let mut changed = stored.clone();
    match (at.rsplit_once('/').unwrap(), put) {
        ((parent, key), Value::Null) => {
            changed
                .pointer_mut(parent)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(key)
                .unwrap();
        }
        (_, put) => *changed.pointer_mut(at).unwrap() = put,
    }
    server.replace(&changed, "").await
}

#[tokio::test]
async fn immutable_fields_of_a_polecat_cannot_change() {
    let server = Server::connect().await;
    let object = named(POLECAT, "immutable");
    server.forget(&object).await;
    let stored = server.create(&object, Keep::Yes).await.unwrap();
    let cases = [
        ("/spec/rig", json!("other"), ["spec.rig", "other", "immutable"]),
        (
            "/spec/kubernetes/gitRepository",
            json!("git@github.com:a/b"),
            ["spec.kubernetes.gitRepository", "git@github.com:a/b", "immutable"],
        ),
        (
            "/spec/kubernetes/gitRepository",
            Value::Null,
            [
                "spec.kubernetes.gitRepository",
                "git@github.com:myorg/athena.git",
                "immutable",
            ],
        ),
        (
            "/spec/kubernetes/workBranch",
            json!("feature/other"),
            ["spec.kubernetes.workBranch", "feature/other", "immutable"],
        ),
        (
            "/spec/kubernetes/workBranch",
            Value::Null,
            ["spec.kubernetes.workBranch", "feature/at-1234", "immutable"],
        ),
        (
            "/spec/kubernetes",
            Value::Null,
            ["spec.kubernetes", "feature/at-1234", "immutable"],
        ),
        (
            "/spec/executionMode",
            json!("local"),
            ["spec.executionMode", "local", "supported values"],
        ),
    ];
    for (at, put, parts) in cases {
        let message = update(&server, &stored, at, put).await.unwrap_err();
        for part in parts {
            assert!(message.contains(part), "{at}: {part:?} not in {message}");
        }
    }
    server.forget(&object).await;
}

#[tokio::test]
async fn what_a_user_steers_with_can_change() {
    let server = Server::connect().await;
    let object = named(POLECAT, "mutable");
    server.forget(&object).await;
    let mut stored = server.create(&object, Keep::Yes).await.unwrap();
    let changes = [
        ("/spec/desiredState", json!("Terminated")),
        ("/spec/taskDescription", json!("Another text")),
        ("/spec/kubernetes/activeDeadlineSeconds", json!(7200)),
        ("/spec/kubernetes/gitSecretRef/name", json!("other")),
        ("/spec/agentConfig/model", json!("claude-opus-4-1")),
    ];
    for (at, put) in changes {
        stored = update(&server, &stored, at, put).await.unwrap();
    }
    assert_eq!(stored["metadata"]["generation"], 6, "each was a new generation");
    server.forget(&object).await;
}

#[tokio::test]
async fn a_polecat_without_repository_cannot_be_given_one_afterwards() {
    let server = Server::connect().await;
    let object = json!({
        "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
        "metadata": {"name": "without-repository"}, "spec": {"rig": "r", "kubernetes": {}},
    });
    server.forget(&object).await;
    let mut stored = server.create(&object, Keep::Yes).await.unwrap();
    stored["spec"]["kubernetes"]["gitRepository"] = json!("git@github.com:a/b");
    let message = server.replace(&stored, "").await.unwrap_err();
    assert!(message.contains("gitRepository is immutable"), "{message}");
    server.forget(&object).await;
}

#[tokio::test]
async fn the_prefix_of_a_rig_cannot_change() {
    let server = Server::connect().await;
    let object = named(RIG, "immutable-prefix");
    server.forget(&object).await;
    let stored = server.create(&object, Keep::Yes).await.unwrap();
    let message = update(&server, &stored, "/spec/beadsPrefix", json!("xy"))
        .await
        .unwrap_err();
    for part in ["spec.beadsPrefix", "\"at\"", "\"xy\"", "immutable"] {
        assert!(message.contains(part), "{part:?} not in {message}");
    }
    update(&server, &stored, "/spec/settings/maxPolecats", json!(5000))
        .await
        .unwrap();
    server.forget(&object).await;
}

#[tokio::test]
async fn three_defaults_are_filled_in_and_no_others() {
    let server = Server::connect().await;
    let object = json!({
        "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
        "metadata": {"name": "defaults"}, "spec": {"rig": "r"},
    });
    let made = server.create(&object, Keep::No).await.unwrap();
    let wanted =
        json!({"rig": "r", "desiredState": "Idle", "executionMode": "kubernetes", "agent": "claude-code"});
    assert_eq!(made["spec"], wanted);
    assert!(made.get("status").is_none(), "{made}");
}
