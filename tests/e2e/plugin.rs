//! `kubectl gt` with a kubelet behind the API server: logs as they are written, a shell beside the agent, attempts, and
//! what of `~/.claude` the agent sees.

use std::time::Duration;

use gastown_api::polecat::PolecatPhase;
use gastown_api::reason::Reason;
use gastown_tests::harness::shell::{Ran, finish};
use gastown_tests::harness::{Shell, World, polecat, stand_in, with_world};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

/// An agent that says something, works for a moment, and commits.
const TALKS: &str = r#"
echo "first words"
sleep 6
echo "last words"
echo shiny > chrome.txt
git add chrome.txt
git commit -q -m "Shiny and chrome"
"#;

/// An agent that works until it is ended.
const WORKS_ON: &str = r#"
echo "at work"
while true; do sleep 2; echo "still at work"; done
"#;

/// An agent that fails the first time, and goes on from what it had done.
const FAILS_ONCE: &str = r#"
if [ -e half.txt ]; then
    git add half.txt
    git commit -q -m "The other half"
    exit 0
fi
echo half > half.txt
echo "no further"
exit 3
"#;

/// The git secret by the plugin, with host keys from a file.
async fn git_credentials(world: &World, shell: &Shell) {
    let key = shell.write("key", &world.keys.ssh);
    let known = shell.write("known", &world.keys.known_hosts);
    let line = format!(
        "kubectl gt auth git --url git@testbed:/srv/git/calculator.git --key {} --known-hosts {} --name git-ssh-key -n {}",
        key.display(),
        known.display(),
        world.namespace
    );
    let _ = shell.run(&line).await.succeeds().says("git-ssh-key applied");
}

fn logs(world: &World, name: &str, flags: &str) -> String {
    format!(
        "kubectl gt polecat logs no-such-rig/{name} {flags} -n {}",
        world.namespace
    )
}

fn interrupt(child: &Child) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
}

/// Waits until a command that was started prints `text`.
async fn prints(child: &mut Child, text: &str) {
    let stdout = child.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    let seen = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(text) {
                return true;
            }
        }
        false
    };
    let seen = tokio::time::timeout(Duration::from_mins(3), seen).await;
    assert_eq!(seen.ok(), Some(true), "it does not print {text:?}");
    child.stdout = Some(lines.into_inner().into_inner());
}

#[tokio::test]
async fn logs_wait_for_the_pod_follow_the_agent_and_end_with_the_polecat() {
    with_world("plugin-logs", async |world: &World| {
        let _remote = world.testbed().await;
        world.credentials().await;
        let shell = Shell::open();
        world.sling(stand_in("furiosa", TALKS)).await;
        let follow = logs(world, "furiosa", "-f");
        let started = shell.start(&follow);
        let followed = finish(&follow, started, "").await.succeeds();
        let at = |text: &str| {
            let found = followed.stdout.find(text);
            found.unwrap_or_else(|| panic!("{text:?} is not in\n{}", followed.stdout))
        };
        assert!(at("first words") < at("last words"));
        assert!(followed.stderr.contains("furiosa is Done"), "{}", followed.stderr);
        world.ends("furiosa", PolecatPhase::Done).await;
        parts_of_a_log(world, &shell, &followed).await;
    })
    .await;
}

/// The pod has ended and is still there.
async fn parts_of_a_log(world: &World, shell: &Shell, whole: &Ran) {
    let run = async |flags: &str| shell.run(&logs(world, "furiosa", flags)).await.succeeds();
    let last = run("--tail 1").await;
    assert_eq!(last.stdout.lines().last(), whole.stdout.lines().last());
    assert_eq!(last.stdout.lines().count(), 1, "{}", last.stdout);
    let late = run("--since 4s").await.stdout;
    assert!(!late.contains("first words"), "written longer ago: {late}");
    assert_eq!(run("--since 1h").await.stdout, whole.stdout);
    assert_eq!(
        run("--raw").await.stdout,
        whole.stdout,
        "without colours both are the same"
    );
    for line in run("-o json").await.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["container"], "claude");
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
    }
    for container in ["git-init", "broker", "keeper"] {
        let other = run(&format!("-c {container}")).await;
        assert_ne!(other.stdout, whole.stdout, "{container}");
    }
    let wrong = shell.run(&logs(world, "furiosa", "-c clawed")).await;
    let _ = wrong.exits(2).says("it has claude, ");
}

