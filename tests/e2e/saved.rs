//! No work is lost: whatever ends a pod that we control, what the agent changed reaches the remote first.

use std::collections::BTreeMap;

use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::harness::{Entry, Remote, World, condition, polecat, stand_in, with_world};
use kube::api::DeleteParams;
use serde_json::json;

/// What the script `half-way` leaves uncommitted, byte for byte; the files of the project it does not touch stay.
fn half_way(project: &BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let entry = |mode: &str, bytes: Vec<u8>| Entry {
        mode: mode.to_owned(),
        bytes,
    };
    let mut files = project.clone();
    files.remove("README.md");
    files.insert(
        "bytes.bin".to_owned(),
        entry("100644", (0..=255).cycle().take(256 * 40).collect()),
    );
    files.insert(
        "run.sh".to_owned(),
        entry("100755", b"#!/bin/sh\necho run\r\n".to_vec()),
    );
    files.insert(
        "a folder/link".to_owned(),
        entry("120000", b"../calculator.py".to_vec()),
    );
    files.insert("empty".to_owned(), entry("100644", Vec::new()));
    let calculator = &mut files.get_mut("calculator.py").unwrap().bytes;
    calculator.extend_from_slice(b"# half way\n");
    files
}

/// A polecat that has changed files, committed nothing, and waits for the model.
async fn half_way_through(world: &World, name: &str) -> (Remote, String) {
    let remote = world.testbed().await;
    world.credentials().await;
    world.sling(polecat(name, "half-way")).await;
    world.log_holds(name, "claude", "half way there").await;
    let uid = world.pod_of(name).await.unwrap().metadata.uid.unwrap();
    (remote, format!("refs/gastown/wip/{name}/{}", &uid[..8]))
}

/// Checks that `wip` on the remote holds everything, and nothing else moved.
async fn holds_the_work(remote: &Remote, wip: &str) -> String {
    let refs = remote.refs().await;
    assert_eq!(refs.keys().collect::<Vec<_>>(), [wip, "refs/heads/main"]);
    let project = remote.files(&refs["refs/heads/main"]).await;
    let saved = remote.files(&refs[wip]).await;
    let wanted = half_way(&project);
    assert_eq!(
        saved.keys().collect::<Vec<_>>(),
        wanted.keys().collect::<Vec<_>>()
    );
    for (path, entry) in &wanted {
        assert!(saved[path] == *entry, "{path} differs: {:?}", saved[path]);
    }
    refs[wip].clone()
}

#[tokio::test]
async fn deleting_a_polecat_saves_what_it_had_not_committed() {
    with_world("delete", async |world: &World| {
        let (remote, wip) = half_way_through(world, "angharad").await;
        world.delete_polecat("angharad").await;
        let sha = holds_the_work(&remote, &wip).await;
        world
            .told("angharad", |_, note| {
                note.contains(&wip) && note.contains(&sha[..8])
            })
            .await;
        world.pods_are_gone("angharad").await;
    })
    .await;
}

#[tokio::test]
async fn a_polecat_wanted_idle_saves_what_it_had_not_committed() {
    stops(PolecatPhase::Idle, "idled", "ripsaw").await;
}

#[tokio::test]
async fn a_terminated_polecat_saves_what_it_had_not_committed() {
    stops(PolecatPhase::Terminated, "terminated", "scrotus").await;
}

async fn stops(phase: PolecatPhase, world_name: &str, name: &str) {
    with_world(world_name, async |world: &World| {
        let (remote, wip) = half_way_through(world, name).await;
        let wanted = format!("{phase:?}");
        world
            .patch::<Polecat>(name, json!({"spec": {"desiredState": wanted}}))
            .await;
        let polecat = world
            .polecat_until(name, &format!("it is {wanted}"), |polecat| {
                polecat.status.as_ref().and_then(|status| status.phase) == Some(phase)
            })
            .await;
        let sha = holds_the_work(&remote, &wip).await;
        let saved = polecat.status.unwrap().wip.unwrap();
        assert_eq!((saved.name, saved.sha), (wip, sha), "the object names it");
        world.pods_are_gone(name).await;
    })
    .await;
}

