//! The main job: the work is on the remote, and the object says so once.

use std::time::Duration;

use gastown_api::condition::{DELIVERED, RIG_FOUND};
use gastown_api::pod::pod_name;
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_api::rig::Rig;
use gastown_tests::harness::{PATIENCE, Remote, World, condition, operator, polecat, with_world};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

/// Checks what Done claims against the remote itself.
async fn is_delivered(polecat: &Polecat, remote: &Remote) {
    let status = polecat.status.clone().unwrap();
    let branch = status.branch.clone().unwrap();
    let main = remote.sha("refs/heads/main").await;
    let head = remote.sha(&format!("refs/heads/{branch}")).await;
    assert_eq!(
        status.head.as_ref(),
        Some(&head),
        "the object names what the remote has"
    );
    assert_eq!(
        status.base.as_ref(),
        Some(&main),
        "the base is where main was and still is"
    );
    assert_ne!(head, main);
    let files = remote.files(&head).await;
    let calculator = String::from_utf8_lossy(&files["calculator.py"].bytes).into_owned();
    assert!(calculator.contains("return a + b"), "{calculator}");
    let messages = remote.messages(&main, &head).await;
    assert!(
        messages.iter().any(|message| message.contains("Fix add")),
        "{messages:?}"
    );
    let (delivered, _, _) = condition(polecat, DELIVERED).unwrap();
    assert!(delivered);
}

#[tokio::test]
async fn work_over_ssh_is_done_once_the_remote_has_it() {
    with_world("ssh", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.sling(polecat("furiosa", "fix-bug")).await;
        let polecat = world.ends("furiosa", PolecatPhase::Done).await;
        is_delivered(&polecat, &remote).await;
        let status = polecat.status.unwrap();
        let usage = status.usage.unwrap();
        assert!(usage.tokens() > 0, "{usage:?}");
        assert!(status.cost.unwrap().starts_with('$'));
        assert_eq!(status.attempts.len(), 1);
        let events = world.told("furiosa", |reason, _| reason == "Delivered").await;
        let reasons: Vec<_> = events.iter().map(|(reason, _)| reason.as_str()).collect();
        assert_eq!(reasons, ["Delivered"], "an ordinary life has one event");
        let requests = remote.model_requests().await;
        assert!(!requests.is_empty());
    })
    .await;
}

#[tokio::test]
async fn work_over_https_with_a_private_authority_is_done() {
    with_world("https", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let mut object = polecat("nux", "fix-bug");
        object["spec"]["kubernetes"]["gitRepository"] = json!("https://testbed/git/calculator.git");
        object["spec"]["kubernetes"]["gitSecretRef"]["name"] = json!("git-token");
        world.sling(object).await;
        let polecat = world.ends("nux", PolecatPhase::Done).await;
        is_delivered(&polecat, &remote).await;
    })
    .await;
}

#[tokio::test]
async fn a_polecat_takes_repository_and_secrets_from_its_rig() {
    with_world("rig", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let rigs = Api::<Rig>::all(world.client.clone());
        let rig: Rig = serde_json::from_value(json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig",
            "metadata": {"name": world.namespace},
            "spec": {
                "gitURL": "git@testbed:/srv/git/calculator.git", "beadsPrefix": "calc",
                "gitSecretRef": {"name": "git-ssh-key"}, "claudeCredsSecretRef": {"name": "claude-creds"},
            },
        }))
        .unwrap();
        rigs.create(&PostParams::default(), &rig).await.unwrap();
        let mut object = polecat("capable", "fix-bug");
        object["spec"]["rig"] = json!(world.namespace);
        object["spec"].as_object_mut().unwrap().remove("kubernetes");
        world.sling(object).await;
        let polecat = world.ends("capable", PolecatPhase::Done).await;
        is_delivered(&polecat, &remote).await;
        assert!(condition(&polecat, RIG_FOUND).is_none_or(|(found, _, _)| found));
        rigs.delete(&world.namespace, &DeleteParams::default())
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn done_survives_the_loss_of_its_pod_and_a_restart_of_the_operator() {
    with_world("done-stays", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.sling(polecat("toast", "fix-bug")).await;
        let before = world.ends("toast", PolecatPhase::Done).await;
        let name = pod_name("toast");
        if world.pod_of("toast").await.is_some() {
            world
                .api::<Pod>()
                .delete(&name, &DeleteParams::default())
                .await
                .unwrap();
        }
        world
            .until(&name, PATIENCE, "its pod is gone", |pod: Option<&Pod>| {
                pod.is_none()
            })
            .await;
        operator::restart(&world.client).await;
        // Any change makes the operator look at it again.
        world
            .patch::<Polecat>("toast", json!({"metadata": {"labels": {"look": "again"}}}))
            .await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(world.pods_of("toast").await.is_empty(), "it is not run again");
        let after = world.api::<Polecat>().get("toast").await.unwrap();
        let (before, after) = (before.status.unwrap(), after.status.unwrap());
        assert_eq!(after.phase, Some(PolecatPhase::Done));
        assert_eq!(after.attempts, before.attempts);
        assert_eq!(after.head, before.head);
        assert_eq!(remote.refs().await.len(), 2, "main and the one work branch");
    })
    .await;
}

#[tokio::test]
async fn a_restart_of_the_operator_in_the_middle_changes_nothing() {
    with_world("restart", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.sling(polecat("slit", "slow-fix")).await;
        world.log_holds("slit", "claude", "Bash").await;
        let pod = world.pod_of("slit").await.unwrap();
        operator::restart(&world.client).await;
        let polecat = world.ends("slit", PolecatPhase::Done).await;
        is_delivered(&polecat, &remote).await;
        let attempts = polecat.status.unwrap().attempts;
        let uids: Vec<_> = attempts.iter().map(|attempt| attempt.pod_uid.clone()).collect();
        assert_eq!(uids, [pod.metadata.uid], "one attempt, one pod");
    })
    .await;
}
