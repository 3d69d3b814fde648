//! Agents that mean ill. Each runs a script of `tests/scripts/attack-*.sh` with all that an agent may do; whatever they
//! try, no key is seen, no ref moves that should not, nothing is Done that is not, and the broker stays small.

use std::collections::BTreeSet;
use std::time::Instant;

use gastown_api::polecat::{AttemptOutcome, Polecat, PolecatPhase};
use gastown_tests::harness::{Remote, World, node, stand_in, with_world, with_world_alone};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::ends::wip_of;

/// Whatever is pushed to the upstream leaves a trace there, also what the upstream itself would refuse.
const WITNESS: &str = "#!/usr/bin/bash\nwhile read -r old new ref; do\n  env -u GIT_QUARANTINE_PATH git update-ref \"refs/seen/${ref#refs/}\" refs/heads/main\ndone\n";

/// The most memory that the broker's own process may ever have had, in kilobytes.
const MOST_RESIDENT: u64 = 64 * 1024;

/// Waits until the script has tried everything, and gives what it says of each try: the lines of the agent, without the
/// label that its output gets.
async fn tried(world: &World, name: &str) -> Vec<String> {
    let log = world.log_holds(name, "claude", "all is tried").await;
    log.lines()
        .filter_map(|line| line.strip_prefix("[output] "))
        .map(str::to_owned)
        .collect()
}

/// Checks how much memory the broker of a polecat that is still at work has used so far, and that nothing in its
/// container, git included, ever died of it.
async fn broker_is_small(world: &World, name: &str) {
    let container = node::container(world, name, "broker").await;
    let all = node::processes(&container).await;
    let broker = all
        .first()
        .unwrap_or_else(|| panic!("the broker of {name:?} is gone"));
    let memory = node::memory(&container).await;
    eprintln!(
        "{name}: broker at most {} KiB resident; its container: {memory:?}",
        broker.peak
    );
    assert!(broker.command.contains("polecat broker"), "{broker:?}");
    assert!(broker.peak <= MOST_RESIDENT, "{name}: {broker:?}");
    assert_eq!(memory.kills, 0, "{name}: {memory:?}");
    assert_eq!(restarts(world, name).await, 0, "{name}");
}

async fn restarts(world: &World, name: &str) -> i32 {
    let pod = world
        .pod_of(name)
        .await
        .unwrap_or_else(|| panic!("{name:?} has no pod"));
    let all = pod.status.unwrap().init_container_statuses.unwrap();
    all.iter().find(|c| c.name == "broker").unwrap().restart_count
}

