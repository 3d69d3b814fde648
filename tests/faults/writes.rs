//! Each write of a polecat's life meets each fault.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::proxy::{Fault, Trap, What};
use crate::scene::Scene;

/// The writes of an ordinary life, in order.
const WRITES: [(&str, What, usize); 6] = [
    ("claim", What::Claim, 1),
    ("create", What::CreatePod, 1),
    ("starting", What::WriteStatus, 1),
    ("working", What::WriteStatus, 2),
    ("done", What::WriteStatus, 3),
    ("finalizer", What::ReleasePod, 1),
];

async fn each_write_meets(fault: Fault, kill: bool) {
    join_all(WRITES.map(|write| Box::pin(one_meets(write, fault, kill)))).await;
}

async fn one_meets((name, what, number): (&str, What, usize), fault: Fault, kill: bool) {
    let scene = Scene::open(&format!("{name}-{fault:?}").to_lowercase()).await;
    let trap = Trap { what, number, fault };
    let operator = scene.operator("first", Some(trap)).await;
    let life = async {
        scene.sling(json!({})).await;
        scene.begins().await;
        scene.works().await;
        scene.delivers().await;
    };
    if kill {
        let killed = async {
            operator.proxy.sprung().await;
            drop(operator);
            // As in a Deployment, another pod comes up and waits until the Lease of the first has run out.
            scene.operator("second", None).await
        };
        let (second, ()) = tokio::join!(killed, life);
        scene.was_done_once().await;
        drop(second);
    } else {
        life.await;
        // The pod is let go after the polecat is Done.
        let met = tokio::time::timeout(Duration::from_mins(1), operator.proxy.sprung()).await;
        assert!(met.is_ok(), "{name} did not meet {fault:?}");
        scene.was_done_once().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_on_any_write_changes_no_outcome() {
    each_write_meets(Fault::Conflict, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_faster_changes_no_outcome() {
    each_write_meets(Fault::Overtaken, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_lost_changes_no_outcome() {
    each_write_meets(Fault::LostRequest, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_changes_no_outcome() {
    each_write_meets(Fault::LostAnswer, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_before_any_write_changes_no_outcome() {
    each_write_meets(Fault::HeldRequest, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_after_any_write_changes_no_outcome() {
    each_write_meets(Fault::HeldAnswer, true).await;
}
