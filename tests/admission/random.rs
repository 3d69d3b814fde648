//! The random polecats of the operator's own tests, put to a real API server: the schema takes the manifests, and Pod
//! Security `restricted` takes their pods.

#[path = "../../operator/src/testing/random.rs"]
mod manifests;

use fastrand::Rng;
use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use gastown_operator::rendering;
use serde_json::{Value, json};

use crate::ask::{Keep, Server};

const POLECATS: u64 = 300;
const NAMESPACE: &str = "random-polecats";
const AGENT_IMAGE: &str =
    "registry.example/agent@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A namespace that enforces `restricted`, and the classes that the manifests name.
async fn prepare(server: &Server) {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}});
    server.ensure("/api/v1/namespaces", &namespace).await;
    for name in manifests::PRIORITY_CLASSES {
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": 10});
        server
            .ensure("/apis/scheduling.k8s.io/v1/priorityclasses", &class)
            .await;
    }
    for name in manifests::RUNTIME_CLASSES {
        let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name},
            "handler": name});
        server.ensure("/apis/node.k8s.io/v1/runtimeclasses", &class).await;
    }
}

async fn put(server: &Server, seed: u64) -> Result<(), String> {
    let rng = &mut Rng::with_seed(seed);
    let mut manifest = manifests::polecat(rng);
    let of_rig = rng.bool().then(|| manifests::rig(rng));
    let polecat: Polecat = serde_json::from_value(manifest.clone()).unwrap();
    for server_given in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        manifest["metadata"].as_object_mut().unwrap().remove(server_given);
    }
    manifest["metadata"]["namespace"] = NAMESPACE.into();
    server.create(&manifest, Keep::No).await?;
    if let Some(mut rig) = of_rig.clone() {
        rig["metadata"].as_object_mut().unwrap().remove("generation");
        server.create(&rig, Keep::No).await?;
    }
    let rig: Option<Rig> = of_rig.map(|rig| serde_json::from_value(rig).unwrap());
    let pod = rendering::pod(&polecat, rig.as_ref(), AGENT_IMAGE)?;
    let mut pod: Value = serde_json::to_value(pod).unwrap();
    pod["metadata"]["namespace"] = NAMESPACE.into();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    server.would_create(&pods, &pod).await.map(drop)
}

#[tokio::test]
async fn three_hundred_random_polecats_and_their_pods_are_admitted_under_restricted() {
    let server = Server::connect().await;
    prepare(&server).await;
    let mut wrong = Vec::new();
    for seed in 0..POLECATS {
        if let Err(message) = put(&server, seed).await {
            let short: String = message.chars().take(600).collect();
            wrong.push(format!("seed {seed}: {short}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {POLECATS}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The namespace is one in which a pod that breaks the standard is refused: else the test above shows nothing.
#[tokio::test]
async fn a_pod_outside_the_standard_is_refused_there() {
    let server = Server::connect().await;
    prepare(&server).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "a", "image": "b"}]}});
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let message = server.would_create(&pods, &pod).await.unwrap_err();
    assert!(message.contains("PodSecurity \"restricted"), "{message}");
}
