//! Ends that leave a pod no moment: what may be lost is said, and never are two pods of one polecat at work.

use std::time::Duration;

use gastown_api::polecat::{Attempt, Polecat};
use gastown_tests::harness::{PATIENCE, Remote, World, condition, node, stand_in, with_world};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::json;

use crate::ends::{HALF_WAY, HISTORIES, holds_everything, wip_of};

/// The names of the pods that said they were at work, in the order in which they did, each as often as it began.
pub async fn at_work(remote: &Remote) -> Vec<String> {
    let requests = remote.model_requests().await;
    let beacons = requests
        .iter()
        .filter(|request| request["body"]["model"] == "beacon");
    let mut names: Vec<_> = beacons
        .map(|request| {
            request["body"]["messages"][0]["content"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    names.dedup();
    names
}

/// A polecat with half its work done that says all the time that it is at work. A later attempt finds that work restored.
pub async fn beacon(world: &World, name: &str) -> String {
    let beacon = include_str!("../scripts/beacon.sh");
    let script = format!("if [ ! -e bytes.bin ]; then\n{HALF_WAY}\nfi\n{beacon}");
    world.sling(stand_in(name, &script)).await;
    world.log_holds(name, "claude", "beacon").await;
    wip_of(world, name).await
}

/// Deletes the pod of a polecat as one deletes a pod of a node that is thought to be lost.
pub async fn delete_by_force(world: &World, name: &str) {
    let pods = world.api::<Pod>();
    let at_once = DeleteParams::default().grace_period(0);
    pods.delete(&format!("polecat-{name}"), &at_once).await.unwrap();
}

/// Asks for another attempt, unless there is one already, and waits until its agent is at work.
pub async fn works_again(world: &World, remote: &Remote, name: &str) {
    let again =
        json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "2026-01-05T09:00:00Z"}}});
    world.patch::<Polecat>(name, again).await;
    gastown_tests::harness::within(Duration::from_mins(3), "another pod is at work", async || {
        let names = at_work(remote).await;
        if names.len() > 1 {
            Ok(())
        } else {
            Err(format!("{names:?}"))
        }
    })
    .await;
    // Long enough for the first to be heard again if it still were at work.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let names = at_work(remote).await;
    assert_eq!(names.len(), 2, "the pods took turns: {names:?}");
}

/// Either all of it is on the remote, or the object says since when changes may be missing.
async fn saved_or_said(remote: &Remote, polecat: &Polecat, attempt: &Attempt, wip: &str) {
    let lost = condition(polecat, "WorkMayBeLost").filter(|(holds, ..)| *holds);
    eprintln!("{:?}: {:?}; {lost:?}", polecat.metadata.name, attempt.reason);
    match lost {
        Some((_, _, message)) if message != HISTORIES => {
            assert!(message.contains("may be lost"), "{message}");
            assert!(!message.contains("refs/") || message.contains(wip), "{message}");
        }
        _ => holds_everything(remote, wip).await,
    }
}

#[tokio::test]
async fn a_pod_deleted_by_force_is_followed_by_another_only_once_its_agent_is_gone() {
    with_world("by-force", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let wip = beacon(world, "forced").await;
        delete_by_force(world, "forced").await;
        let (polecat, attempt) = world.attempt_ends("forced", 1).await;
        saved_or_said(&remote, &polecat, &attempt, &wip).await;
        works_again(world, &remote, "forced").await;
    })
    .await;
}

/// How often work is saved in the test of what is lost, and what a snapshot may take on a busy machine, in seconds.
const INTERVAL: i64 = 10;
const SLACK: i64 = 15;

#[tokio::test]
async fn what_a_pod_without_any_grace_loses_is_at_most_one_checkpoint_interval() {
    with_world("interval", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let clock = "echo at work; while :; do date +%s > next.txt; mv next.txt clock.txt; sleep 0.1; done";
        let mut object = stand_in("interval", clock);
        object["spec"]["timing"] = json!({"checkpointSeconds": INTERVAL, "checkpointTurns": 1000});
        world.sling(object).await;
        world.log_holds("interval", "claude", "at work").await;
        let wip = wip_of(world, "interval").await;
        // So long that one checkpoint alone would be too old, and to no end of an interval.
        tokio::time::sleep(Duration::from_secs(44)).await;
        let keeper = node::process_one(world, "interval", "keeper").await;
        node::run(&format!("kill -STOP {}", keeper.pid)).await;
        let death = jiff::Timestamp::now().as_second();
        delete_by_force(world, "interval").await;
        let (polecat, attempt) = world.attempt_ends("interval", 1).await;
        let sha = remote.sha(&wip).await;
        let saved = &remote.files(&sha).await["clock.txt"].bytes;
        let saved: i64 = str::from_utf8(saved).unwrap().trim().parse().unwrap();
        let lost = death - saved;
        let (says, _, message) = condition(&polecat, "WorkMayBeLost").unwrap();
        eprintln!("{lost} s were lost of {:?}: {message}", attempt.reason);
        assert!(lost <= INTERVAL + SLACK, "{lost} s were lost");
        assert!(says && message.contains("s before the end"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_volume_that_fills_slowly_ends_the_pod_before_the_kubelet_does() {
    with_world("filling", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let fill = "while :; do head -c 2M /dev/zero >> /tmp/fill; sleep 1; done";
        world
            .sling(stand_in("filling", &format!("{HALF_WAY}\n{fill}")))
            .await;
        world.log_holds("filling", "claude", "half way there").await;
        let wip = wip_of(world, "filling").await;
        let (polecat, attempt) = world.attempt_ends("filling", 1).await;
        assert_eq!(attempt.reason.as_deref(), Some("DiskFull"), "{attempt:?}");
        assert_eq!(
            polecat.status.unwrap().wip.map(|saved| saved.name),
            Some(wip.clone())
        );
        holds_everything(&remote, &wip).await;
    })
    .await;
}

#[tokio::test]
async fn a_volume_over_its_limit_evicts_the_pod_and_the_object_says_what_may_be_lost() {
    with_world("full", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let fill = format!("{HALF_WAY}\nhead -c 400M /dev/zero > /tmp/fill; exec sleep 600");
        world.sling(stand_in("full", &fill)).await;
        // The kubelet looks at volumes every ten seconds: after it has, the pod may be gone before its log is read.
        let _pod = world
            .until(
                "polecat-full",
                PATIENCE,
                "its pod is there",
                |pod: Option<&Pod>| pod.is_some(),
            )
            .await;
        let wip = wip_of(world, "full").await;
        let (polecat, attempt) = world.attempt_ends("full", 1).await;
        assert_ne!(attempt.reason.as_deref(), Some("AgentFailed"), "{attempt:?}");
        saved_or_said(&remote, &polecat, &attempt, &wip).await;
    })
    .await;
}
