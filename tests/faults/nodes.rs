//! A node that is deleted, with the garbage collection of pods that Kubernetes itself does.

use gastown_api::polecat::AttemptOutcome;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::scene::{Scene, attempt_of};

/// Puts the polecat's pod on a node, as a scheduler does.
async fn bind(scene: &Scene, node: &str) {
    let pod = scene
        .until_pod("it has a pod", |pod| pod.is_some())
        .await
        .unwrap();
    let name = pod.metadata.name.unwrap();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    let path = format!("/api/v1/namespaces/{}/pods/{name}/binding", scene.namespace);
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&binding).unwrap())
        .unwrap();
    let _: serde_json::Value = scene.client.request(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_node_costs_its_attempt_and_another_one_delivers() {
    let scene = Scene::open("node").await;
    let nodes: Api<Node> = Api::all(scene.client.clone());
    let mut node = Node::default();
    node.metadata.name = Some(scene.namespace.clone());
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let operator = scene.operator("first", None).await;
    scene.sling(json!({})).await;
    bind(&scene, &scene.namespace).await;
    scene.works().await;
    nodes
        .delete(&scene.namespace, &DeleteParams::default())
        .await
        .unwrap();
    let lost = scene
        .until("its attempt is lost", |polecat| {
            polecat
                .status
                .as_ref()
                .is_some_and(|status| status.attempts[0].outcome.is_some())
        })
        .await;
    let status = lost.status.unwrap();
    assert_eq!(status.attempts[0].outcome, Some(AttemptOutcome::Failed));
    assert_eq!(status.attempts[0].reason.as_deref(), Some("NodeLost"));
    let may_be_lost = status.conditions.iter().find(|c| c.type_ == "WorkMayBeLost");
    let may_be_lost = may_be_lost.unwrap();
    assert_eq!(may_be_lost.status, "True");
    assert!(
        may_be_lost.message.contains("may be lost"),
        "{}",
        may_be_lost.message
    );
    let second = |pod: Option<&Pod>| pod.is_some_and(|pod| attempt_of(pod) == 2);
    scene.until_pod("another attempt has a pod", second).await;
    scene.works().await;
    scene.delivers().await;
    let done = scene.is_done().await.status.unwrap();
    let outcomes: Vec<_> = done.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(
        outcomes,
        [Some(AttemptOutcome::Failed), Some(AttemptOutcome::Delivered)]
    );
    let pods: Vec<_> = scene.pods_ever().into_values().collect();
    assert_eq!(pods.len(), 2, "{pods:?}");
    drop(operator);
}
