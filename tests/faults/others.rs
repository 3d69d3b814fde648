//! What other people and programs do to a polecat and its pod while it works.

use gastown_api::polecat::{AttemptOutcome, Polecat};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::scene::{NAME, Scene, attempt_of};

async fn merge(scene: &Scene, patch: Value) {
    scene
        .polecats()
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_and_labels_that_others_take_off_come_back() {
    let scene = Scene::open("robbed").await;
    let operator = scene.operator("first", None).await;
    scene.sling(json!({})).await;
    scene.works().await;
    let before = scene.polecats().get(NAME).await.unwrap();
    let is_marked = |polecat: &Polecat| {
        let labels = polecat.labels();
        let finalizers = polecat.finalizers();
        before
            .labels()
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && before.finalizers().iter().all(|ours| finalizers.contains(ours))
    };
    assert!(!before.labels().is_empty() && !before.finalizers().is_empty());
    // `kubectl replace` with the manifest that it was made from.
    let original = Polecat {
        metadata: ObjectMeta {
            name: before.metadata.name.clone(),
            resource_version: before.resource_version(),
            ..ObjectMeta::default()
        },
        spec: before.spec.clone(),
        status: None,
    };
    let replaced = scene
        .polecats()
        .replace(NAME, &PostParams::default(), &original)
        .await;
    assert!(!is_marked(&replaced.unwrap()));
    scene.until("they are back after a replacement", is_marked).await;
    merge(&scene, json!({"metadata": {"finalizers": ["example.com/other"]}})).await;
    let polecat = scene
        .until("the finalizer is back after an edit", is_marked)
        .await;
    assert!(polecat.finalizers().contains(&"example.com/other".to_owned()));
    merge(&scene, json!({"metadata": {"finalizers": before.finalizers()}})).await;
    // Another manager owns the label from now on.
    let applied = json!({"apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
        "metadata": {"name": NAME, "labels": {"gastown.io/rig": "other", "team": "a"}}});
    let params = PatchParams::apply("other").force();
    scene
        .polecats()
        .patch(NAME, &params, &Patch::Apply(&applied))
        .await
        .unwrap();
    let polecat = scene
        .until("the label is back after an application", is_marked)
        .await;
    assert_eq!(polecat.labels()["team"], "a");

    let pod = scene
        .until_pod("it has a pod", |pod| pod.is_some())
        .await
        .unwrap();
    let taken = json!({"metadata": {"finalizers": null, "labels": null}});
    let patch = Patch::Merge(&taken);
    scene
        .pods()
        .patch(&pod.name_any(), &PatchParams::default(), &patch)
        .await
        .unwrap();
    let is_whole = |now: Option<&Pod>| {
        now.is_some_and(|now| now.labels() == pod.labels() && now.finalizers() == pod.finalizers())
    };
    scene.until_pod("the pod has them back", is_whole).await;
    scene.delivers().await;
    scene.was_done_once().await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_mind_while_the_pod_ends_is_no_strangers_deletion() {
    let scene = Scene::open("mind").await;
    let operator = scene.operator("first", None).await;
    scene.sling(json!({})).await;
    scene.works().await;
    merge(&scene, json!({"spec": {"desiredState": "Idle"}})).await;
    let is_going = |pod: Option<&Pod>| pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
    scene.until_pod("the pod is to go", is_going).await;
    merge(&scene, json!({"spec": {"desiredState": "Working"}})).await;
    let ended = |name: &str, exit: i32| {
        json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": exit}}})
    };
    scene
        .report_status(json!({"phase": "Failed",
            "initContainerStatuses": [ended("broker", 0), ended("keeper", 0), ended("git-init", 0)],
            "containerStatuses": [ended("claude", 143)]}))
        .await;
    let stopped = |polecat: &Polecat| {
        let status = polecat.status.as_ref();
        status.is_some_and(|status| status.attempts[0].outcome.is_some())
    };
    let polecat = scene.until("its attempt has an outcome", stopped).await;
    let attempt = polecat.status.unwrap().attempts[0].clone();
    assert_eq!(attempt.outcome, Some(AttemptOutcome::Stopped), "{attempt:?}");
    assert_eq!(attempt.reason.as_deref(), Some("Idle"));
    let second = |pod: Option<&Pod>| pod.is_some_and(|pod| attempt_of(pod) == 2);
    scene.until_pod("another attempt has a pod", second).await;
    drop(operator);
}
