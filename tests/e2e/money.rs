//! What model calls cost, who is asked, and what a budget holds.

use gastown_api::condition::PARKED;
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::harness::{World, condition, polecat, stand_in, with_world};
use serde_json::json;

#[tokio::test]
async fn the_repositorys_settings_lead_no_agent_past_the_broker() {
    with_world("led-astray", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world
            .secret("openai", &[("OPENAI_API_KEY", &world.keys.model)])
            .await;
        world.sling(polecat("planter", "plant-settings")).await;
        let planter = world.ends("planter", PolecatPhase::Done).await;
        let branch = planter.status.unwrap().branch.unwrap();
        let on_branch = |name: &str, script: &str| {
            let mut object = polecat(name, script);
            object["spec"]["kubernetes"]["gitBranch"] = json!(branch);
            object["spec"]["budget"] = json!({"tokens": 1_000_000, "usd": 20});
            object
        };
        let claude = on_branch("claude", "fix-bug");
        let mut codex = on_branch("codex", "codex-functions");
        codex["spec"]["agent"] = json!("codex");
        codex["spec"]["agentConfig"] = json!({
            "provider": "openai", "model": "gpt-5.5", "modelProvider": {"endpoint": "http://testbed:8080"},
        });
        codex["spec"]["kubernetes"]["claudeCredsSecretRef"]["name"] = json!("openai");
        codex["spec"]["budget"] = json!({"tokens": 1_000_000});
        let ends = async |object: serde_json::Value| {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            world.sling(object).await;
            world.ends(&name, PolecatPhase::Done).await
        };
        let (claude, codex) = tokio::join!(ends(claude), ends(codex));
        for polecat in [claude, codex] {
            let usage = polecat.status.unwrap().usage.unwrap();
            assert!(usage.requests > 1, "{usage:?}");
        }
        for request in remote.model_requests().await {
            assert_eq!(request["keyFits"], json!(true), "{request}");
            assert_eq!(request["body"].get("service_tier"), None, "{request}");
        }
    })
    .await;
}

#[tokio::test]
async fn work_without_a_metered_call_is_not_done_where_there_is_a_budget() {
    with_world("unmetered", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let script = "echo x > made.txt && git add made.txt && git commit --quiet --message Made";
        let mut limited = stand_in("limited", script);
        limited["spec"]["budget"] = json!({"tokens": 100_000});
        world.sling(limited).await;
        world.sling(stand_in("unlimited", script)).await;
        let (_, message) = world.is_stuck("limited", "NothingMetered").await;
        assert!(message.contains("without a single model call"), "{message}");
        world.ends("unlimited", PolecatPhase::Done).await;
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_fails_for_a_while_parks_the_pod_and_the_agent_never_knows() {
    with_world("server-error", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world.sling(polecat("outage", "server-error")).await;
        let parked = |polecat: &Polecat| condition(polecat, PARKED).is_some_and(|(holds, ..)| holds);
        let polecat = world.polecat_until("outage", "it is parked", parked).await;
        let (_, reason, message) = condition(&polecat, PARKED).unwrap();
        assert_eq!(reason, "ModelUnreachable");
        assert!(
            message.contains("answered 500 Internal Server Error"),
            "{message}"
        );
        let polecat = world.ends("outage", PolecatPhase::Done).await;
        assert_eq!(
            polecat.status.unwrap().usage.unwrap().requests,
            2,
            "failed calls cost nothing"
        );
        let log = world.log_holds("outage", "claude", "[end] ").await;
        assert!(!log.contains("Internal Server Error"), "{log}");
    })
    .await;
}