#[tokio::test]
async fn beside_an_agent_there_is_a_shell_and_ctrl_c_ends_only_the_looking() {
    with_world("plugin-attach", async |world: &World| {
        let _remote = world.testbed().await;
        world.credentials().await;
        let shell = Shell::open();
        world.sling(stand_in("nux", WORKS_ON)).await;
        let follow = logs(world, "nux", "-f");
        let mut started = shell.start(&follow);
        prints(&mut started, "at work").await;
        world
            .polecat_until("nux", "its agent is seen to run", |polecat| {
                polecat.status.as_ref().is_some_and(|status| status.pod_active)
            })
            .await;
        let attach = format!(
            "kubectl gt polecat attach no-such-rig/nux -n {} -- ",
            world.namespace
        );
        let inside = shell
            .run_in_terminal(&format!("{attach} sh -c 'tty; ls'"), "")
            .await
            .succeeds();
        assert!(inside.stdout.contains("/dev/pts/"), "{inside:?}");
        let ended = shell
            .run_in_terminal(&format!("{attach} sh -c 'exit 7'"), "")
            .await;
        assert_eq!(ended.code, Some(7), "{ended:?}");
        interrupt(&started);
        let ended = finish(&follow, started, "").await.exits(130);
        assert!(ended.stderr.contains("goes on"), "{ended:?}");
        let mut unread = shell.start(&follow);
        prints(&mut unread, "at work").await;
        drop(unread.stdout.take());
        let nuke = format!(
            "kubectl gt polecat nuke no-such-rig/nux --wait -n {}",
            world.namespace
        );
        let _ = shell.run(&nuke).await.succeeds();
        let unread = finish(&follow, unread, "").await;
        assert_eq!(
            (unread.code, unread.stdout.as_str()),
            (Some(141), ""),
            "{unread:?}"
        );
        assert!(!unread.stderr.contains("error"), "{unread:?}");
        world.ends("nux", PolecatPhase::Terminated).await;
        let gone = shell.run(&attach).await.exits(8);
        assert!(gone.stderr.contains("Terminated"), "{gone:?}");
    })
    .await;
}

#[tokio::test]
async fn describe_shows_every_attempt_with_its_reason_and_remedy() {
    with_world("plugin-describe", async |world: &World| {
        let _remote = world.testbed().await;
        world.credentials().await;
        let shell = Shell::open();
        world.sling(stand_in("slit", FAILS_ONCE)).await;
        world.is_stuck("slit", "AgentFailed").await;
        let on = |command: &str| format!("kubectl gt polecat {command} -n {}", world.namespace);
        let once = shell.run(&on("describe no-such-rig/slit")).await.succeeds();
        let once = once.says("AgentFailed").says("Attempts:").says("To do:");
        let told = once.stdout.matches(Reason::AgentFailed.remedy()).count();
        assert_eq!(told, 1, "{}", once.stdout);
        let _ = once.says("refs/gastown/wip/slit/");
        let retry = on("retry no-such-rig/slit --wait=done --timeout 4m");
        let _ = shell.run(&retry).await.succeeds();
        let twice = shell.run(&on("describe no-such-rig/slit")).await.succeeds();
        let (_, attempts) = twice.stdout.split_once("Attempts:\n").unwrap();
        let lines: Vec<_> = attempts.lines().map(str::trim_start).collect();
        for (number, outcome) in [("1 ", "AgentFailed"), ("2 ", "Delivered")] {
            let found = lines
                .iter()
                .any(|line| line.starts_with(number) && line.contains(outcome));
            assert!(found, "attempt {number}{outcome} is not in\n{}", twice.stdout);
        }
    })
    .await;
}

