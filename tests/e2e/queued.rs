//! More to do than may be done at once, and a rig that rests.

use gastown_api::condition::QUEUED;
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_api::rig::Rig;
use gastown_tests::harness::{World, condition, stand_in, with_world};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// A script whose agent works until it is stopped.
const ENDLESS: &str = "while :; do sleep 1; done";
/// A script that delivers at once.
const QUICK: &str = "echo done > done.txt; git add done.txt; git commit -qm Work";

/// A polecat of the world's rig.
fn of_the_rig(world: &World, name: &str, script: &str) -> Value {
    let mut object = stand_in(name, script);
    object["spec"]["rig"] = json!(world.namespace);
    object
}

/// Waits until it says that it waits, and for what.
async fn queued(world: &World, name: &str) -> (String, Polecat) {
    let is_queued = |polecat: &Polecat| condition(polecat, QUEUED).is_some_and(|(holds, ..)| holds);
    let polecat = world.polecat_until(name, "it is queued", is_queued).await;
    (condition(&polecat, QUEUED).unwrap().1, polecat)
}

async fn works(world: &World, name: &str) {
    let is_at_work = |polecat: &Polecat| polecat.status.as_ref().is_some_and(|status| status.pod_active);
    world.polecat_until(name, "it works", is_at_work).await;
}

#[tokio::test]
async fn a_rig_that_is_full_makes_the_next_wait_and_one_that_rests_stops_and_goes_on() {
    with_world("queued", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let rigs = Api::<Rig>::all(world.client.clone());
        let rig: Rig = serde_json::from_value(json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig", "metadata": {"name": world.namespace},
            "spec": {"gitURL": "git@testbed:/srv/git/calculator.git", "beadsPrefix": "mp", "settings": {"maxPolecats": 1}},
        }))
        .unwrap();
        rigs.create(&PostParams::default(), &rig).await.unwrap();
        world.sling(of_the_rig(world, "first", ENDLESS)).await;
        works(world, "first").await;
        world.sling(of_the_rig(world, "second", QUICK)).await;
        let (reason, second) = queued(world, "second").await;
        assert_eq!(reason, "RigAtCapacity");
        assert_eq!(second.status.unwrap().phase, Some(PolecatPhase::Idle));
        assert!(world.pod_of("second").await.is_none());
        let wants = |state: &str| json!({"spec": {"desiredState": state}});
        world.patch::<Polecat>("first", wants("Idle")).await;
        world.ends("second", PolecatPhase::Done).await;

        world.patch::<Polecat>("first", wants("Working")).await;
        works(world, "first").await;
        let rests = async |suspend: &str| {
            let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
            rigs.patch(&world.namespace, &PatchParams::default(), &patch).await.unwrap();
        };
        rests("All").await;
        let (reason, first) = queued(world, "first").await;
        assert_eq!(reason, "RigSuspended");
        assert!(!first.status.unwrap().pod_active);
        rests("None").await;
        works(world, "first").await;
        rigs.delete(&world.namespace, &DeleteParams::default()).await.unwrap();
    })
    .await;
}
