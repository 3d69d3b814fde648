//! What model calls cost, who is asked, and what a budget holds.

use gastown_api::polecat::PolecatPhase;
use gastown_tests::harness::{World, polecat, stand_in, with_world};
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
            assert!(usage.requests > 2, "{usage:?}");
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
