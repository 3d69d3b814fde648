//! The table of what is refused, put to the API server.

use gastown_tests::manifests::parse;
use gastown_tests::manifests::refused::{
    Case, POLECAT, UNKNOWN, change, of_the_options, of_the_polecat, of_the_rig,
};
use serde_json::json;

use crate::ask::{Keep, Server};

#[tokio::test]
async fn invalid_rigs_are_refused_with_field_value_and_rule() {
    refuses(of_the_rig()).await;
}

#[tokio::test]
async fn invalid_polecats_are_refused_with_field_value_and_rule() {
    refuses(of_the_polecat()).await;
}

#[tokio::test]
async fn options_that_are_none_are_refused_with_field_value_and_rule() {
    refuses(of_the_options()).await;
}

async fn refuses(cases: Vec<Case>) {
    let server = Server::connect().await;
    let mut wrong = Vec::new();
    let count = cases.len();
    for case in cases {
        let object = case.object();
        match server.create(&object, Keep::No).await {
            Ok(_) => wrong.push(format!("{:?}: admitted", case.changes)),
            Err(message) => {
                let missing = case.missing_in(&message);
                if !missing.is_empty() {
                    let short: String = message.chars().take(600).collect();
                    wrong.push(format!("{}: {missing:?} not in:\n    {short}", case.field));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn unknown_fields_are_refused_by_name() {
    let server = Server::connect().await;
    for (at, field) in UNKNOWN {
        let mut object = parse(POLECAT);
        change(&mut object, at, &json!("x"));
        let message = server.create(&object, Keep::No).await.unwrap_err();
        assert!(
            message.contains(&format!("unknown field \"{field}\"")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn the_longest_name_that_fits_a_pod_is_accepted() {
    let server = Server::connect().await;
    let mut object = parse(POLECAT);
    object["metadata"]["name"] = "a".repeat(55).into();
    server.create(&object, Keep::No).await.unwrap();
}
