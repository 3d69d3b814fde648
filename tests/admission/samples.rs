//! What users already have must apply as it stands.

use gastown_tests::manifests::accepted::{SAMPLES, forms, with_nulls};
use gastown_tests::manifests::parse;

use crate::ask::{Keep, Server};

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
                let sample = SAMPLES.iter().find(|(name, _)| *name == $file).unwrap();
                accepts(sample.1).await;
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

#[tokio::test]
async fn every_accepted_form_of_repository_and_branch_applies() {
    let server = Server::connect().await;
    for object in forms() {
        let answer = server.create(&object, Keep::No).await;
        assert!(answer.is_ok(), "{}\n{object}", answer.unwrap_err());
    }
}

/// Templates leave `null` where nothing is set; it means the same as leaving the field out.
#[tokio::test]
async fn null_counts_as_unset_in_every_optional_field() {
    let server = Server::connect().await;
    let mut wrong = Vec::new();
    for (at, object) in with_nulls() {
        if let Err(message) = server.create(&object, Keep::No).await {
            wrong.push(format!("{at}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