#[tokio::test]
async fn an_idle_polecat_that_is_wanted_working_again_goes_on() {
    with_world("again", async |world: &World| {
        let (_, wip) = half_way_through(world, "quint").await;
        world.patch::<Polecat>("quint", json!({"spec": {"desiredState": "Idle"}})).await;
        let idle = |polecat: &Polecat| polecat.status.as_ref().and_then(|status| status.phase) == Some(PolecatPhase::Idle);
        world.polecat_until("quint", "it is Idle", idle).await;
        let again = json!({"spec": {"desiredState": "Working", "task": {"description": "Go on. [[script:fix-bug]]"}}});
        world.patch::<Polecat>("quint", again).await;
        let done = |polecat: &Polecat| polecat.status.as_ref().and_then(|status| status.phase) == Some(PolecatPhase::Done);
        let polecat = world.polecat_until("quint", "its second attempt is Done", done).await;
        let status = polecat.status.unwrap();
        assert_eq!(status.attempts.len(), 2);
        assert_eq!(status.wip.map(|saved| saved.name), Some(wip), "what was saved is still named");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_pod_saves_what_it_had_not_committed() {
    with_world("drained", async |world: &World| {
        let (remote, wip) = half_way_through(world, "corpus").await;
        let pods = world.api::<k8s_openapi::api::core::v1::Pod>();
        pods.delete("polecat-corpus", &DeleteParams::default())
            .await
            .unwrap();
        let polecat = world.ends("corpus", PolecatPhase::Stuck).await;
        let sha = holds_the_work(&remote, &wip).await;
        assert_eq!(polecat.status.unwrap().wip.map(|saved| saved.sha), Some(sha));
    })
    .await;
}

/// A host that takes no snapshot for a while.
const FULL_FOR_A_WHILE: &str = r"#!/usr/bin/bash
while read -r old new ref; do
  case $ref in refs/heads/polecat/*) continue;; esac
  first=/tmp/first-refusal
  [ -e $first ] || echo $EPOCHSECONDS > $first
  if [ $((EPOCHSECONDS - $(<$first))) -lt 45 ]; then echo 'the citadel has no room' >&2; exit 1; fi
done
";

#[tokio::test]
async fn checkpoints_that_fail_are_a_condition_while_they_fail() {
    with_world("no-room", async |world: &World| {
        let remote = world.testbed_with_hook(Some(FULL_FOR_A_WHILE)).await;
        world.credentials().await;
        let mut object = stand_in(
            "capable",
            "echo '# changed' >> calculator.py; echo ready; sleep 1000",
        );
        object["spec"]["timing"] = json!({"checkpointSeconds": 5, "checkpointTurns": 1000});
        world.sling(object).await;
        let failing = |polecat: &Polecat| condition(polecat, "CheckpointsFailing");
        let polecat = world
            .polecat_until("capable", "its checkpoints fail", |polecat| {
                failing(polecat).is_some()
            })
            .await;
        let (holds, reason, message) = failing(&polecat).unwrap();
        assert!(holds && message.contains("the citadel has no room"), "{message}");
        assert_eq!(reason, "CheckpointFailed");
        assert_eq!(polecat.status.unwrap().phase, Some(PolecatPhase::Working));
        world
            .told("capable", |reason, note| {
                reason == "CheckpointFailed" && note.contains("no room")
            })
            .await;
        world
            .polecat_until("capable", "they are saved again", |polecat| {
                failing(polecat).is_none()
            })
            .await;
        // Where the host refuses the WIP ref at that moment and takes a branch, it is on the branch.
        let uid = world.pod_of("capable").await.unwrap().metadata.uid.unwrap();
        let refs = remote.refs().await;
        let (_, saved) = refs.iter().find(|(name, _)| name.ends_with(&uid[..8])).unwrap();
        let calculator = &remote.files(saved).await["calculator.py"].bytes;
        assert!(calculator.ends_with(b"# changed\n"));
    })
    .await;
}

#[tokio::test]
async fn a_spent_budget_is_stuck_and_its_uncommitted_change_is_saved() {
    with_world("budget", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let mut object = polecat("organa", "big-spender");
        object["spec"]["budget"] = json!({"tokens": 200_000});
        world.sling(object).await;
        let (polecat, _) = world.is_stuck("organa", "BudgetSpent").await;
        let status = polecat.status.unwrap();
        let saved = status.wip.unwrap_or_else(|| panic!("nothing was saved"));
        assert_eq!(remote.sha(&saved.name).await, saved.sha);
        let files = remote.files(&saved.sha).await;
        assert_eq!(files["spent.txt"].bytes, b"all of it\n");
        assert!(status.usage.unwrap().tokens() >= 200_000);
    })
    .await;
}
