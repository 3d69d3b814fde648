//! What breaks in a pod by no fault of its task, and the reason that names it.

use std::time::Duration;

use gastown_api::pod::CLAUDE;
use gastown_api::polecat::{AttemptOutcome, Polecat, PolecatPhase};
use gastown_tests::harness::{World, node, polecat, stand_in, with_world};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

/// An agent that ends, as `end` says, once [`let_go`] is called.
fn waiting(name: &str, end: &str) -> serde_json::Value {
    stand_in(
        name,
        &format!("echo at work; until [ -e /tmp/go ]; do sleep 0.2; done; {end}"),
    )
}

async fn let_go(world: &World, name: &str) {
    let agent = node::process_one(world, name, CLAUDE).await;
    node::run(&format!("touch /proc/{}/root/tmp/go", agent.pid)).await;
    let has_ended = |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref());
        let containers = status.and_then(|status| status.container_statuses.as_ref());
        containers.is_some_and(|all| {
            all.iter()
                .any(|c| c.state.as_ref().is_some_and(|state| state.terminated.is_some()))
        })
    };
    world
        .until(
            &format!("polecat-{name}"),
            Duration::from_mins(3),
            "its agent has ended",
            has_ended,
        )
        .await;
}

/// Stops a container's process 1 where it is, so that nothing of it ends in good order.
async fn freeze(world: &World, name: &str, container: &str) -> u32 {
    let process = node::process_one(world, name, container).await;
    node::run(&format!("kill -STOP {}", process.pid)).await;
    process.pid
}

/// Waits until the first attempt has failed for `reason`; its message comes back.
async fn fails(world: &World, name: &str, reason: &str) -> String {
    let (_, attempt) = world.attempt_ends(name, 1).await;
    assert_eq!(attempt.outcome, Some(AttemptOutcome::Failed), "{attempt:?}");
    assert_eq!(attempt.reason.as_deref(), Some(reason), "{attempt:?}");
    attempt.message.unwrap()
}

#[tokio::test]
async fn a_clone_that_is_killed_fails_the_attempt() {
    with_world("clone", async |world: &World| {
        world.testbed().await;
        // Without secrets the clone waits.
        world.sling(polecat("clone", "unused")).await;
        world
            .log_holds("clone", "git-init", "waiting for the broker")
            .await;
        let clone = node::process_one(world, "clone", "git-init").await;
        node::run(&format!("kill -9 {}", clone.pid)).await;
        let message = fails(world, "clone", "CloneFailed").await;
        assert!(message.contains("git-init exited with 137"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_container_that_the_runtime_cannot_start_fails_the_attempt() {
    with_world("no-start", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let mut object = polecat("no-start", "unused");
        // Less than the runtime's own process takes that becomes the agent's.
        object["spec"]["kubernetes"]["resources"] =
            json!({"requests": {"memory": "1Mi"}, "limits": {"memory": "1Mi"}});
        world.sling(object).await;
        let message = fails(world, "no-start", "ContainerCannotStart").await;
        assert!(message.contains("container claude"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_dies_without_a_word_at_the_end_leaves_no_evidence() {
    with_world("no-word", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world.sling(waiting("no-word", "echo done > done.txt")).await;
        world.log_holds("no-word", CLAUDE, "at work").await;
        // While the keeper is not done with saving, the broker is not told to end.
        let keeper = freeze(world, "no-word", "keeper").await;
        let_go(world, "no-word").await;
        let broker = freeze(world, "no-word", "broker").await;
        let uid = world.pod_of("no-word").await.unwrap().metadata.uid.unwrap();
        node::run(&format!(
            "for words in /var/lib/kubelet/pods/{uid}/containers/broker/*; do : > $words; done; kill -9 {broker}; \
             sleep 2; kill -9 {keeper}"
        ))
        .await;
        let message = fails(world, "no-word", "EvidenceMissing").await;
        assert!(message.contains("refs/gastown/wip/no-word"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn work_that_was_pushed_before_its_broker_died_is_found_on_the_remote_and_no_second_agent_is_paid() {
    with_world("looked", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let deliver = "echo done > done.txt; git add done.txt; git commit -qm Done; git push -q origin HEAD";
        world.sling(waiting("looked", deliver)).await;
        world.log_holds("looked", CLAUDE, "at work").await;
        let keeper = freeze(world, "looked", "keeper").await;
        let_go(world, "looked").await;
        let broker = freeze(world, "looked", "broker").await;
        node::run(&format!("kill -9 {broker}; sleep 2; kill -9 {keeper}")).await;
        let message = fails(world, "looked", "EvidenceMissing").await;
        assert!(message.contains("was on the remote branch"), "{message}");
        // A second agent would wait for ever.
        let done = |polecat: &Polecat| {
            polecat.status.as_ref().and_then(|status| status.phase) == Some(PolecatPhase::Done)
        };
        let polecat = world
            .polecat_until("looked", "it is Done without one", done)
            .await;
        let status = polecat.status.unwrap();
        assert_eq!(status.attempts.len(), 2);
        assert_eq!(status.attempts[0].unconfirmed, status.head);
        assert_eq!(
            remote.files(&status.head.unwrap()).await["done.txt"].bytes,
            b"done\n"
        );
    })
    .await;
}

#[tokio::test]
async fn a_keeper_that_runs_out_of_memory_at_the_end_is_named() {
    with_world("keeper", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world.sling(waiting("keeper", "exit 3")).await;
        world.log_holds("keeper", CLAUDE, "at work").await;
        let keeper = node::container(world, "keeper", "keeper").await;
        freeze(world, "keeper", "keeper").await;
        let_go(world, "keeper").await;
        node::out_of_memory(&keeper).await;
        let message = fails(world, "keeper", "SidecarOutOfMemory").await;
        assert!(message.contains("container keeper"), "{message}");
    })
    .await;
}
