//! Done is true at its end: what the remote holds then, what the agent's result said, and what was not delivered beside it.

use gastown_api::condition::WORK_MAY_BE_LOST;
use gastown_api::polecat::{Polecat, PolecatPhase, PolecatStatus};
use gastown_tests::harness::{Remote, World, condition, polecat, stand_in, with_world};
use serde_json::json;

/// The fix, committed.
const FIX: &str = "set -e\nsed -i 's/return a - b/return a + b/' calculator.py\ngit commit -qam 'Fix add'\n";

/// The fix, committed and pushed.
const PUSHED: &str = "set -e\nsed -i 's/return a - b/return a + b/' calculator.py\ngit commit -qam 'Fix add'\ngit push -q origin HEAD\n";

/// The last event of an agent.
const ALL_DONE: &str = r#"echo '{"type":"result","subtype":"success","is_error":false,"num_turns":82,"duration_ms":1082218,"result":"All done."}'"#;

/// A host with a limit for files, on branches as hosts have it.
const SMALL_FILES: &str = r#"#!/usr/bin/bash
while read -r old new ref; do
  case $ref in refs/heads/*)
    big=$(git rev-list --objects "$new" --not --all | git cat-file --batch-check='%(objecttype) %(objectsize) %(rest)' | while read -r type size path; do [ "$type" = blob ] && [ "$size" -gt 1048576 ] && echo "$path"; done)
    if [ -n "$big" ]; then echo "error: GH001: Large files detected: $big" >&2; exit 1; fi;;
  esac
done
"#;

/// A host on which somebody deletes the branch of one polecat, moves that of another back, and goes on with a third.
const OTHER_HANDS: &str = r#"#!/usr/bin/bash
while read -r old new ref; do
  (
    case $ref in
      refs/heads/polecat/gone-*) sleep 2; git update-ref -d "$ref";;
      refs/heads/polecat/back-*) sleep 2; git update-ref "$ref" refs/heads/main;;
      refs/heads/polecat/bot-*)
        export GIT_COMMITTER_NAME=bot GIT_COMMITTER_EMAIL=bot@bot.invalid GIT_AUTHOR_NAME=bot GIT_AUTHOR_EMAIL=bot@bot.invalid
        sleep 2; git update-ref "$ref" "$(git commit-tree "$new^{tree}" -p "$new" -m "Bump version")";;
    esac
  ) >/dev/null 2>&1 </dev/null &
done
"#;

/// A model that starts a server in the background, fixes the bug, and is done.
const BACKGROUND: &str = r#"
turns:
  - say: Starting the development server.
    tool:
      name: Bash
      input: {command: "python3 -m http.server 18765", description: Serve, run_in_background: true}
  - say: Now the fix.
    tool:
      name: Bash
      input: {command: "sed -i 's/return a - b/return a + b/' calculator.py; git commit -qam 'Fix add'; git push -q origin HEAD", description: Fix}
  - say: All done; the server still runs.
"#;

fn message(polecat: &Polecat) -> String {
    let (_, _, message) = condition(polecat, "Ready").unwrap();
    message
}

fn may_be_lost(polecat: &Polecat) -> bool {
    condition(polecat, WORK_MAY_BE_LOST).is_some_and(|(holds, _, _)| holds)
}

async fn text(remote: &Remote, sha: &str, path: &str) -> Option<String> {
    let files = remote.files(sha).await;
    files
        .get(path)
        .map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned())
}

async fn is_fixed(remote: &Remote, sha: &str) -> bool {
    let calculator = text(remote, sha, "calculator.py").await;
    calculator.is_some_and(|calculator| calculator.contains("return a + b"))
}

fn status(polecat: &Polecat) -> PolecatStatus {
    polecat.status.clone().unwrap()
}

/// Checks that the agent's commit is Done, and that `path` is not on the branch but in the snapshot, and named.
async fn leaves(world: &World, remote: &Remote, name: &str, path: &str, words: &str) {
    let polecat = world.ends(name, PolecatPhase::Done).await;
    let status = status(&polecat);
    let head = status.head.unwrap();
    let branch = format!("refs/heads/{}", status.branch.unwrap());
    assert_eq!(remote.sha(&branch).await, head, "{name}");
    assert!(is_fixed(remote, &head).await, "{name}");
    assert_eq!(text(remote, &head, path).await, None, "{name}");
    let message = message(&polecat);
    assert!(
        message.contains(path) && message.contains(words),
        "{name}: {message}"
    );
    assert!(!may_be_lost(&polecat), "{name}");
    let wip = status
        .wip
        .unwrap_or_else(|| panic!("{name}: nothing is saved: {message}"));
    let saved = remote.files(&wip.sha).await;
    assert!(
        saved.keys().any(|saved| saved.contains(path)),
        "{name}: {:?}",
        saved.keys()
    );
}

#[tokio::test]
async fn a_leftover_that_is_refused_spoils_nothing_and_is_saved_and_named() {
    with_world("leftover", async |world: &World| {
        let remote = world.testbed_with_hook(Some(SMALL_FILES)).await;
        world.credentials().await;
        let pushed = format!("{PUSHED}head -c 3000000 /dev/urandom > core.4711");
        let left_to_us = format!("{FIX}head -c 3000000 /dev/urandom > core.4712");
        let unsound = format!("{FIX}printf '[submodule \"x\"]\\n\\turl = -evil\\n' > .gitmodules");
        let denied = format!("{FIX}mkdir -p .github/workflows; echo 'on: push' > .github/workflows/new.yml");
        for (name, script) in [
            ("pushed", pushed),
            ("unpushed", left_to_us),
            ("unsound", unsound),
            ("denied", denied),
        ] {
            world.sling(stand_in(name, &script)).await;
        }
        tokio::join!(
            leaves(world, &remote, "pushed", "core.4711", "GH001"),
            leaves(world, &remote, "unpushed", "core.4712", "GH001"),
            leaves(world, &remote, "unsound", ".gitmodules", "not accepted"),
            leaves(
                world,
                &remote,
                "denied",
                ".github/workflows/new.yml",
                "may not be pushed"
            ),
        );
    })
    .await;
}

/// Checks that a polecat whose branch was dropped is Stuck for that, and that its commit is in the snapshot.
async fn is_undone(world: &World, remote: &Remote, name: &str, words: &str) {
    let (polecat, message) = world.is_stuck(name, "DeliveryUndone").await;
    assert!(message.contains(words), "{name}: {message}");
    let status = status(&polecat);
    assert!(!may_be_lost(&polecat), "{name}");
    let wip = status
        .wip
        .unwrap_or_else(|| panic!("{name}: nothing is saved: {message}"));
    assert!(is_fixed(remote, &wip.sha).await, "{name}");
    assert_eq!(remote.refs().await[&wip.name], wip.sha, "{name}");
}

#[tokio::test]
async fn a_branch_that_the_host_no_longer_has_at_the_end_is_not_done() {
    with_world("undone", async |world: &World| {
        let remote = world.testbed_with_hooks(&[("post-receive", OTHER_HANDS)]).await;
        world.credentials().await;
        for name in ["gone", "back", "bot"] {
            world.sling(stand_in(name, &format!("{PUSHED}sleep 5"))).await;
        }
        let moved_on = async {
            let polecat = world.ends("bot", PolecatPhase::Done).await;
            let message = message(&polecat);
            assert!(message.contains("another hand has moved on"), "{message}");
            let status = status(&polecat);
            let branch = format!("refs/heads/{}", status.branch.unwrap());
            assert_eq!(Some(remote.sha(&branch).await), status.head);
        };
        tokio::join!(
            is_undone(world, &remote, "gone", "the branch is gone"),
            is_undone(world, &remote, "back", "does not hold it"),
            moved_on,
        );
    })
    .await;
}

/// Half of the work is committed, then the agent fails: half an edit is left, the last event says error, the exit code
/// says 0.
fn half(last: &str) -> String {
    format!("{FIX}printf 'def power(a, b)\\n    broken half edit\\n' >> calculator.py\n{last}\nexit 0")
}

async fn says_it_failed(world: &World, remote: &Remote, name: &str, words: &str) {
    let (polecat, message) = world.is_stuck(name, "AgentFailed").await;
    assert!(message.contains(words), "{name}: {message}");
    let status = status(&polecat);
    let head = status.head.unwrap();
    let broken = async |sha: &str| {
        text(remote, sha, "calculator.py")
            .await
            .unwrap()
            .contains("half edit")
    };
    assert!(is_fixed(remote, &head).await && !broken(&head).await, "{name}");
    let wip = status
        .wip
        .unwrap_or_else(|| panic!("{name}: nothing is saved: {message}"));
    assert!(broken(&wip.sha).await, "{name}");
}

#[tokio::test]
async fn an_error_result_withholds_done_although_the_exit_code_is_0() {
    with_world("result", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.secret("openai", &[("OPENAI_API_KEY", &world.keys.model)]).await;
        let claude = r#"echo '{"type":"result","subtype":"success","is_error":true,"terminal_reason":"api_error","num_turns":3,"duration_ms":1505,"result":"You have hit your limit"}'"#;
        world.sling(stand_in("claude", &half(claude))).await;
        let codex = r#"echo '{"type":"turn.started"}'; echo '{"type":"turn.failed","error":{"message":"model at capacity"}}'"#;
        let mut object = polecat("codex", "");
        object["spec"]["agent"] = json!("codex");
        object["spec"]["agentConfig"] = json!({
            "provider": "openai", "model": "gpt-5.5", "modelProvider": {"endpoint": "http://testbed:8080"},
            "command": ["bash", "-c", half(codex)],
        });
        object["spec"]["kubernetes"]["claudeCredsSecretRef"]["name"] = json!("openai");
        world.sling(object).await;
        tokio::join!(
            says_it_failed(world, &remote, "claude", "You have hit your limit"),
            says_it_failed(world, &remote, "codex", "model at capacity"),
        );
    })
    .await;
}

#[tokio::test]
async fn a_result_ends_the_attempt_although_a_process_stays() {
    with_world("stays", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        remote.put_script("background", BACKGROUND).await;
        world
            .sling(stand_in(
                "stays",
                &format!("{PUSHED}{ALL_DONE}\nexec sleep 100000"),
            ))
            .await;
        world.sling(polecat("serves", "background")).await;
        let is_done = async |name: &str| {
            let polecat = world.ends(name, PolecatPhase::Done).await;
            let status = status(&polecat);
            assert_eq!(status.attempts.len(), 1, "{name}");
            assert!(is_fixed(&remote, &status.head.unwrap()).await, "{name}");
        };
        tokio::join!(is_done("stays"), is_done("serves"));
    })
    .await;
}
