//! Other agents than the usual one, and images of one's own.

use gastown_api::polecat::PolecatPhase;
use gastown_tests::harness::{Admission, Remote, World, own_image, polecat, with_world, with_world_of};
use serde_json::json;

/// The content of a file of a polecat's work branch.
async fn delivered(remote: &Remote, polecat: &gastown_api::polecat::Polecat, file: &str) -> String {
    let branch = polecat.status.as_ref().unwrap().branch.clone().unwrap();
    let head = remote.sha(&format!("refs/heads/{branch}")).await;
    let files = remote.files(&head).await;
    String::from_utf8_lossy(&files[file].bytes).into_owned()
}

/// A codex that works with `model` as the script says, through the broker and with no key of its own, and is Done.
async fn codex(world: &World, remote: &Remote, name: &str, model: &str, script: &str) {
    let mut object = polecat(name, script);
    object["spec"]["agent"] = json!("codex");
    object["spec"]["agentConfig"] = json!({
        "provider": "openai", "model": model, "modelProvider": {"endpoint": "http://testbed:8080"},
    });
    object["spec"]["kubernetes"]["claudeCredsSecretRef"]["name"] = json!("openai");
    world.sling(object).await;
    let polecat = world.ends(name, PolecatPhase::Done).await;
    let calculator = delivered(remote, &polecat, "calculator.py").await;
    assert!(calculator.contains("return a + b"), "{calculator}");
    let asked = remote.model_requests().await;
    let asked: Vec<_> = asked
        .iter()
        .filter(|request| request["script"] == script)
        .collect();
    assert!(asked.len() >= 2, "{asked:?}");
    for request in &asked {
        assert_eq!(request["path"], "/v1/responses");
        assert_eq!(request["keyFits"], json!(true), "the broker adds the key");
    }
    let status = polecat.status.unwrap();
    let usage = status.usage.unwrap();
    assert_eq!(usage.requests, u64::try_from(asked.len()).unwrap(), "{usage:?}");
    assert_eq!(usage.output_tokens, 80 * usage.requests, "{usage:?}");
    assert_eq!(status.agent_model.as_deref(), Some(model));
    let log = world.log_holds(name, "claude", "[end] the agent is done").await;
    for part in ["[start] Codex", "[shell] ", "[end] the agent is done"] {
        assert!(log.contains(part), "{part} not in {log}");
    }
    assert!(!world.shown().await.contains(&world.keys.model), "a key is seen");
}

#[tokio::test]
async fn codex_works_through_the_broker_and_is_done() {
    with_world("codex", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world
            .secret("openai", &[("OPENAI_API_KEY", &world.keys.model)])
            .await;
        // One model that Codex gives functions for tools, and a newer one that calls them from a script.
        tokio::join!(
            codex(world, &remote, "capable", "gpt-5.5", "codex-functions"),
            codex(world, &remote, "cheedo", "gpt-6-sol", "codex-script"),
        );
    })
    .await;
}

#[tokio::test]
async fn an_image_of_ones_own_runs_under_any_user_and_its_tool_is_there() {
    with_world_of("own-image", Admission::InjectedUid, async |world: &World| {
        let (remote, image) = tokio::join!(world.testbed(), own_image());
        world.credentials().await;
        let mut object = polecat("dag", "own-tool");
        object["spec"]["kubernetes"]["image"] = json!(image);
        world.sling(object).await;
        let polecat = world.ends("dag", PolecatPhase::Done).await;
        assert_eq!(
            delivered(&remote, &polecat, "loud.txt").await,
            "FROM A TOOL OF OUR OWN\n"
        );
        let pod = world.pod_of("dag").await.unwrap().spec.unwrap();
        let others = pod.init_containers.unwrap_or_default();
        assert!(
            others.len() == 3 && others.iter().all(|other| other.image.as_ref() != Some(&image)),
            "what holds keys runs the operator's own image: {others:?}"
        );
    })
    .await;
}
