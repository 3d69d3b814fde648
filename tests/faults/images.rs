//! Many polecats that name one image, under a policy: their registry is asked once.

#[path = "../../registry/src/fake.rs"]
mod fake;

use gastown_api::polecat::Polecat;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use self::fake::Fake;
use crate::scene::{PATIENCE, Scene};

/// How many polecats there are; `GASTOWN_HEAVY=1` asks for a thousand, which takes the API server from tests beside it.
fn many() -> usize {
    if std::env::var_os("GASTOWN_HEAVY").is_some() {
        1000
    } else {
        100
    }
}

fn key() -> String {
    let vectors = include_str!("../../signatures/vectors/cosign-3.1.3.json");
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    vectors["keys"]["a"].as_str().unwrap().to_owned()
}

fn named(index: usize, image: &str) -> Polecat {
    let object = json!({
        "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat", "metadata": {"name": format!("p{index}")},
        "spec": {
            "rig": "no-such-rig",
            "desiredState": "Working",
            "task": {"description": "Fix the test."},
            "kubernetes": {
                "gitRepository": "https://git.example.com/town/project.git",
                "gitSecretRef": {"name": "git-credentials"},
                "claudeCredsSecretRef": {"name": "claude-creds"},
                "image": image,
            },
        },
    });
    serde_json::from_value(object).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_polecats_of_one_image_have_its_registry_asked_once() {
    let many = many();
    let scene = Scene::open("images").await;
    let (fake, images) = Fake::with_vectors();
    let image = format!("{}/team/agent:signed", fake.host);
    let polecats = scene.polecats();
    for chunk in (0..many).collect::<Vec<_>>().chunks(25) {
        let creations = chunk.iter().map(|index| {
            let (polecats, polecat) = (polecats.clone(), named(*index, &image));
            async move { polecats.create(&PostParams::default(), &polecat).await.map(drop) }
        });
        futures::future::try_join_all(creations).await.unwrap();
    }
    let config = json!({"imagePolicy": {"keys": [key()]}, "registries": [fake.host]});
    let begun = Instant::now();
    let operator = scene.operator_with("first", None, &config).await;
    let pods = loop {
        let pods = scene.pods().list(&ListParams::default()).await.unwrap().items;
        if pods.len() == many {
            break pods;
        }
        assert!(begun.elapsed() < PATIENCE, "{} pods of {many}", pods.len());
        sleep(Duration::from_millis(500)).await;
    };
    let asked = fake.asked();
    let elapsed = begun.elapsed();
    let pinned = format!("{}/team/agent@{}", fake.host, images["signed"]);
    let image_of = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone();
    assert!(
        pods.iter()
            .all(|pod| image_of(pod).as_deref() == Some(pinned.as_str()))
    );
    let tags = asked
        .iter()
        .filter(|path| path.ends_with("/manifests/signed"))
        .count();
    let blobs = asked.iter().filter(|path| path.contains("/blobs/")).count();
    // A tag is resolved again after a minute; a digest that was verified is not looked at again.
    assert!(
        u64::try_from(tags).unwrap() <= 1 + elapsed.as_secs() / 60,
        "{tags} resolutions"
    );
    assert_eq!(blobs, 2, "{asked:#?}");
    drop(operator);
}
