//! Hosts that are slow, trees that are large, and ends that leave no time while money is spent: each in a form that takes
//! seconds, and with `GASTOWN_HEAVY` in the environment as it was reported.

use std::time::Duration;

use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::harness::{PATIENCE, Shell, World, condition, node, stand_in, with_world, within};
use serde_json::json;

use crate::ends::wip_of;

/// The first of the two, or the second in the heavy form.
fn of_form<T>(light: T, heavy: T) -> T {
    if std::env::var_os("GASTOWN_HEAVY").is_some() {
        heavy
    } else {
        light
    }
}

#[tokio::test]
async fn a_host_that_takes_minutes_to_accept_a_push_refuses_nothing() {
    with_world("slow-host", async |world: &World| {
        let seconds = of_form(20, 330);
        let hook = format!(
            "#!/usr/bin/bash\nwhile read -r old new ref; do\n  case $ref in refs/heads/*) echo 'checking policies ...'; sleep {seconds};; esac\ndone\n"
        );
        let remote = world.testbed_with_hook(Some(&hook)).await;
        world.credentials().await;
        let commit = "echo x > made.txt; git add made.txt; git commit -qm Made";
        world.sling(stand_in("ours", commit)).await;
        world.sling(stand_in("own", &format!("{commit}; git push -q origin HEAD"))).await;
        let limit = PATIENCE + Duration::from_secs(3 * seconds);
        for name in ["ours", "own"] {
            let ended = |polecat: Option<&Polecat>| {
                let phase = polecat.and_then(|polecat| polecat.status.as_ref()?.phase);
                matches!(phase, Some(PolecatPhase::Done | PolecatPhase::Stuck))
            };
            let polecat = world.until(name, limit, "it ends", ended).await.unwrap();
            let ready = condition(&polecat, "Ready");
            let status = polecat.status.unwrap();
            assert_eq!(status.phase, Some(PolecatPhase::Done), "{name}: {ready:?}");
            assert_eq!(status.attempts.len(), 1, "{name}");
            let branch = format!("refs/heads/{}", status.branch.unwrap());
            assert_eq!(Some(remote.sha(&branch).await), status.head, "{name}");
        }
    })
    .await;
}

/// What git says in the repository of the testbed.
async fn in_testbed(world: &World, arguments: &str) -> Result<String, String> {
    let line = format!(
        "kubectl --namespace {} exec testbed --container ssh -- git -C /srv/git/calculator.git {arguments}",
        world.namespace
    );
    let ran = Shell::open().run(&line).await;
    if ran.code == Some(0) {
        Ok(ran.stdout)
    } else {
        Err(ran.stderr)
    }
}

/// Waits until a checkpoint of a polecat, which goes on, has its changed source file, whatever stands beside it.
async fn source_is_saved(world: &World, name: &str, make: &str) {
    let script = format!(
        "set -e\npython3 - <<'PYTHON'\n{make}\nPYTHON\nmkdir src; echo 'the work of hours' > src/precious.py\necho ready; sleep 3000"
    );
    let mut object = stand_in(name, &script);
    object["spec"]["timing"] = json!({"checkpointSeconds": 10});
    world.sling(object).await;
    world.log_holds(name, "claude", "ready").await;
    let wip = wip_of(world, name).await;
    let begun = std::time::Instant::now();
    let limit = of_form(PATIENCE, Duration::from_mins(15));
    let what = format!("a checkpoint of {name} has the source file");
    within(limit, &what, async || {
        let show = format!("show {wip}:src/precious.py");
        let shown = in_testbed(world, &show).await?;
        if shown == "the work of hours\n" {
            Ok(())
        } else {
            Err(shown)
        }
    })
    .await;
    eprintln!(
        "{name}: the source file was saved {:.1} s after it was there",
        begun.elapsed().as_secs_f64()
    );
}

#[tokio::test]
async fn large_files_keep_no_source_file_from_being_saved() {
    with_world("large", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let (shards, disks) = of_form((4, 6), (15, 90));
        let many = format!(
            "import os\nos.makedirs('data')\nfor i in range({shards}):\n  with open(f'data/shard{{i:02}}.bin', 'wb') as f:\n    for k in range(75): f.write(os.urandom(1 << 20))"
        );
        let sparse = format!(
            "for i in range({disks}):\n  with open(f'disk{{i:02}}.img', 'wb') as f: f.truncate(95 << 20)"
        );
        source_is_saved(world, "many", &many).await;
        source_is_saved(world, "sparse", &sparse).await;
        for (name, files) in [("many", shards), ("sparse", disks)] {
            world.patch::<Polecat>(name, json!({"spec": {"desiredState": "Idle"}})).await;
            let idle = |polecat: Option<&Polecat>| {
                polecat.and_then(|polecat| polecat.status.as_ref()?.phase) == Some(PolecatPhase::Idle)
            };
            let limit = PATIENCE + Duration::from_mins(3);
            let polecat = world.until(name, limit, "it is Idle", idle).await.unwrap();
            let lost = condition(&polecat, "WorkMayBeLost");
            let sha = polecat.status.unwrap().wip.unwrap().sha;
            let listed = in_testbed(world, &format!("ls-tree -r --name-only {sha}")).await.unwrap();
            let saved = listed.lines().filter(|path| path.starts_with("data/") || path.starts_with("disk")).count();
            eprintln!("{name}: {saved} of {files} large files are saved; {lost:?}");
            let words = lost.filter(|(holds, _, _)| *holds).map(|(_, _, words)| words);
            // One that was saved before, and that there was no time to read again at the end, is named too.
            assert!(words.is_some() || saved == files, "{name}: {saved} of {files} are saved");
            if let Some(words) = words {
                let counted = words.contains("not saved: ");
                let named = words.contains(".bin") || words.contains(".img");
                assert!(counted && named, "{name}: {words}");
            }
            assert!(listed.contains("src/precious.py"), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_eviction_after_spending_is_charged_what_was_set_aside() {
    with_world("spent-evicted", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let calls = include_str!("../scripts/spend.sh")
            .replace("CALLS", "4")
            .replace("sleep 600", "");
        let fill =
            "until [ -e /tmp/go ]; do sleep 0.2; done; head -c 2100M /dev/zero > /tmp/fill; exec sleep 600";
        let mut object = stand_in("evicted", &format!("{calls}\n{fill}"));
        object["spec"]["budget"] = json!({"tokens": 20_000});
        object["spec"]["backoffLimit"] = json!(0);
        world.sling(object).await;
        world.log_holds("evicted", "claude", "all calls are made").await;
        // Neither warns nor saves, and the broker says nothing any more.
        for container in ["keeper", "broker"] {
            let process = node::process_one(world, "evicted", container).await;
            node::run(&format!("kill -STOP {}", process.pid)).await;
        }
        let agent = node::process_one(world, "evicted", "claude").await;
        node::run(&format!("touch /proc/{}/root/tmp/go", agent.pid)).await;
        let (polecat, attempt) = world.attempt_ends("evicted", 1).await;
        assert_eq!(attempt.reason.as_deref(), Some("Evicted"), "{attempt:?}");
        let status = polecat.status.unwrap();
        let known = status.usage.unwrap_or_default().tokens();
        let unaccounted = status.unaccounted.unwrap_or_default().tokens;
        // Four calls of 1,580 tokens end in the second quarter of 20,000.
        assert_eq!(known + unaccounted, 10_000, "{attempt:?}");
        assert!(attempt.message.unwrap().contains("count as spent"));
    })
    .await;
}
