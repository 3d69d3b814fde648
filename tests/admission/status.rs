//! Status is written by server-side apply of the types in `api`, and by nobody but through its subresource.

use gastown_api::polecat::PolecatStatus;
use gastown_api::rig::{RigOperator, RigPhase, RigStatus};
use gastown_api::usage::Usage;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

use crate::ask::{Keep, Server, parse};

const POLECAT: &str = include_str!("samples/seed-template.yaml");

fn at() -> Time {
    Time("2026-01-05T09:00:00Z".parse().unwrap())
}

fn condition(type_: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: "Delivered".to_owned(),
        message: String::new(),
        last_transition_time: at(),
        observed_generation: Some(1),
    }
}

/// A status with every field set.
fn full() -> Value {
    let sha = "b2e549b41c2da3a621e84c7e7550e65d55fe6706";
    let usage = serde_json::to_value(Usage::default()).unwrap();
    let attempt = |number: i32| {
        json!({
            "number": number, "retry": 1, "podUID": "4f5b8f1e-0000-0000-0000-000000000000",
            "startedAt": at(), "finishedAt": at(), "outcome": "Delivered", "reason": "Delivered",
            "message": "x".repeat(1024), "usage": usage, "costMicros": 123_400,
            "granted": {"tokens": 2_000_000, "costMicros": 5_000_000}, "unconfirmed": sha,
        })
    };
    json!({
        "phase": "Done", "observedGeneration": 1, "assignedBead": "at-1",
        "branch": "polecat/furiosa/at-1@mh3k", "head": sha, "base": sha,
        "wip": {"ref": "refs/gastown/wip/furiosa/4f5b8f1e", "sha": sha, "at": at()},
        "podName": "polecat-furiosa", "podActive": true, "lastActivity": at(),
        "agent": "claude-code", "agentImage": "ghcr.io/boshu2/polecat-agent:1", "agentModel": "claude-sonnet-4",
        "repository": "git@github.com:org/repo.git", "baseBranch": "main",
        "usage": usage, "cost": "$0.1234", "costMicros": 123_400, "retryHandled": "2026-01-05",
        "unaccounted": {"tokens": 1_000_000, "costMicros": 2_500_000},
        "attempts": (1..=10).map(attempt).collect::<Vec<_>>(),
        "conditions": [condition("Ready"), condition("Delivered")],
    })
}

#[test]
fn the_full_status_has_every_field_of_the_type() {
    let parsed: PolecatStatus = serde_json::from_value(full()).unwrap();
    assert_eq!(serde_json::to_value(parsed).unwrap(), full());
    let definition = gastown_api::kinds::POLECAT.definition().unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    assert_eq!(missing(schema, &full(), "status"), Vec::<String>::new());
}

/// The fields of a schema that a value leaves out, at any depth.
fn missing(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    if let Some(list) = value.as_array() {
        return missing(&schema["items"], &list[0], &format!("{path}[0]"));
    }
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .flat_map(|(field, schema)| {
            let path = format!("{path}.{field}");
            match value.get(field) {
                Some(value) => missing(schema, value, &path),
                None => vec![path],
            }
        })
        .collect()
}

fn applied(object: &Value, status: impl serde::Serialize) -> Value {
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"],
        "metadata": {"name": object["metadata"]["name"]}, "status": status,
    })
}

#[tokio::test]
async fn every_field_of_a_polecats_status_is_stored_by_server_side_apply() {
    let server = Server::connect().await;
    let mut object = parse(POLECAT);
    object["metadata"]["name"] = "status".into();
    server.forget(&object).await;
    server.create(&object, Keep::Yes).await.unwrap();
    let wanted = full();
    let stored = server
        .apply(&applied(&object, &wanted), "/status", "tests")
        .await
        .unwrap();
    assert_eq!(stored["status"], wanted);
    // The same once more is no write: the resource version stays.
    let again = server
        .apply(&applied(&object, &wanted), "/status", "tests")
        .await
        .unwrap();
    assert_eq!(
        again["metadata"]["resourceVersion"],
        stored["metadata"]["resourceVersion"]
    );
    server.forget(&object).await;
}

#[tokio::test]
async fn a_condition_of_another_manager_survives_ours() {
    let server = Server::connect().await;
    let mut object = parse(POLECAT);
    object["metadata"]["name"] = "two-managers".into();
    server.forget(&object).await;
    server.create(&object, Keep::Yes).await.unwrap();
    let of = |type_| json!({"conditions": [condition(type_)]});
    server
        .apply(&applied(&object, of("Merged")), "/status", "refinery")
        .await
        .unwrap();
    let stored = server
        .apply(&applied(&object, of("Ready")), "/status", "polecat")
        .await
        .unwrap();
    let types: Vec<_> = stored["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["Merged", "Ready"]);
    server.forget(&object).await;
}

#[tokio::test]
async fn a_status_in_a_created_object_is_dropped() {
    let server = Server::connect().await;
    let mut object = parse(POLECAT);
    object["status"] = json!({"phase": "Done"});
    let made = server.create(&object, Keep::No).await.unwrap();
    assert!(made.get("status").is_none(), "{made}");
}

#[tokio::test]
async fn a_phase_outside_the_vocabulary_is_refused() {
    let server = Server::connect().await;
    let mut object = parse(POLECAT);
    object["metadata"]["name"] = "bad-phase".into();
    server.forget(&object).await;
    server.create(&object, Keep::Yes).await.unwrap();
    let answer = server
        .apply(
            &applied(&object, json!({"phase": "Finished"})),
            "/status",
            "tests",
        )
        .await;
    let message = answer.unwrap_err();
    for part in ["status.phase", "\"Finished\"", "supported values: \"Idle\""] {
        assert!(message.contains(part), "{part:?} not in {message}");
    }
    server.forget(&object).await;
}

#[tokio::test]
async fn the_status_of_a_rig_is_stored_by_server_side_apply() {
    let server = Server::connect().await;
    let mut object = parse(include_str!("samples/predecessor-rig.yaml"));
    object["metadata"]["name"] = "rig-status".into();
    server.forget(&object).await;
    server.create(&object, Keep::Yes).await.unwrap();
    let wanted = serde_json::to_value(RigStatus {
        phase: Some(RigPhase::Ready),
        observed_generation: Some(1),
        polecat_count: 3,
        working_polecats: 2,
        operators: vec![RigOperator {
            name: "gastown-system/gastown-operator".to_owned(),
            namespaces: vec!["town".to_owned()],
            polecat_count: 3,
            working_polecats: 2,
        }],
        conditions: vec![condition("Ready")],
    })
    .unwrap();
    let stored = server
        .apply(&applied(&object, &wanted), "/status", "tests")
        .await
        .unwrap();
    assert_eq!(stored["status"], wanted);
    server.forget(&object).await;
}
