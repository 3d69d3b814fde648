//! No work is lost, whatever ends a pod that has a moment left: the same half-done work, and every such end.

use std::collections::BTreeMap;

use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::harness::{Entry, Remote, World, node, stand_in, with_world};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::{Value, json};

/// What leaves uncommitted work of every kind, and a commit on a branch that nobody pushes.
pub const HALF_WAY: &str = include_str!("../scripts/half-way.sh");

/// What the object says of [`HALF_WAY`] when all of it is saved: the files of its nested repositories are.
pub const HISTORIES: &str = "2 paths are not saved: \"nested-new/.git\": the repository of these files is not saved, \
                             \"nested/.git\": the repository of these files is not saved";

/// Uses up all memory that the container may have.
const GLUTTON: &str = "python3 -c 'x = []\nwhile True: x.append(bytearray(1 << 20))'";

/// Asks the model until the broker refuses.
const SPENDER: &str = r#"python3 - <<'PYTHON'
import json, os, urllib.error, urllib.request
body = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "x"}]})
for _ in range(100):
    request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", body.encode(),
                                     {"content-type": "application/json"})
    try:
        urllib.request.urlopen(request).read()
    except urllib.error.HTTPError as refused:
        print("the broker says", refused.code, flush=True)
        break
PYTHON
exec sleep 600"#;

/// A polecat that has done half its work; its agent goes on as `then` says. Gives the name of its snapshot's ref.
async fn half_way(world: &World, name: &str, then: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut object = stand_in(name, &format!("{HALF_WAY}\n{then}"));
    change(&mut object);
    world.sling(object).await;
    world.log_holds(name, "claude", "half way there").await;
    wip_of(world, name).await
}

/// Where the snapshot of a polecat's present pod goes.
pub async fn wip_of(world: &World, name: &str) -> String {
    let pod = world.pod_of(name).await;
    let uid = pod
        .unwrap_or_else(|| panic!("{name:?} has no pod"))
        .metadata
        .uid
        .unwrap();
    format!("refs/gastown/wip/{name}/{}", &uid[..8])
}

fn usual(_: &mut Value) {}

