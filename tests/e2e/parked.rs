//! What waits and goes on by itself.

use gastown_api::condition::{PARKED, READY};
use gastown_api::pod::CLAUDE;
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::harness::{World, condition, node, polecat, stand_in, with_world};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

/// The reason and message of the condition Parked, while it holds.
fn parked(polecat: &Polecat) -> Option<(String, String)> {
    let (holds, reason, message) = condition(polecat, PARKED)?;
    holds.then_some((reason, message))
}

/// Waits until it is Done in the one pod that was parked, and says that this was told.
async fn went_on(world: &World, name: &str, parked: &Pod) -> Polecat {
    let polecat = world.ends(name, PolecatPhase::Done).await;
    let attempts = &polecat.status.as_ref().unwrap().attempts;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].pod_uid, parked.metadata.uid, "the same pod went on");
    world.told(name, |reason, _| reason == "Resumed").await;
    polecat
}

#[tokio::test]
async fn a_missing_git_secret_parks_the_pod_until_it_is_made() {
    with_world("no-git-secret", async |world: &World| {
        world.testbed().await;
        let keys = &world.keys;
        world
            .secret("claude-creds", &[("ANTHROPIC_API_KEY", &keys.model)])
            .await;
        world.sling(polecat("valkyrie", "fix-bug")).await;
        let polecat = world
            .polecat_until("valkyrie", "it is parked", |polecat| parked(polecat).is_some())
            .await;
        let (reason, message) = parked(&polecat).unwrap();
        assert_eq!(reason, "SecretMissing");
        assert!(message.contains("git-ssh-key"), "{message}");
        assert_eq!(polecat.status.unwrap().phase, Some(PolecatPhase::Working));
        let pod = world.pod_of("valkyrie").await.unwrap();
        world.credentials().await;
        let polecat = went_on(world, "valkyrie", &pod).await;
        assert_eq!(parked(&polecat), None);
    })
    .await;
}

#[tokio::test]
async fn a_missing_model_key_parks_the_pod_until_it_is_put_in() {
    with_world("no-model-key", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.secret("claude-creds", &[("SOMETHING_ELSE", "x")]).await;
        world.sling(polecat("ace", "fix-bug")).await;
        let polecat = world
            .polecat_until("ace", "it is parked", |polecat| parked(polecat).is_some())
            .await;
        let (reason, message) = parked(&polecat).unwrap();
        assert_eq!(reason, "SecretMissing");
        assert!(
            message.contains("claude-creds") && message.contains("ANTHROPIC_API_KEY"),
            "{message}"
        );
        assert_eq!(remote.model_requests().await.len(), 0);
        world
            .secret("claude-creds", &[("ANTHROPIC_API_KEY", &world.keys.model)])
            .await;
        world.ends("ace", PolecatPhase::Done).await;
    })
    .await;
}

#[tokio::test]
async fn a_rate_limit_parks_the_pod_and_the_agent_never_knows() {
    with_world("rate-limit", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world.sling(polecat("morsov", "rate-limited")).await;
        let polecat = world
            .polecat_until("morsov", "it is parked", |polecat| parked(polecat).is_some())
            .await;
        assert_eq!(parked(&polecat).unwrap().0, "RateLimited");
        world.ends("morsov", PolecatPhase::Done).await;
        let log = world.log_holds("morsov", "claude", "[end] ").await;
        assert!(!log.contains("429"), "{log}");
    })
    .await;
}

/// Claude Code's file with a token that was good until the end of 2024.
fn old_file() -> String {
    let token = json!({"accessToken": "sk-ant-oat01-x", "refreshToken": "sk-ant-ort01-x", "expiresAt": 1_735_689_600_000_i64});
    json!({"claudeAiOauth": token}).to_string()
}

/// Waits until a polecat is parked, and gives the reason and the message.
async fn parks(world: &World, name: &str) -> (String, String) {
    let polecat = world
        .polecat_until(name, "it is parked", |polecat| parked(polecat).is_some())
        .await;
    parked(&polecat).unwrap()
}

