//! Where the task comes from.

use gastown_api::polecat::PolecatPhase;
use gastown_tests::harness::{World, polecat, reason, with_world};
use serde_json::json;

#[tokio::test]
async fn a_beads_text_is_taken_from_the_repository() {
    with_world("bead", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let mut object = polecat("dag", "unused");
        object["spec"].as_object_mut().unwrap().remove("task");
        object["spec"]["beadID"] = json!("calc-1");
        world.sling(object).await;
        let polecat = world.ends("dag", PolecatPhase::Done).await;
        let status = polecat.status.unwrap();
        assert_eq!(status.assigned_bead.as_deref(), Some("calc-1"));
        let branch = status.branch.unwrap();
        assert!(branch.starts_with("polecat/dag/calc-1@"), "{branch}");
        // The marker of that script stands in the bead's description only.
        let scripts: Vec<_> = remote.model_requests().await;
        let told = scripts.iter().any(|request| request["script"] == "fix-bug");
        assert!(told, "the agent was told the bead's text: {scripts:?}");
    })
    .await;
}

#[tokio::test]
async fn a_bead_that_is_nowhere_is_stuck_before_any_call_of_the_model() {
    with_world("no-bead", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let mut object = polecat("cheedo", "unused");
        object["spec"].as_object_mut().unwrap().remove("task");
        object["spec"]["beadID"] = json!("calc-99");
        world.sling(object).await;
        let (_, message) = world.is_stuck("cheedo", "BeadTextMissing").await;
        assert!(message.contains("calc-99"), "{message}");
        assert_eq!(remote.model_requests().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_polecat_with_nothing_to_do_stays_idle_without_a_pod() {
    with_world("nothing", async |world: &World| {
        let mut object = polecat("keeper", "unused");
        object["spec"].as_object_mut().unwrap().remove("task");
        world.sling(object).await;
        let polecat = world
            .polecat_until("keeper", "it has a phase", |polecat| {
                polecat
                    .status
                    .as_ref()
                    .is_some_and(|status| status.phase.is_some())
            })
            .await;
        assert_eq!(polecat.status.as_ref().unwrap().phase, Some(PolecatPhase::Idle));
        assert_eq!(reason(&polecat), "NothingToDo");
        assert!(world.pods_of("keeper").await.is_empty());
    })
    .await;
}
