//! Watches that end, in each way, while something happens that only they would tell.

use std::time::Duration;

use futures::future::join_all;
use gastown_tests::bench::kubelet::Stage;
use serde_json::json;

use crate::proxy::Closing;
use crate::scene::Scene;

/// What happens while the operator sees nothing.
#[derive(Clone, Copy, Debug)]
enum Unseen {
    Created,
    Working,
    Ended,
}

async fn a_life(closing: Closing, unseen: Unseen) {
    let scene = Scene::open(&format!("{closing:?}-{unseen:?}").to_lowercase()).await;
    let operator = scene.operator("first", None).await;
    // The caches are filled and the watches open once this polecat has a pod.
    let before = async |step: Unseen| {
        if step as u8 == unseen as u8 {
            operator.proxy.blind(closing);
        }
    };
    let after = async |step: Unseen| {
        if step as u8 == unseen as u8 {
            // Long enough for the operator to have seen it otherwise.
            tokio::time::sleep(Duration::from_secs(1)).await;
            operator.proxy.show();
        }
    };
    operator.leads(&scene).await;
    before(Unseen::Created).await;
    scene.sling(json!({})).await;
    after(Unseen::Created).await;
    scene.until_pod("it has a pod", |pod| pod.is_some()).await;
    before(Unseen::Working).await;
    scene.report(Stage::Running).await;
    after(Unseen::Working).await;
    scene
        .until("its agent is at work", |polecat| {
            polecat.status.as_ref().is_some_and(|status| status.pod_active)
        })
        .await;
    before(Unseen::Ended).await;
    scene.report(Stage::Ended).await;
    after(Unseen::Ended).await;
    scene.was_done_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_are_cut_miss_nothing() {
    join_all(
        [Unseen::Created, Unseen::Working, Unseen::Ended]
            .map(|unseen| Box::pin(a_life(Closing::Cut, unseen))),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_whose_history_is_gone_miss_nothing() {
    let all = [Unseen::Created, Unseen::Working, Unseen::Ended];
    join_all(all.map(|unseen| Box::pin(a_life(Closing::Expired, unseen)))).await;
}
