//! What users already have must apply as it stands.

use crate::ask::{Keep, Server, parse};

async fn accepts(sample: &str) {
    let server = Server::connect().await;
    let mut object = parse(sample);
    if object["metadata"]["namespace"].is_string() {
        // Only the definition is asked, not whether the namespace exists.
        object["metadata"]["namespace"] = "default".into();
    }
    let answer = server.create(&object, Keep::No).await;
    assert!(answer.is_ok(), "{}\n{sample}", answer.unwrap_err());
}

macro_rules! samples {
    ($($name:ident: $file:literal,)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                accepts(include_str!(concat!("samples/", $file, ".yaml"))).await;
            }
        )+
    };
}

samples! {
    seed_template_applies: "seed-template",
    seed_step_by_step_example_applies: "seed-step-by-step",
    seed_standalone_example_applies: "seed-standalone",
    predecessor_rig_applies: "predecessor-rig",
    predecessor_rig_over_https_applies: "predecessor-rig-https",
    predecessor_polecat_with_every_field_applies: "predecessor-polecat-full",
    predecessor_polecat_with_an_api_key_applies: "predecessor-polecat-api-key",
}

/// The repositories, branches and names that sections 1 and 4 of the predecessor's reference accept, and what the
/// design adds to them.
#[tokio::test]
async fn every_accepted_form_of_repository_and_branch_applies() {
    let server = Server::connect().await;
    let repositories = [
        "git@github.com:org/repo.git",
        "git@git.example.com:group/sub.group/my_repo",
        "https://github.com/org/repo.git",
        "http://git.internal/org/repo",
        "https://git.internal:8443/org/repo.git",
        "ssh://git@git.internal:2222/org/repo.git",
        "ssh://git.internal/~user/repo.git",
        "git@testbed:/srv/git/calculator.git",
    ];
    let branches = ["main", "release/1.2_x", "a.b-c/D", "polecat/furiosa/at-1@mh3k"];
    for repository in repositories {
        for branch in branches {
            let mut object = parse(include_str!("samples/seed-template.yaml"));
            object["spec"]["kubernetes"]["gitRepository"] = repository.into();
            object["spec"]["kubernetes"]["workBranch"] = branch.into();
            let answer = server.create(&object, Keep::No).await;
            assert!(answer.is_ok(), "{repository} {branch}: {}", answer.unwrap_err());
        }
    }
}

/// Templates leave `null` where nothing is set; it means the same as leaving the field out.
#[tokio::test]
async fn null_counts_as_unset_in_every_optional_field() {
    let server = Server::connect().await;
    let samples = [
        (include_str!("samples/predecessor-polecat-full.yaml"), vec!["rig"]),
        (
            include_str!("samples/predecessor-rig.yaml"),
            vec!["gitURL", "beadsPrefix"],
        ),
    ];
    let mut wrong = Vec::new();
    for (sample, required) in samples {
        let full = parse(sample);
        for at in optional_fields(&full["spec"], "/spec", &required) {
            let mut object = full.clone();
            *object.pointer_mut(&at).unwrap() = serde_json::Value::Null;
            if let Err(message) = server.create(&object, Keep::No).await {
                wrong.push(format!("{at}: {message}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pointers to every field below an object, itself included in none; members of lists and of references are not optional.
fn optional_fields(object: &serde_json::Value, at: &str, required: &[&str]) -> Vec<String> {
    let Some(fields) = object.as_object() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, value) in fields {
        let here = format!("{at}/{name}");
        if !required.contains(&name.as_str()) {
            found.push(here.clone());
        }
        if !name.ends_with("Ref") && name != "requests" && name != "limits" {
            found.extend(optional_fields(value, &here, required));
        }
    }
    found
}