/// What the agent is to prove: that it has the skill, the hook has run, and the settings hold.
const SEES: &str = r#"
turns:
  - say: Is there a skill for this?
    tool:
      name: Skill
      input: {skill: review}
  - matches: ride shiny and chrome
    say: The skill speaks. Now the settings, the nested notes and the hook.
    tool:
      name: Bash
      input:
        description: Look at settings and skills
        command: |
          set -e
          cat ~/.claude/skills/review/deep/er/notes.md
          { echo "motto: $TOWN_MOTTO"; cat ~/.claude/CLAUDE.md; find ~/.claude/skills ~/.claude/hooks -type f | sed "s|$HOME||" | sort; } > seen.txt
          test -e /tmp/hook-ran && echo "the hook ran" >> seen.txt
          git add seen.txt && git commit -q -m "Say what I see"
  - say: Done.
"#;

/// A folder as Claude Code leaves it: nested skills, a transcript of 3 MiB, a loop of links, an unreadable file.
fn claude_folder(world: &World, shell: &Shell) {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let at = |path: &str| shell.home().join(".claude").join(path);
    let write = |path: &str, bytes: &[u8]| drop(shell.write(&format!(".claude/{path}"), bytes));
    let credentials =
        json!({"claudeAiOauth": {"accessToken": world.keys.model, "expiresAt": 4_102_444_800_000_u64}});
    write(".credentials.json", credentials.to_string().as_bytes());
    let hook =
        json!({"matcher": "Skill", "hooks": [{"type": "command", "command": "~/.claude/hooks/ran.sh"}]});
    let settings = json!({"env": {"TOWN_MOTTO": "witness me"}, "hooks": {"PostToolUse": [hook]}});
    write("settings.json", settings.to_string().as_bytes());
    write("CLAUDE.md", b"Be kind to the calculator.\n");
    write(
        "skills/review/SKILL.md",
        b"---\nname: review\ndescription: Reviews a change as the town does\n---\nYou ride shiny and chrome.\n",
    );
    write("skills/review/deep/er/notes.md", b"nested notes\n");
    write("skills/review/locked.md", b"nobody reads this\n");
    write("hooks/ran.sh", b"#!/bin/sh\ntouch /tmp/hook-ran\n");
    write("projects/-home-me/session.jsonl", &vec![b'x'; 3 * 1024 * 1024]);
    write("history.jsonl", b"{}\n");
    let mode = std::fs::Permissions::from_mode;
    std::fs::set_permissions(at("hooks/ran.sh"), mode(0o755)).unwrap();
    std::fs::set_permissions(at("skills/review/locked.md"), mode(0o000)).unwrap();
    symlink(at("skills"), at("skills/review/loop")).unwrap();
}

#[tokio::test]
async fn the_agent_sees_the_skill_and_settings_that_were_synced_and_nothing_else() {
    with_world("plugin-claude", async |world: &World| {
        let remote = world.testbed().await;
        let shell = Shell::open();
        git_credentials(world, &shell).await;
        claude_folder(world, &shell);
        // Root reads any file; without these two capabilities it is a user as others are.
        let sync = format!(
            "setpriv --bounding-set=-dac_override,-dac_read_search kubectl gt auth sync --yes -n {}",
            world.namespace
        );
        let synced = shell.run(&sync).await.succeeds();
        for (path, why) in [
            ("projects", "transcripts and history never leave"),
            ("history.jsonl", "transcripts and history never leave"),
            ("skills/review/loop", "leads back"),
            ("skills/review/locked.md", "cannot be read: Permission denied"),
        ] {
            let told = synced.stderr.lines().any(|line| line.contains(path) && line.contains(why));
            assert!(told, "{path}: {why:?} is not in\n{}", synced.stderr);
        }
        remote.put_script("sees", SEES).await;
        world.sling(polecat("toast", "sees")).await;
        world.ends("toast", PolecatPhase::Done).await;
        let refs = remote.refs().await;
        let branch = refs.keys().find(|name| name.contains("toast")).unwrap();
        let files = remote.files(&refs[branch]).await;
        let seen = String::from_utf8_lossy(&files["seen.txt"].bytes).into_owned();
        assert_eq!(
            seen,
            "motto: witness me\nBe kind to the calculator.\n/.claude/hooks/ran.sh\n/.claude/skills/review/SKILL.md\n/.claude/skills/review/deep/er/notes.md\nthe hook ran\n"
        );
        let log = world.words("toast", "claude").await;
        assert!(log.contains("nested notes"), "{log}");
    })
    .await;
}