fn none_but(lines: &[String], allowed: &str, wanted: usize) {
    let results: Vec<_> = lines.iter().filter_map(|line| line.rsplit_once(": ")).collect();
    let refused = results.iter().filter(|(_, what)| *what == allowed).count();
    let others: Vec<_> = lines
        .iter()
        .filter(|line| {
            ["taken", "DONE", "ANSWERED"]
                .iter()
                .any(|what| line.ends_with(&format!(": {what}")))
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(
        refused >= wanted,
        "only {refused} of {wanted} were tried: {lines:?}"
    );
}

async fn pushes(world: &World) {
    world
        .sling(stand_in("pusher", include_str!("../scripts/attack-pushes.sh")))
        .await;
    let lines = tried(world, "pusher").await;
    broker_is_small(world, "pusher").await;
    none_but(&lines, "refused", 50);
    assert!(lines.contains(&"the host serves on".to_owned()), "{lines:?}");
    let (_, attempt) = world.attempt_ends("pusher", 1).await;
    assert_eq!(attempt.outcome, Some(AttemptOutcome::Failed), "{attempt:?}");
    assert_eq!(attempt.reason.as_deref(), Some("PushRefused"), "{attempt:?}");
}

async fn evidence(world: &World) {
    world
        .sling(stand_in("forger", include_str!("../scripts/attack-evidence.sh")))
        .await;
    let lines = tried(world, "forger").await;
    none_but(&lines, "refused", 20);
    let (polecat, attempt) = world.attempt_ends("forger", 1).await;
    assert_eq!(attempt.reason.as_deref(), Some("NothingChanged"), "{attempt:?}");
    let status = polecat.status.unwrap();
    assert!(status.head.is_none() || status.head == status.base, "{status:?}");
    // No line of the agent looks like one of ours: but for its own two, each has a label or is indented.
    let log = world.words("forger", "claude").await;
    let bare: Vec<_> = log.lines().filter(|line| !line.starts_with(['[', ' '])).collect();
    assert!(
        bare.iter().all(|line| line.starts_with("polecat run: ")),
        "{bare:?}"
    );
    let ended = bare
        .iter()
        .filter(|line| line.contains("the agent ended with"))
        .count();
    assert_eq!(ended, 1, "{bare:?}");
}

async fn tree(world: &World, remote: &Remote) {
    world
        .sling(stand_in("planter", include_str!("../scripts/attack-tree.sh")))
        .await;
    world.log_holds("planter", "claude", "all is planted").await;
    broker_is_small(world, "planter").await;
    let wip = wip_of(world, "planter").await;
    world.delete_polecat("planter").await;
    let saved = remote.files(&remote.sha(&wip).await).await;
    let work = ["work.txt", "swapped"].iter().filter_map(|name| saved.get(*name));
    assert!(
        work.into_iter().any(|entry| entry.bytes == b"the work\n"),
        "{:?}",
        saved.keys()
    );
    for (path, entry) in &saved {
        let text = String::from_utf8_lossy(&entry.bytes);
        assert!(!text.contains("root:x:0"), "{path} was followed to /etc/passwd");
    }
    for link in ["key", "away", "environ"] {
        assert_eq!(saved[link].mode, "120000", "{link}");
    }
    for absent in ["sparse", "pipe", "socket", "nested/.git/config"] {
        assert!(!saved.contains_key(absent), "{absent}");
    }
    assert_eq!(saved["nested/file"].bytes, b"x\n");
    // What was planted ran where an agent may run what it likes, or in the keeper, and found nothing.
    let mut who = BTreeSet::new();
    for request in remote.model_requests().await {
        if request["body"]["model"] == "planted" {
            let loot = unhex(request["body"]["messages"][0]["content"].as_str().unwrap());
            who.insert(loot.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
            for secret in world.keys.secrets() {
                assert!(!loot.contains(&secret), "{loot}");
            }
        }
    }
    eprintln!("planter: its programs were run by {who:?}");
    assert!(who.contains("polecat run"), "the programs work: {who:?}");
    assert!(
        who.iter()
            .all(|who| who == "polecat run" || who == "polecat keeper"),
        "{who:?}"
    );
}

fn unhex(text: &str) -> String {
    let bytes: Vec<u8> = (0..text.len() / 2)
        .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn ports(world: &World) {
    world
        .sling(stand_in("thief", include_str!("../scripts/attack-ports.sh")))
        .await;
    world.log_holds("thief", "claude", "lying in wait").await;
    let broker = node::process_one(world, "thief", "broker").await;
    node::run(&format!("kill -9 {}", broker.pid)).await;
    world.log_holds("thief", "claude", "stole 84").await;
    let (polecat, attempt) = world.attempt_ends("thief", 1).await;
    assert_eq!(attempt.outcome, Some(AttemptOutcome::Failed), "{attempt:?}");
    assert_eq!(attempt.reason.as_deref(), Some("AgentFailed"), "{attempt:?}");
    let message = attempt.message.unwrap_or_default();
    assert!(message.contains("failed to listen"), "{message}");
    let status = polecat.status.unwrap();
    assert!(status.head.is_none() || status.head == status.base, "{status:?}");
}

async fn model(world: &World, remote: &Remote) {
    world
        .sling(stand_in("prober", include_str!("../scripts/attack-model.sh")))
        .await;
    let lines = tried(world, "prober").await;
    none_but(&lines, "refused", 70);
    assert!(lines.contains(&"allowed: 200".to_owned()), "{lines:?}");
    broker_is_small(world, "prober").await;
    world.attempt_ends("prober", 1).await;
    let seen = remote.model_requests().await;
    let hello: Vec<_> = seen
        .iter()
        .filter(|request| request["body"]["messages"][0]["content"] == "hello")
        .collect();
    assert_eq!(hello.len(), 1, "{hello:?}");
    let headers = &hello[0]["headers"];
    assert_eq!(hello[0]["keyFits"], json!(true), "{headers}");
    for dropped in [
        "authorization",
        "cookie",
        "x-forwarded-host",
        "accept-encoding",
        "anthropic-beta",
    ] {
        assert!(headers.get(dropped).is_none(), "{dropped} in {headers}");
    }
    assert!(!headers.to_string().contains("elsewhere"), "{headers}");
}

async fn budget(world: &World) {
    let mut object = stand_in("spender", include_str!("../scripts/attack-budget.sh"));
    object["spec"]["budget"] = json!({"tokens": 20_000});
    world.sling(object).await;
    let (polecat, attempt) = world.attempt_ends("spender", 1).await;
    assert_eq!(attempt.reason.as_deref(), Some("BudgetSpent"), "{attempt:?}");
    let tokens = polecat.status.unwrap().usage.unwrap().tokens();
    eprintln!("spender: {tokens} of 20000 tokens");
    // At most one call in each of the proxy's eight places is more than the budget.
    assert!((20_000..20_000 + 8 * 1580).contains(&tokens), "{tokens}");
}

async fn streams(world: &World, remote: &Remote) {
    world
        .sling(stand_in("quitter", include_str!("../scripts/attack-streams.sh")))
        .await;
    tried(world, "quitter").await;
    broker_is_small(world, "quitter").await;
    let (polecat, _) = world.attempt_ends("quitter", 1).await;
    let usage = polecat.status.unwrap().usage.unwrap();
    eprintln!("quitter: {usage:?}");
    let seen = remote.model_requests().await;
    let asked = seen
        .iter()
        .filter(|request| request["script"] == "slow-stream")
        .count();
    // Every call that reached the provider is charged for the whole answer that nobody read.
    assert!(asked >= 5, "{asked}");
    assert_eq!(usage.requests, u64::try_from(asked).unwrap(), "{usage:?}");
    assert_eq!(usage.output_tokens, 5000 * usage.requests, "{usage:?}");
}

/// A polecat that uses up processes or threads, and the ref that its last words are to be saved to.
async fn crowd(world: &World, name: &str, script: &str, said: &str) -> String {
    let mut object = stand_in(name, script);
    object["spec"]["backoffLimit"] = json!(0);
    object["spec"]["kubernetes"]["activeDeadlineSeconds"] = json!(90);
    object["spec"]["kubernetes"]["resources"] =
        json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    world.sling(object).await;
    world.log_holds(name, "claude", said).await;
    wip_of(world, name).await
}

async fn last_words_are_saved(remote: &Remote, wip: &str) {
    let saved = remote.files(&remote.sha(wip).await).await;
    assert_eq!(saved["work.txt"].bytes, b"the last words\n", "{wip}");
}

async fn forks(world: &World, remote: &Remote) {
    let script = include_str!("../scripts/attack-forks.sh");
    let wip = crowd(world, "forker", script, "the bomb is set").await;
    let begun = Instant::now();
    let (_, attempt) = world.attempt_ends("forker", 1).await;
    eprintln!(
        "forker: {:?} after {:?}: {:?}",
        attempt.reason,
        begun.elapsed(),
        attempt.message
    );
    assert_eq!(attempt.outcome, Some(AttemptOutcome::Failed), "{attempt:?}");
    assert_eq!(attempt.reason.as_deref(), Some("AgentFailed"), "{attempt:?}");
    let message = attempt.message.unwrap_or_default();
    assert!(message.contains("more than 1000 are not allowed"), "{message}");
    last_words_are_saved(remote, &wip).await;
}

async fn threads(world: &World, remote: &Remote) {
    let script = include_str!("../scripts/attack-threads.sh");
    let wip = crowd(world, "threader", script, "no more than").await;
    broker_is_small(world, "threader").await;
    let begun = Instant::now();
    let (_, attempt) = world.attempt_ends("threader", 1).await;
    eprintln!(
        "threader: {:?} after {:?}: {:?}",
        attempt.reason,
        begun.elapsed(),
        attempt.message
    );
    assert_eq!(attempt.reason.as_deref(), Some("DeadlineExceeded"), "{attempt:?}");
    last_words_are_saved(remote, &wip).await;
}

#[tokio::test]
async fn agents_that_use_up_processes_and_threads_end_with_a_reason_and_their_work_is_saved() {
    // Alone: what starts processes without end takes the node's time from its neighbours too.
    with_world_alone("crowded", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let main = remote.sha("refs/heads/main").await;
        tokio::join!(forks(world, &remote), threads(world, &remote));
        no_ref_moved(world, &remote, &main).await;
    })
    .await;
}

#[tokio::test]
async fn agents_that_mean_ill_see_no_key_move_no_ref_and_are_not_done() {
    with_world("attacked", async |world: &World| {
        let remote = world.testbed_with_hook(Some(WITNESS)).await;
        world.credentials().await;
        let main = remote.sha("refs/heads/main").await;
        tokio::join!(
            pushes(world),
            evidence(world),
            tree(world, &remote),
            ports(world),
            model(world, &remote),
            budget(world),
            streams(world, &remote),
        );
        no_ref_moved(world, &remote, &main).await;
        no_key_is_seen(world, &remote).await;
    })
    .await;
}

/// The upstream was asked for snapshots and work branches alone, and has none of the latter that is not Done.
async fn no_ref_moved(world: &World, remote: &Remote, main: &str) {
    let refs = remote.refs().await;
    assert_eq!(refs["refs/heads/main"], main);
    let polecats = world.api::<Polecat>().list(&ListParams::default()).await.unwrap();
    for polecat in &polecats {
        let phase = polecat.status.as_ref().and_then(|status| status.phase);
        assert_ne!(phase, Some(PolecatPhase::Done), "{:?}", polecat.metadata.name);
    }
    let strange: Vec<_> = refs
        .keys()
        .filter(|name| *name != "refs/heads/main")
        .filter(|name| !name.starts_with("refs/gastown/wip/") && !name.starts_with("refs/seen/gastown/wip/"))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
}

async fn no_key_is_seen(world: &World, remote: &Remote) {
    let mut shown = world.shown().await;
    let requests: Vec<Value> = remote.model_requests().await;
    shown += &serde_json::to_string(&requests).unwrap();
    for (name, sha) in remote.refs().await {
        for (path, entry) in remote.files(&sha).await {
            let text = String::from_utf8_lossy(&entry.bytes);
            shown.extend([name.as_str(), " ", path.as_str(), " ", &text, "\n"]);
        }
    }
    assert!(shown.len() > 10_000, "there is something to look through");
    for secret in world.keys.secrets() {
        assert!(!shown.contains(&secret), "a key is seen");
    }
}
