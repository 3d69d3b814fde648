//! Random trees and histories in pods that end in random ways: nothing that the agent did not delete is deleted, and nothing
//! that it wrote is missing from the branch and the snapshot, unless the object says that work may be lost.
//!
//! The keeper's unit tests run the same agent on many more of them.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::harness::{Remote, World, condition, stand_in, with_world};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::json;

const AGENT: &str = include_str!("../scripts/random_tree.py");

/// How many pods in a run of all tests; `GASTOWN_RANDOM_PODS` asks for another number.
const PODS: u64 = 6;

/// How many pods there are at once.
const AT_ONCE: usize = 6;

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The agent ends well, and its work is delivered.
    Delivered,
    /// The agent fails.
    Failed,
    /// The polecat is wanted Idle while it works, and Working again.
    Idle,
    /// The pod is deleted while it works; another takes its place.
    Deleted,
    /// The polecat is wanted Terminated.
    Terminated,
    /// The pod's time is over while it works.
    Deadline,
}

/// Long enough for a pod to start and its agent to do all of it, on a busy machine.
const DEADLINE_SECONDS: u32 = 90;

const ENDS: [End; 6] = [
    End::Delivered,
    End::Failed,
    End::Idle,
    End::Deleted,
    End::Terminated,
    End::Deadline,
];

fn script(seed: u64, end: End) -> String {
    let code = match end {
        End::Delivered => "0",
        End::Failed => "3",
        End::Idle | End::Deleted | End::Terminated | End::Deadline => "wait",
    };
    format!(
        "if [ -e .git/gastown-resumed.json ]; then exit 0; fi\n\
         cat > /tmp/random_tree.py <<'PROGRAM'\n{AGENT}\nPROGRAM\n\
         mkdir /tmp/scratch\n\
         RANDOM_TREE_END={code} exec python3 /tmp/random_tree.py work {seed} /tmp/scratch 0.05"
    )
}

/// What an agent told of its work.
#[derive(Default)]
struct Journal {
    /// The newest content of each file, by work tree and path.
    written: BTreeMap<String, String>,
    /// Quoted paths that it may have deleted, in any work tree.
    gone: BTreeSet<String>,
    broke: bool,
}

impl Journal {
    fn of(log: &str) -> Self {
        let mut journal = Self::default();
        for line in log.lines() {
            let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
            match what {
                "wrote" => {
                    let (object, place) = rest.split_once(' ').unwrap();
                    journal.written.insert(place.to_owned(), object.to_owned());
                }
                "moved" => {
                    let (from, to) = rest.split_once(' ').unwrap();
                    let place = |place: String| match place.strip_prefix(from) {
                        Some(path) => format!("{to}{path}"),
                        None => place,
                    };
                    let written = std::mem::take(&mut journal.written).into_iter();
                    journal.written = written.map(|(at, object)| (place(at), object)).collect();
                }
                "gone" => {
                    journal.written.remove(rest);
                    let words = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                    journal.gone.extend(words.map(Result::unwrap));
                }
                "dropped" => journal.written.retain(|_, object| object != rest),
                "broke" => journal.broke = true,
                _ => {}
            }
        }
        journal
    }
}

async fn try_one(world: &World, remote: &Remote, seed: u64) {
    let end = ENDS[usize::try_from(seed).unwrap() % ENDS.len()];
    let name = format!("tree-{seed}");
    let mut object = stand_in(&name, &script(seed, end));
    if end == End::Deadline {
        object["spec"]["kubernetes"]["activeDeadlineSeconds"] = json!(DEADLINE_SECONDS);
    }
    world.sling(object).await;
    let (shown, ()) = tokio::join!(world.whole_log(&name), ask_to_end(world, &name, end));
    // Each line of an agent is shown with what it is.
    let log = shown.replace("[output] ", "");
    assert!(
        log.contains("\nend\n") || log.starts_with("end\n"),
        "{name} was cut off: {log}"
    );
    let (polecat, _) = world.attempt_ends(&name, 1).await;
    let polecat = if end == End::Idle {
        world
            .polecat_until(&name, "it is Idle", |polecat| is(polecat, PolecatPhase::Idle))
            .await
    } else {
        polecat
    };
    let (journal, status) = (Journal::of(&log), polecat.status.clone().unwrap());
    let wip = status.wip.as_ref().map(|wip| wip.sha.as_str());
    let branch = format!("refs/heads/{}", status.branch.unwrap());
    let (found, mut deleted) = remote.objects(wip, &branch, "chore: save what").await;
    let missing: Vec<_> = journal
        .written
        .iter()
        .filter(|(_, object)| !found.contains(*object))
        .collect();
    let lost = condition(&polecat, "WorkMayBeLost");
    let is_said = lost.as_ref().is_some_and(|(holds, ..)| *holds);
    assert!(
        missing.is_empty() || is_said,
        "{name} ({end:?}) lacks {missing:?} without a word, {lost:?}: {log}"
    );
    assert!(
        missing.is_empty() || journal.broke,
        "{name} ({end:?}) broke nothing and lacks {missing:?}, {lost:?}: {log}"
    );
    if matches!(end, End::Idle | End::Deleted) && wip.is_some() {
        if end == End::Idle {
            world
                .patch::<Polecat>(&name, json!({"spec": {"desiredState": "Working"}}))
                .await;
        }
        world.attempt_ends(&name, 2).await;
        deleted = remote.objects(None, &branch, "chore: save what").await.1;
    }
    for path in deleted {
        let path: String = path.iter().map(|byte| char::from(*byte)).collect();
        assert!(
            journal.gone.contains(&path),
            "{name} ({end:?}): {path:?} is deleted: {log}"
        );
    }
    eprintln!(
        "{name}: {end:?}, {} files written, {} missing and said",
        journal.written.len(),
        missing.len()
    );
    world.delete_polecat(&name).await;
}

fn is(polecat: &Polecat, phase: PolecatPhase) -> bool {
    polecat.status.as_ref().and_then(|status| status.phase) == Some(phase)
}

async fn ask_to_end(world: &World, name: &str, end: End) {
    let wanted = |state: &str| json!({"spec": {"desiredState": state}});
    match end {
        End::Delivered | End::Failed | End::Deadline => {}
        End::Idle => {
            // In the middle of its work.
            world.log_holds(name, "claude", " \"").await;
            world.patch::<Polecat>(name, wanted("Idle")).await;
        }
        End::Terminated => {
            world.log_holds(name, "claude", "all of it").await;
            world.patch::<Polecat>(name, wanted("Terminated")).await;
        }
        End::Deleted => {
            world.log_holds(name, "claude", "all of it").await;
            let pod = gastown_api::pod::pod_name(name);
            world
                .api::<Pod>()
                .delete(&pod, &DeleteParams::default())
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn random_trees_in_pods_that_end_in_random_ways_lose_nothing() {
    with_world("random", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let asked = std::env::var("GASTOWN_RANDOM_PODS").ok();
        let count = asked.map_or(PODS, |text| text.parse().unwrap());
        futures::stream::iter(0..count)
            .for_each_concurrent(AT_ONCE, |seed| try_one(world, &remote, seed))
            .await;
    })
    .await;
}