#[tokio::test]
async fn an_expired_token_parks_the_pod_until_another_is_there_and_is_not_sent() {
    with_world("expired", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world
            .secret("old-file", &[(".credentials.json", &old_file())])
            .await;
        let mut object = polecat("slit", "fix-bug");
        object["spec"]["kubernetes"]["claudeCredsSecretRef"]["name"] = json!("old-file");
        world.sling(object).await;
        let (reason, message) = parks(world, "slit").await;
        assert_eq!(reason, "CredentialExpired");
        for part in [".credentials.json", "old-file", "expired at 2025-01-01T00:00:00Z"] {
            assert!(message.contains(part), "{part} not in {message}");
        }
        assert_eq!(remote.model_requests().await.len(), 0);
        // This one the provider no longer takes, whatever the file says.
        world
            .secret(
                "old-file",
                &[("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-of-another-year")],
            )
            .await;
        world
            .polecat_until("slit", "the other token is refused", |polecat| {
                parked(polecat).is_some_and(|(reason, message)| {
                    reason == "CredentialExpired" && message.contains("CLAUDE_CODE_OAUTH_TOKEN")
                })
            })
            .await;
        let pod = world.pod_of("slit").await.unwrap();
        world
            .secret("old-file", &[("CLAUDE_CODE_OAUTH_TOKEN", &world.keys.model)])
            .await;
        went_on(world, "slit", &pod).await;
    })
    .await;
}

#[tokio::test]
async fn a_used_up_window_parks_the_pod_until_it_resets() {
    with_world("window", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world.sling(polecat("coma", "window")).await;
        let (reason, message) = parks(world, "coma").await;
        assert_eq!(reason, "UsageLimitReached");
        assert!(
            message.contains("5-hour window") && message.contains("expected to go on at 20"),
            "{message}"
        );
        let polecat = world.ends("coma", PolecatPhase::Done).await;
        assert_eq!(polecat.status.unwrap().attempts.len(), 1);
        world
            .told("coma", |reason, note| {
                reason == "UsageLimitReached" && note.contains("expected to go on at 20")
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_with_nothing_behind_it_parks_the_pod_and_is_given_up_in_the_end() {
    with_world("nowhere", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let mut object = polecat("toast", "unused");
        object["spec"]["agentConfig"]["modelProvider"]["endpoint"] = json!("http://testbed:9");
        object["spec"]["timing"] = json!({"parkingSeconds": 25});
        world.sling(object).await;
        let (reason, message) = parks(world, "toast").await;
        assert_eq!(reason, "ModelUnreachable");
        assert!(message.contains("testbed:9"), "{message}");
        let (_, message) = world.is_stuck("toast", "ParkedTooLong").await;
        for part in ["25 s", "ModelUnreachable", "cure what parked it"] {
            assert!(message.contains(part), "{part} not in {message}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_git_key_that_is_revoked_while_the_agent_works_parks_the_pod_until_it_is_replaced() {
    with_world("git-revoked", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        // It takes the kubelet up to a minute and a half to bring another secret.
        let script = "set -e; echo at work
            until [ -e /tmp/go ]; do git commit -q --allow-empty -m Step; git push -q origin HEAD; sleep 1; done
            sed -i 's/return a - b/return a + b/' calculator.py; git commit -q -a -m 'Fix add'; git push -q origin HEAD";
        world.sling(stand_in("rictus", script)).await;
        world.log_holds("rictus", CLAUDE, "at work").await;
        let keys = &world.keys;
        let with_key = async |key: &str| {
            let files = [("ssh-privatekey", key), ("known_hosts", keys.known_hosts.as_str())];
            world.secret("git-ssh-key", &files).await;
        };
        with_key(&keys.ssh_stranger).await;
        let polecat = world
            .polecat_until("rictus", "it is parked", |polecat| parked(polecat).is_some())
            .await;
        let (reason, message) = parked(&polecat).unwrap();
        assert_eq!(reason, "GitCredentialRefused");
        assert!(message.contains("no push is possible"), "{message}");
        let (_, _, message) = condition(&polecat, READY).unwrap();
        assert!(message.contains("goes on by itself"), "{message}");
        let pod = world.pod_of("rictus").await.unwrap();
        with_key(&keys.ssh).await;
        world
            .polecat_until("rictus", "it goes on", |polecat| parked(polecat).is_none())
            .await;
        let agent = node::process_one(world, "rictus", CLAUDE).await;
        node::run(&format!("touch /proc/{}/root/tmp/go", agent.pid)).await;
        went_on(world, "rictus", &pod).await;
    })
    .await;
}
