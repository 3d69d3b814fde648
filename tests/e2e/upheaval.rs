//! What befalls a whole cluster. These run alone.

use std::time::Duration;

use gastown_api::polecat::{AttemptOutcome, Polecat, PolecatPhase};
use gastown_tests::harness::{
    PATIENCE, Remote, World, condition, node, operator, polecat, reason, stand_in, with_quiet_world,
    with_world_alone, within,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::ends::{HALF_WAY, ends_with, holds_everything, wip_of};
use crate::without_grace::{at_work, beacon, delete_by_force, works_again};

/// Commits, in the time that it takes, and pushes itself.
fn worker(name: &str, seconds: u64) -> Value {
    let mut object = stand_in(
        name,
        &format!(
            "sleep {seconds}; echo {name} > work.txt; git add work.txt; git commit -q -m Work; git push -q origin HEAD; sleep 1"
        ),
    );
    object["spec"]["kubernetes"]["resources"] =
        json!({"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}});
    object
}

/// Waits until a worker is Done, by one attempt in one pod, with its commit on the remote.
async fn is_done_once(world: &World, remote: &Remote, name: &str) {
    let polecat = world.ends(name, PolecatPhase::Done).await;
    let status = polecat.status.unwrap();
    let outcomes: Vec<_> = status.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(
        outcomes,
        [Some(AttemptOutcome::Delivered)],
        "{name}: {:?}",
        status.attempts
    );
    let head = remote
        .sha(&format!("refs/heads/{}", status.branch.unwrap()))
        .await;
    assert_eq!(status.head, Some(head), "{name}");
}

async fn all_are_done_once(world: &World, remote: &Remote, names: &[String]) {
    for name in names {
        is_done_once(world, remote, name).await;
    }
    // Each has one work branch, and main; snapshots of delivered work are gone.
    let refs = remote.refs().await;
    assert_eq!(refs.len(), names.len() + 1, "{refs:?}");
}

#[tokio::test]
async fn an_api_server_that_stands_still_for_half_a_minute_changes_no_outcome() {
    with_world_alone("stopped-api", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        // When it stops, they are at different steps: not yet seen, starting, at work, and ending.
        let names: Vec<String> = (0..6).map(|number| format!("worker-{number}")).collect();
        for (name, seconds) in names.iter().zip([2, 8, 12, 20, 1, 30]) {
            world.sling(worker(name, seconds)).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        node::run("pkill -STOP kube-apiserver; sleep 30; pkill -CONT kube-apiserver").await;
        all_are_done_once(world, &remote, &names).await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_killed_again_and_again_changes_no_outcome() {
    with_world_alone("killed-operator", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let names: Vec<String> = (0..10).map(|number| format!("worker-{number}")).collect();
        let work = async {
            for (number, name) in names.iter().enumerate() {
                world.sling(worker(name, u64::try_from(number).unwrap())).await;
                tokio::time::sleep(Duration::from_millis(1700)).await;
            }
            all_are_done_once(world, &remote, &names).await;
        };
        let mut deaths = 0;
        let kill = async {
            // Each lives a different time, so that over ten lives every step is cut somewhere.
            for millis in [100, 700, 300, 1500, 50, 2200, 900, 400, 3000, 1200]
                .into_iter()
                .cycle()
            {
                operator::kill(&world.client).await;
                deaths += 1;
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
        };
        // Somebody else writes to every object all the time, so that what the operator writes conflicts again and again.
        let polecats = world.api::<Polecat>();
        let mut writes = 0;
        let disturb = async {
            loop {
                for name in &names {
                    writes += 1;
                    let patch = json!({"metadata": {"annotations": {"disturbed": writes.to_string()}}});
                    // It may not exist yet, and the API server may be busy.
                    let _ = polecats
                        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
                        .await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = kill => {}
            () = disturb => {}
        }
        eprintln!("the operator was killed {deaths} times, and its objects were changed {writes} times");
        assert!(deaths >= 5 && writes >= 100, "{deaths} {writes}");
    })
    .await;
}

#[tokio::test]
async fn a_drained_node_takes_no_work_along() {
    with_world_alone("drained-node", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.sling(stand_in("drained", &format!("{HALF_WAY}\nexec sleep 600"))).await;
        world.log_holds("drained", "claude", "half way there").await;
        let wip = wip_of(world, "drained").await;
        // Of this one pod alone: there is no other node for the rest.
        let kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
        node::run(&format!(
            "{kubectl} drain $(hostname) --pod-selector gastown.io/polecat=drained --ignore-daemonsets \
             --delete-emptydir-data --force --timeout 120s; ended=$?; {kubectl} uncordon $(hostname); exit $ended"
        ))
        .await;
        assert_eq!(ends_with(world, "drained", "Evicted").await, wip);
        holds_everything(&remote, &wip).await;
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_is_stuck_and_named() {
    with_world_alone("proxy", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        // Nothing listens there.
        let proxy = json!({"proxy": {"url": "http://testbed:9", "except": []}});
        operator::with_configuration(&world.client, proxy, async || {
            let mut object = polecat("fenced", "unused");
            object["spec"]["kubernetes"]["gitRepository"] = json!("https://testbed/git/calculator.git");
            object["spec"]["kubernetes"]["gitSecretRef"]["name"] = json!("git-token");
            world.sling(object).await;
            let (_, attempt) = world.attempt_ends("fenced", 1).await;
            assert_eq!(attempt.reason.as_deref(), Some("ProxyFailed"), "{attempt:?}");
            let message = attempt.message.unwrap();
            assert!(message.contains("http://testbed:9"), "{message}");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_town_that_is_full_makes_the_next_wait() {
    with_world_alone("town-full", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        operator::with_configuration(&world.client, json!({"maxPolecats": 1}), async || {
            world.sling(stand_in("first", "while :; do sleep 1; done")).await;
            let is_at_work =
                |polecat: &Polecat| polecat.status.as_ref().is_some_and(|status| status.pod_active);
            world.polecat_until("first", "it works", is_at_work).await;
            let work = "echo done > done.txt; git add done.txt; git commit -qm Work";
            world.sling(stand_in("second", work)).await;
            let waits = |polecat: &Polecat| reason(polecat) == "TownAtCapacity";
            world.polecat_until("second", "it waits", waits).await;
            world.delete_polecat("first").await;
            world.ends("second", PolecatPhase::Done).await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_kubelet_stands_still_never_has_two_pods_of_one_polecat_at_work() {
    with_world_alone("stopped-kubelet", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        beacon(world, "cut-off").await;
        node::without_kubelet(async || {
            delete_by_force(world, "cut-off").await;
            let again = json!({"metadata": {"annotations": {"gastown.io/retry-requested-at": "2026-01-05T08:00:00Z"}}});
            world.patch::<Polecat>("cut-off", again).await;
            // Its node does not say that it has ended, and this is told; nothing is concluded from it.
            let lost = world
                .polecat_until("cut-off", "its node is thought to be lost", |polecat| {
                    reason(polecat) == "NodeLost"
                })
                .await;
            let attempts = lost.status.unwrap().attempts;
            assert_eq!(
                attempts.len(),
                1,
                "another attempt was begun beside it: {attempts:?}"
            );
            assert_eq!(attempts[0].outcome, None, "{attempts:?}");
            let agents = at_work(&remote).await;
            assert_eq!(
                agents.len(),
                1,
                "the agent was at work, and no other: {agents:?}"
            );
        })
        .await;
        world.attempt_ends("cut-off", 1).await;
        works_again(world, &remote, "cut-off").await;
    })
    .await;
}

#[tokio::test]
async fn an_object_that_a_laxer_schema_let_in_is_refused_by_the_operator() {
    with_world_alone("laxer", async |world: &World| {
        let definitions = Api::<CustomResourceDefinition>::all(world.client.clone());
        let name = "polecats.gastown.gastown.io";
        let strict = definitions.get(name).await.unwrap();
        // As that of a predecessor: whatever stands in a spec is taken.
        let lax = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"rig": {"type": "string"}}});
        let mut laxer = serde_json::to_value(&strict).unwrap();
        laxer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = lax;
        let laxer: CustomResourceDefinition = serde_json::from_value(laxer).unwrap();
        definitions.replace(name, &PostParams::default(), &laxer).await.unwrap();
        let mut object = polecat("laxer", "unused");
        object["spec"]["agentConfig"]["env"] =
            json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "git-ssh-key", "key": "ssh-privatekey"}}}]);
        let object: Polecat = serde_json::from_value(object).unwrap();
        let let_in = async {
            let polecats = world.api::<Polecat>();
            for _ in 0..60 {
                match polecats.create(&PostParams::default(), &object).await {
                    Ok(_) => return Ok(()),
                    // The API server has not taken up the definition yet.
                    Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
                }
            }
            polecats.create(&PostParams::default(), &object).await.map(drop)
        };
        let let_in = let_in.await;
        let spec = json!({"spec": strict.spec});
        definitions.patch(name, &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
        let_in.unwrap();
        let (_, message) = world.is_stuck("laxer", "SpecNotAllowed").await;
        assert!(message.contains("\"TOKEN\"") && message.contains("the agent holds no keys"), "{message}");
        assert!(world.pods_of("laxer").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_was_away_finds_what_was_done_and_says_what_was_lost() {
    with_world_alone("away", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.sling(worker("busy", 5)).await;
        world
            .sling(stand_in("gone", "echo at work; exec sleep 600"))
            .await;
        world.log_holds("gone", "claude", "at work").await;
        world.log_holds("busy", "git-init", "is at").await;
        operator::scale(&world.client, 0).await;
        let over = |pod: Option<&Pod>| {
            pod.is_some_and(|pod| {
                pod.status
                    .as_ref()
                    .is_some_and(|status| status.phase.as_deref() == Some("Succeeded"))
            })
        };
        world
            .until("polecat-busy", PATIENCE, "its pod has ended", over)
            .await;
        // Nobody but an administrator takes the finalizer off; then nothing is left to read.
        world
            .patch::<Pod>("polecat-gone", json!({"metadata": {"finalizers": null}}))
            .await;
        delete_by_force(world, "gone").await;
        operator::scale(&world.client, 1).await;
        is_done_once(world, &remote, "busy").await;
        let (polecat, attempt) = world.attempt_ends("gone", 1).await;
        assert_eq!(attempt.reason.as_deref(), Some("PodLost"), "{attempt:?}");
        let (lost, _, message) = condition(&polecat, "WorkMayBeLost").unwrap();
        assert!(lost, "{message}");
    })
    .await;
}

/// What design.md allows the processes of an idle agent's pod, in kilobytes.
const BROKER: u64 = 24 * 1024;
const KEEPER: u64 = 12 * 1024;

/// Waits, idle, until the model has the script `go`.
const WAIT_FOR_GO: &str = r"
ask() {
  exec 3<> /dev/tcp/testbed/8080 || return 1
  printf 'GET /scripts/go HTTP/1.1\r\nHost: testbed\r\nConnection: close\r\n\r\n' >&3
  timeout 5 cat <&3 | grep -q 'HTTP/1.1 204'
}
until ask; do sleep 5; done
";

#[tokio::test]
async fn fifty_polecats_at_once_are_all_done_and_their_sidecars_are_small() {
    with_quiet_world("fifty", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let names: Vec<String> = (0..50).map(|number| format!("worker-{number}")).collect();
        for name in &names {
            let mut object = worker(name, 0);
            let task = object["spec"]["task"]["description"].as_str().unwrap();
            object["spec"]["task"]["description"] = json!(task.replace("sleep 0;", WAIT_FOR_GO));
            world.sling(object).await;
        }
        let limit = Duration::from_mins(4);
        within(limit, "all agents are at work", async || {
            let all = world
                .api::<Polecat>()
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let active = all
                .iter()
                .filter(|polecat| polecat.status.as_ref().is_some_and(|status| status.pod_active));
            let active = active.count();
            if active == names.len() {
                Ok(())
            } else {
                Err(format!("{active} are"))
            }
        })
        .await;
        let broker = resident("polecat broker").await;
        let keeper = resident("polecat keeper run").await;
        eprintln!("resident, in KiB: brokers {broker:?}, keepers {keeper:?}");
        assert_eq!((broker.len(), keeper.len()), (50, 50));
        remote.put_script("go", "turns: [{say: Go!}]").await;
        all_are_done_once(world, &remote, &names).await;
        // These are built as tests are, without optimisation: what is shipped is smaller.
        assert!(broker[49] <= BROKER, "{broker:?}");
        assert!(
            broker[49] + keeper[49] <= BROKER + KEEPER,
            "{broker:?} {keeper:?}"
        );
    })
    .await;
}

/// The memory of every process of that command on the node, in kilobytes, the least first.
async fn resident(command: &str) -> Vec<u64> {
    let script = format!(
        "for pid in $(pgrep -f '^{command}$'); do sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/$pid/status; done"
    );
    let mut all: Vec<u64> = node::run(&script)
        .await
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    all.sort_unstable();
    all
}
