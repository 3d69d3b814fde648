//! What ends without delivered work, and why.

use gastown_api::polecat::{AttemptOutcome, Polecat, PolecatPhase};
use gastown_tests::harness::{Remote, World, polecat, with_world};
use serde_json::json;

#[tokio::test]
async fn exit_zero_without_a_change_is_not_done() {
    with_world("nothing-changed", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.sling(polecat("organic", "nothing")).await;
        let (polecat, _) = world.is_stuck("organic", "NothingChanged").await;
        let attempts = polecat.status.unwrap().attempts;
        assert_eq!(attempts[0].outcome, Some(AttemptOutcome::Failed));
        let refs = remote.refs().await;
        assert_eq!(refs.keys().collect::<Vec<_>>(), ["refs/heads/main"]);
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_the_upstream_refuses_is_stuck_with_its_words() {
    with_world("push-refused", async |world: &World| {
        let hook = "#!/usr/bin/bash\nwhile read -r old new ref; do\n  case $ref in refs/heads/*) echo 'the citadel is closed' >&2; exit 1;; esac\ndone\n";
        let remote = world.testbed_with_hook(Some(hook)).await;
        world.credentials().await;
        world.sling(polecat("miss-giddy", "fix-bug")).await;
        let (_, message) = world.is_stuck("miss-giddy", "PushRefused").await;
        assert!(message.contains("the citadel is closed"), "{message}");
        let refs = remote.refs().await;
        assert!(!refs.keys().any(|name| name.starts_with("refs/heads/polecat/")), "{refs:?}");
        // The commit is not lost: the keeper's snapshot has it.
        let wip = refs.iter().find(|(name, _)| name.starts_with("refs/gastown/wip/miss-giddy/"));
        let (_, sha) = wip.unwrap_or_else(|| panic!("no WIP ref in {refs:?}"));
        let files = remote.files(sha).await;
        assert!(String::from_utf8_lossy(&files["calculator.py"].bytes).contains("return a + b"));
    })
    .await;
}

#[tokio::test]
async fn a_stuck_polecat_is_tried_again_on_the_same_branch_when_asked() {
    with_world("retry", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.sling(polecat("the-dag", "nothing")).await;
        let (first, _) = world.is_stuck("the-dag", "NothingChanged").await;
        let retry = json!({
            "metadata": {"annotations": {"gastown.io/retry-requested-at": "2026-01-05T09:00:00Z"}},
            "spec": {"task": {"description": "Fix it this time. [[script:fix-bug]]"}},
        });
        world.patch::<Polecat>("the-dag", retry).await;
        let done = |polecat: &Polecat| {
            let status = polecat.status.as_ref();
            status
                .is_some_and(|status| status.attempts.len() == 2 && status.phase == Some(PolecatPhase::Done))
        };
        let second = world
            .polecat_until("the-dag", "its second attempt is Done", done)
            .await;
        let (first, second) = (first.status.unwrap(), second.status.unwrap());
        assert_eq!(second.branch, first.branch);
        assert_eq!(second.base, first.base);
        assert_ne!(second.attempts[1].pod_uid, second.attempts[0].pod_uid);
        assert!(
            second.usage.unwrap().tokens() > first.usage.unwrap().tokens(),
            "usage is of both attempts"
        );
        let head = remote
            .sha(&format!("refs/heads/{}", second.branch.unwrap()))
            .await;
        assert_eq!(second.head, Some(head));
    })
    .await;
}

#[tokio::test]
async fn a_git_key_that_nobody_knows_is_stuck() {
    with_world("git-key", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let keys = &world.keys;
        world
            .secret(
                "git-ssh-key",
                &[
                    ("ssh-privatekey", &keys.ssh_stranger),
                    ("known_hosts", &keys.known_hosts),
                ],
            )
            .await;
        world.sling(polecat("prime", "fix-bug")).await;
        world.is_stuck("prime", "GitCredentialRefused").await;
        assert_eq!(remote.model_requests().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_token_over_https_is_stuck_and_not_shown() {
    with_world("git-token", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let token = [
            ("username", "git"),
            ("password", "gastown-token-wrong"),
            ("ca.crt", &world.keys.authority),
            ("hosts", "testbed"),
        ];
        world.secret("git-token", &token).await;
        let mut object = polecat("splendid", "fix-bug");
        object["spec"]["kubernetes"]["gitRepository"] = json!("https://testbed/git/calculator.git");
        object["spec"]["kubernetes"]["gitSecretRef"]["name"] = json!("git-token");
        world.sling(object).await;
        let (polecat, _) = world.is_stuck("splendid", "GitCredentialRefused").await;
        let shown = serde_json::to_string(&polecat).unwrap() + &world.words("splendid", "broker").await;
        assert!(!shown.contains("gastown-token-wrong"), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_token_is_not_sent_to_a_host_that_nothing_allows() {
    with_world("git-host", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let keys = &world.keys;
        let token = [
            ("username", "git"),
            ("password", keys.token.as_str()),
            ("ca.crt", &keys.authority),
        ];
        world.secret("git-token", &token).await;
        let mut object = polecat("fragile", "fix-bug");
        object["spec"]["kubernetes"]["gitRepository"] = json!("https://testbed/git/calculator.git");
        object["spec"]["kubernetes"]["gitSecretRef"]["name"] = json!("git-token");
        world.sling(object).await;
        let (_, message) = world.is_stuck("fragile", "GitHostNotAllowed").await;
        assert!(message.contains("testbed"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_host_with_another_key_than_the_known_one_is_stuck() {
    with_world("host-key", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let keys = &world.keys;
        let public = keys.ssh_public.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let known = format!("testbed {public}\n");
        world
            .secret(
                "git-ssh-key",
                &[("ssh-privatekey", &keys.ssh), ("known_hosts", &known)],
            )
            .await;
        world.sling(polecat("immortan", "fix-bug")).await;
        world.is_stuck("immortan", "HostKeyUnknown").await;
    })
    .await;
}

#[tokio::test]
async fn a_repository_or_branch_that_does_not_exist_is_stuck() {
    with_world("absent", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let mut repository = polecat("no-repository", "fix-bug");
        repository["spec"]["kubernetes"]["gitRepository"] = json!("git@testbed:/srv/git/absent.git");
        let mut branch = polecat("no-branch", "fix-bug");
        branch["spec"]["kubernetes"]["gitBranch"] = json!("absent");
        world.sling(repository).await;
        world.sling(branch).await;
        world.is_stuck("no-repository", "RepositoryNotFound").await;
        let (_, message) = world.is_stuck("no-branch", "BranchNotFound").await;
        assert!(message.contains("absent"), "{message}");
    })
    .await;
}

/// It ended before the model was asked anything, and left nothing on the git host.
async fn cost_nothing(remote: &Remote, polecat: &Polecat) {
    assert_eq!(remote.model_requests().await.len(), 0);
    let tokens = polecat.status.as_ref().unwrap().usage.map(|usage| usage.tokens());
    assert_eq!(tokens.unwrap_or_default(), 0);
    let refs = remote.refs().await;
    assert_eq!(refs.keys().collect::<Vec<_>>(), ["refs/heads/main"]);
}

#[tokio::test]
async fn a_branch_in_the_way_of_the_work_branch_is_stuck_before_the_model_is_called() {
    with_world("ref-blocked", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let mut object = polecat("wedge", "fix-bug");
        object["spec"]["kubernetes"]["workBranch"] = json!("main/fix");
        world.sling(object).await;
        let (polecat, message) = world.is_stuck("wedge", "RefBlocked").await;
        for part in [
            "\"refs/heads/main/fix\"",
            "\"refs/heads/main\"",
            "delete or rename",
        ] {
            assert!(message.contains(part), "{part} not in {message}");
        }
        cost_nothing(&remote, &polecat).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_may_only_read_is_stuck_before_the_model_is_called() {
    with_world("read-only", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let mut object = polecat("onlooker", "fix-bug");
        object["spec"]["kubernetes"]["gitRepository"] = json!("https://testbed/read-only/calculator.git");
        object["spec"]["kubernetes"]["gitSecretRef"]["name"] = json!("git-token");
        world.sling(object).await;
        let (polecat, message) = world.is_stuck("onlooker", "GitCredentialRefused").await;
        for part in ["no push is possible", "403", "with write access"] {
            assert!(message.contains(part), "{part} not in {message}");
        }
        cost_nothing(&remote, &polecat).await;
    })
    .await;
}

#[tokio::test]
async fn a_model_key_that_the_provider_refuses_is_stuck_and_not_shown() {
    with_world("model-key", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world
            .secret("claude-creds", &[("ANTHROPIC_API_KEY", "sk-ant-test-wrong")])
            .await;
        world.sling(polecat("buzzard", "fix-bug")).await;
        let (polecat, _) = world.is_stuck("buzzard", "ModelCredentialRefused").await;
        let shown = serde_json::to_string(&polecat).unwrap() + &world.words("buzzard", "broker").await;
        assert!(!shown.contains("sk-ant-test-wrong"), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_fails_is_stuck() {
    with_world("agent-failed", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world.sling(polecat("gas-town", "bad-request")).await;
        let polecat = world.ends("gas-town", PolecatPhase::Stuck).await;
        let attempt = &polecat.status.unwrap().attempts[0];
        assert_eq!(attempt.reason.as_deref(), Some("AgentFailed"), "{attempt:?}");
    })
    .await;
}
