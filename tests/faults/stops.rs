//! An operator that is told to stop brings to its end what is under way.

use gastown_tests::bench::kubelet::Stage;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::proxy::{Fault, Trap, What};
use crate::scene::Scene;

async fn told_after(name: &str, what: What, number: usize) {
    let scene = Scene::open(&format!("stops-{name}")).await;
    let fault = Fault::HeldRequest;
    let operator = scene.operator("only", Some(Trap { what, number, fault })).await;
    scene.sling(json!({})).await;
    scene.works().await;
    scene.report(Stage::Ended).await;
    operator.proxy.sprung().await;
    operator.stops().await;
    let events = Api::<Event>::namespaced(scene.client.clone(), &scene.namespace);
    let told: Vec<_> = events
        .list(&ListParams::default())
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.reason.unwrap_or_default())
        .collect();
    assert_eq!(told, ["Delivered"], "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_told_to_stop_tells_first_of_what_it_has_written() {
    tokio::join!(
        told_after("done", What::WriteStatus, 3),
        told_after("event", What::Tell, 1)
    );
}