fn memory(object: &mut Value) {
    object["spec"]["kubernetes"]["resources"] =
        json!({"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "96Mi"}});
}

/// The tree that the snapshot of [`HALF_WAY`] must be, byte for byte, without what is held back.
pub fn saved_tree(project: &BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let mut files = project.clone();
    let mut put = |path: &str, mode: &str, bytes: &[u8]| {
        let (mode, bytes) = (mode.to_owned(), bytes.to_vec());
        files.insert(path.to_owned(), Entry { mode, bytes });
    };
    let all_bytes: Vec<u8> = (0..=255).cycle().take(256 * 40).collect();
    put("bytes.bin", "100644", &all_bytes);
    put("run.sh", "100755", b"#!/bin/sh\necho run\r\n");
    put("a folder/link", "120000", b"../calculator.py");
    put("away", "120000", b"/etc/passwd");
    put("staged", "100644", b"");
    put(
        ".gitattributes",
        "100644",
        b"* text=auto eol=lf\n*.txt filter=shout ident\n",
    );
    put("crlf.txt", "100644", b"one\r\ntwo\r\n$Id$\r\n");
    put("ignored-by-nobody.log", "100644", b"x\n");
    put("nested/committed", "100644", b"committed\n");
    put("nested/more", "100644", b"more\n");
    put("nested-new/first", "100644", b"first\n");
    let names = [
        "new\nline",
        "tab\there",
        "quo\"te",
        "back\\slash",
        "-dash",
        " space ",
        "ünïcode",
        r"not\xffutf8",
        ":(glob)*",
        "\u{1}control",
    ];
    for (number, name) in names.iter().enumerate() {
        put(
            &format!("names/{name}"),
            "100644",
            format!("{number}\n").as_bytes(),
        );
    }
    let calculator = &mut files.get_mut("calculator.py").unwrap().bytes;
    calculator.extend_from_slice(b"# half way\n");
    files.remove("README.md");
    files
}

/// Checks that the ref `wip` of the remote holds everything that [`HALF_WAY`] left.
pub async fn holds_everything(remote: &Remote, wip: &str) {
    let refs = remote.refs().await;
    let sha = refs.get(wip).unwrap_or_else(|| panic!("no {wip} in {refs:?}"));
    let mut saved = remote.files(sha).await;
    let bundle = "gastown-held/unpushed.bundle";
    assert!(
        saved.remove(bundle).is_some(),
        "{wip} has no {bundle}: {:?}",
        saved.keys()
    );
    let wanted = saved_tree(&remote.files(&refs["refs/heads/main"]).await);
    assert_eq!(
        saved.keys().collect::<Vec<_>>(),
        wanted.keys().collect::<Vec<_>>(),
        "{wip}"
    );
    for (path, entry) in &wanted {
        assert!(
            saved[path] == *entry,
            "{path} of {wip} differs: {:?}",
            saved[path]
        );
    }
    let side = remote
        .file_in_bundle(sha, bundle, "refs/heads/side", "side.txt")
        .await;
    assert_eq!(side, b"a commit on another branch\n", "{wip}");
}

/// An end after which the object names what was saved.
pub async fn ends_with(world: &World, name: &str, reason: &str) -> String {
    let (polecat, attempt) = world.attempt_ends(name, 1).await;
    assert_eq!(attempt.reason.as_deref(), Some(reason), "{name}: {attempt:?}");
    let uid = attempt.pod_uid.unwrap();
    let wip = format!("refs/gastown/wip/{name}/{}", &uid[..8]);
    let status = polecat.status.unwrap();
    let named = status
        .wip
        .unwrap_or_else(|| panic!("{name}: the status names no snapshot: {:?}", status.conditions));
    assert_eq!(named.name, wip, "{name}");
    let lost = status
        .conditions
        .iter()
        .find(|c| c.type_ == "WorkMayBeLost" && c.status == "True");
    assert_eq!(lost.map(|lost| lost.message.as_str()), Some(HISTORIES), "{name}");
    wip
}

/// Deletes the object; then an event names what was saved.
async fn deleted(world: &World, name: &str, wip: String) -> String {
    world.delete_polecat(name).await;
    world.told(name, |_, note| note.contains(&wip)).await;
    wip
}

async fn wanted(world: &World, name: &str, desired: &str, phase: PolecatPhase) -> String {
    let wip = half_way(world, name, "exec sleep 600", usual).await;
    world
        .patch::<Polecat>(name, json!({"spec": {"desiredState": desired}}))
        .await;
    let now = |polecat: &Polecat| polecat.status.as_ref().and_then(|status| status.phase) == Some(phase);
    let polecat = world.polecat_until(name, desired, now).await;
    assert_eq!(
        polecat.status.unwrap().wip.map(|saved| saved.name),
        Some(wip.clone()),
        "{name}"
    );
    wip
}

#[tokio::test]
async fn whoever_ends_the_pod_its_uncommitted_work_reaches_the_remote() {
    with_world("ended", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let delete = async {
            let wip = half_way(world, "deleted", "exec sleep 600", usual).await;
            deleted(world, "deleted", wip).await
        };
        let idle = wanted(world, "idled", "Idle", PolecatPhase::Idle);
        let terminated = wanted(world, "terminated", "Terminated", PolecatPhase::Terminated);
        let evicted = async {
            half_way(world, "evicted", "exec sleep 600", usual).await;
            world.evict("evicted").await;
            ends_with(world, "evicted", "Evicted").await
        };
        let pod_deleted = async {
            half_way(world, "pod-deleted", "exec sleep 600", usual).await;
            let pods = world.api::<Pod>();
            pods.delete("polecat-pod-deleted", &DeleteParams::default())
                .await
                .unwrap();
            ends_with(world, "pod-deleted", "PodDeleted").await
        };
        let stubborn = async {
            // It ignores SIGTERM, and so do its children.
            let wip = half_way(
                world,
                "stubborn",
                "trap '' TERM; while :; do sleep 1; done",
                usual,
            )
            .await;
            deleted(world, "stubborn", wip).await
        };
        let wips = tokio::join!(delete, idle, terminated, evicted, pod_deleted, stubborn);
        let (a, b, c, d, e, f) = wips;
        for wip in [a, b, c, d, e, f] {
            holds_everything(&remote, &wip).await;
        }
    })
    .await;
}

#[tokio::test]
async fn however_the_agent_or_the_broker_dies_the_uncommitted_work_reaches_the_remote() {
    with_world("died", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let killed = async {
            half_way(world, "killed", "kill -9 $$", usual).await;
            ends_with(world, "killed", "AgentFailed").await
        };
        let agent = async {
            half_way(world, "oom-agent", &format!("exec {GLUTTON}"), memory).await;
            ends_with(world, "oom-agent", "OutOfMemory").await
        };
        let child = async {
            half_way(world, "oom-child", &format!("{GLUTTON}; exit 3"), memory).await;
            ends_with(world, "oom-child", "OutOfMemory").await
        };
        let broker = async {
            let wip = half_way(world, "oom-broker", "exec sleep 600", usual).await;
            let container = node::container(world, "oom-broker", "broker").await;
            node::out_of_memory(&container).await;
            node::container_after(world, "oom-broker", "broker", &container).await;
            deleted(world, "oom-broker", wip).await
        };
        let deadline = async {
            let change =
                |object: &mut Value| object["spec"]["kubernetes"]["activeDeadlineSeconds"] = json!(90);
            half_way(world, "too-late", "exec sleep 600", change).await;
            ends_with(world, "too-late", "DeadlineExceeded").await
        };
        let budget = async {
            let change = |object: &mut Value| object["spec"]["budget"] = json!({"tokens": 2000});
            half_way(world, "spent", SPENDER, change).await;
            ends_with(world, "spent", "BudgetSpent").await
        };
        let silence = async {
            let change = |object: &mut Value| object["spec"]["timing"] = json!({"silenceSeconds": 45});
            half_way(world, "hung", "exec sleep 600", change).await;
            ends_with(world, "hung", "AgentHung").await
        };
        let wips = tokio::join!(killed, agent, child, broker, deadline, budget, silence);
        let (a, b, c, d, e, f, g) = wips;
        for wip in [a, b, c, d, e, f, g] {
            holds_everything(&remote, &wip).await;
        }
    })
    .await;
}
