//! What waits and goes on by itself.

use gastown_api::condition::PARKED;
use gastown_api::polecat::PolecatPhase;
use gastown_tests::harness::{World, condition, polecat, with_world};

/// The reason and message of the condition Parked, while it holds.
fn parked(polecat: &gastown_api::polecat::Polecat) -> Option<(String, String)> {
    let (holds, reason, message) = condition(polecat, PARKED)?;
    holds.then_some((reason, message))
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
        let polecat = world.ends("valkyrie", PolecatPhase::Done).await;
        assert_eq!(parked(&polecat), None);
        let attempts = polecat.status.unwrap().attempts;
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].pod_uid, pod.metadata.uid, "the same pod went on");
        let told = world.events_of("valkyrie").await;
        assert!(told.iter().any(|(why, _)| why == "Resumed"), "{told:?}");
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
        let log = world.log("morsov", "claude").await;
        assert!(!log.contains("429"), "{log}");
    })
    .await;
}
