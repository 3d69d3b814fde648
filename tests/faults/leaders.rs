//! A leader that is cut off in the middle of a write, is followed by another, and then comes back with that write.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;

use crate::proxy::{Fault, Trap, What};
use crate::scene::Scene;

async fn cut_off(name: &str, what: What, number: usize, fault: Fault) {
    let scene = Scene::open(&format!("leader-{name}-{fault:?}").to_lowercase()).await;
    let trap = Trap { what, number, fault };
    let first = scene.operator("first", Some(trap)).await;
    first.leads(&scene).await;
    let second = scene.operator("second", None).await;
    let life = async {
        scene.sling(json!({})).await;
        scene.begins().await;
        scene.works().await;
        scene.delivers().await;
    };
    tokio::join!(first.proxy.sprung(), life);
    let leases = Api::<Lease>::namespaced(scene.client.clone(), &scene.namespace);
    let lease = leases.get("gastown-operator").await.unwrap().spec.unwrap();
    assert_eq!(
        lease.holder_identity.as_deref(),
        Some("second"),
        "the second took over"
    );
    first.proxy.open_gate();
    // The first is heard again, with what it was about to write; both have all the time to do harm.
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.was_done_once().await;
    drop((first, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_comes_back_with_any_write_does_nothing_twice() {
    let writes = [
        ("claim", What::Claim, 1),
        ("create", What::CreatePod, 1),
        ("starting", What::WriteStatus, 1),
        ("working", What::WriteStatus, 2),
        ("done", What::WriteStatus, 3),
    ];
    let all = [Fault::HeldRequest, Fault::HeldAnswer]
        .into_iter()
        .flat_map(|fault| writes.map(|(name, what, number)| Box::pin(cut_off(name, what, number, fault))));
    join_all(all).await;
}
