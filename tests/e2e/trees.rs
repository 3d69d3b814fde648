//! Work trees that are not the plain one that `git-init` made: interrupted, saved, and gone on with by a second attempt.

use std::collections::BTreeMap;

use gastown_api::condition::WORK_MAY_BE_LOST;
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::harness::{Entry, Remote, World, condition, polecat, stand_in, with_world};
use serde_json::json;

/// In a second attempt the script ends at once, so that what it found is delivered.
const RESUMED: &str =
    "if [ -e .git/gastown-resumed.json ]; then git status --short; git worktree list; exit 0; fi\n";

/// Runs `script` until it says `ready`, stops it, and starts a second attempt, which is Done; gives the polecat, the ref
/// of the first attempt's snapshot, and the files of the branch.
async fn interrupted(
    world: &World,
    remote: &Remote,
    name: &str,
    script: &str,
) -> (Polecat, String, BTreeMap<String, Entry>) {
    world
        .sling(stand_in(
            name,
            &format!("set -e\n{RESUMED}{script}\necho ready\nsleep 1000\n"),
        ))
        .await;
    world.log_holds(name, "claude", "ready").await;
    let wanted = |phase: &str| json!({"spec": {"desiredState": phase}});
    world.patch::<Polecat>(name, wanted("Idle")).await;
    let is_idle = |polecat: &Polecat| phase_of(polecat) == Some(PolecatPhase::Idle);
    let idle = world.polecat_until(name, "it is Idle", is_idle).await;
    let saved = idle
        .status
        .unwrap()
        .wip
        .unwrap_or_else(|| panic!("nothing was saved of {name}"));
    assert_eq!(remote.sha(&saved.name).await, saved.sha);
    world.patch::<Polecat>(name, wanted("Working")).await;
    let polecat = world.ends(name, PolecatPhase::Done).await;
    let branch = polecat.status.clone().unwrap().branch.unwrap();
    let head = remote.sha(&format!("refs/heads/{branch}")).await;
    (polecat, saved.name, remote.files(&head).await)
}

fn phase_of(polecat: &Polecat) -> Option<PolecatPhase> {
    polecat.status.as_ref().and_then(|status| status.phase)
}

#[tokio::test]
async fn an_interrupted_sparse_checkout_is_delivered_with_all_that_it_left_out() {
    with_world("sparse", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let main = remote.sha("refs/heads/main").await;
        let project = remote.files(&main).await;
        let script = "git sparse-checkout set --no-cone /calculator.py; echo '# changed' >> calculator.py; test ! -e README.md";
        let (_, _, files) = interrupted(world, &remote, "nux", script).await;
        assert_eq!(files.keys().collect::<Vec<_>>(), project.keys().collect::<Vec<_>>());
        assert!(files["calculator.py"].bytes.ends_with(b"# changed\n"));
    })
    .await;
}

#[tokio::test]
async fn a_clone_that_was_moved_away_is_saved_and_gone_on_with() {
    with_world("moved", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let script = "echo hours > precious.txt; git checkout -qb side; git add precious.txt; git commit -qm 'Hours of work'; \
                      echo more > uncommitted.txt; cd ..; mv repo repo.old";
        let (_, _, files) = interrupted(world, &remote, "slit", script).await;
        assert_eq!(files["precious.txt"].bytes, b"hours\n");
        assert_eq!(files["uncommitted.txt"].bytes, b"more\n");
    })
    .await;
}

#[tokio::test]
async fn work_in_a_linked_work_tree_is_saved_named_and_there_again() {
    with_world("linked", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let script = "printf '.claude/\\n' >> .gitignore; git commit -qam 'Ignore'; git push -q origin HEAD; \
                      git worktree add -q .claude/worktrees/agent-a1 -b worktree-agent-a1; cd .claude/worktrees/agent-a1; \
                      echo 'print(1)' > new_module.py; echo '# changed' >> calculator.py";
        let (polecat, first, _) = interrupted(world, &remote, "morsov", script).await;
        let wip = polecat.status.unwrap().wip.unwrap();
        assert_ne!(wip.name, first, "the second attempt found the work tree, and saved it again");
        let files = remote.files(&wip.sha).await;
        let saved: Vec<_> = files.iter().filter(|(path, _)| path.starts_with("gastown-held/work-trees/")).collect();
        assert_eq!(saved.len(), 2, "{:?}", files.keys());
        assert!(saved.iter().any(|(_, entry)| entry.bytes == b"print(1)\n"));
    })
    .await;
}

/// A model that works in a work tree of its own, by Claude Code's tool for it, and goes on as `then` says.
fn in_a_work_tree(change: &str, then: &str) -> String {
    format!(
        r#"
turns:
  - say: I'll work in a worktree.
    tool:
      name: EnterWorktree
      input: {{name: fix-add}}
  - say: Fixing.
    tool:
      name: Bash
      input: {{command: "pwd; {change}; echo 'half way' there", description: Fix}}
  - {then}
"#
    )
}

/// The fix of the model above.
const FIX: &str = "sed -i 's/return a - b/return a + b/' calculator.py; echo 'print(1)' > new_module.py";

fn may_be_lost(polecat: &Polecat) -> bool {
    condition(polecat, WORK_MAY_BE_LOST).is_some_and(|(holds, _, _)| holds)
}

/// The files of the snapshot that the object names.
async fn saved_files(remote: &Remote, name: &str, polecat: &Polecat) -> BTreeMap<String, Entry> {
    let status = polecat.status.as_ref().unwrap();
    let saved = status.wip.as_ref();
    let saved = saved.unwrap_or_else(|| panic!("{name}: nothing is saved: {:?}", status.conditions));
    assert_eq!(remote.sha(&saved.name).await, saved.sha, "{name}");
    remote.files(&saved.sha).await
}

#[tokio::test]
async fn work_by_the_agents_own_tool_for_work_trees_is_saved_and_said() {
    with_world("enter-worktree", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let commit = format!("{FIX}; git add -A; git commit -qm 'Fix add'");
        for (name, change, then) in [
            ("open", FIX, "hang: true"),
            ("left", FIX, "say: Fixed."),
            ("committed", commit.as_str(), "say: Fixed."),
        ] {
            remote.put_script(name, &in_a_work_tree(change, then)).await;
            world.sling(polecat(name, name)).await;
        }
        // In the work tree the tool keeps git from every other folder, and from names that it cannot read: one leaves it
        // to merge, or pushes from there.
        let leave = "tool: {name: ExitWorktree, input: {action: keep}}\n  \
                     - tool: {name: Bash, input: {command: 'git merge -q worktree-fix-add', description: Merge}}\n  - say: Fixed.";
        let push = "tool: {name: Bash, input: {command: 'git push -q origin HEAD:refs/heads/work/pushed', description: Push}}\n  \
                    - say: Fixed.";
        for (name, then) in [("merged", leave), ("pushed", push)] {
            remote.put_script(name, &in_a_work_tree(&commit, then)).await;
            let mut object = polecat(name, name);
            object["spec"]["kubernetes"]["workBranch"] = json!(format!("work/{name}"));
            world.sling(object).await;
        }
        let uncommitted = |name: &str, files: &BTreeMap<String, Entry>| {
            let held: Vec<_> = files
                .iter()
                .filter(|(path, _)| path.starts_with("gastown-held/work-trees/"))
                .collect();
            assert_eq!(held.len(), 2, "{name}: {:?}", files.keys());
            assert!(
                held.iter().any(|(_, entry)| entry.bytes == b"print(1)\n"),
                "{name}"
            );
        };
        let open = async {
            let log = world.log_holds("open", "claude", "half way there").await;
            assert!(log.contains(".claude/worktrees/fix-add"), "{log}");
            world
                .patch::<Polecat>("open", json!({"spec": {"desiredState": "Idle"}}))
                .await;
            let is_idle = |polecat: &Polecat| phase_of(polecat) == Some(PolecatPhase::Idle);
            let polecat = world.polecat_until("open", "it is Idle", is_idle).await;
            uncommitted("open", &saved_files(&remote, "open", &polecat).await);
        };
        let left = async {
            let (polecat, message) = world.is_stuck("left", "NothingChanged").await;
            assert!(
                message.contains("work tree .claude/worktrees/fix-add (2 in all)"),
                "{message}"
            );
            assert!(!may_be_lost(&polecat));
            uncommitted("left", &saved_files(&remote, "left", &polecat).await);
        };
        let committed = async {
            let (polecat, message) = world.is_stuck("committed", "NothingChanged").await;
            eprintln!(
                "committed: {message}; {:?}",
                condition(&polecat, WORK_MAY_BE_LOST)
            );
            let files = saved_files(&remote, "committed", &polecat).await;
            let bundle = "gastown-held/unpushed.bundle";
            assert!(files.contains_key(bundle), "{:?}", files.keys());
            let sha = polecat.status.unwrap().wip.unwrap().sha;
            let branch = "refs/heads/worktree-fix-add";
            let module = remote.file_in_bundle(&sha, bundle, branch, "new_module.py").await;
            assert_eq!(module, b"print(1)\n");
        };
        let delivered = async |name: &str| {
            let polecat = world.ends(name, PolecatPhase::Done).await;
            assert!(!may_be_lost(&polecat), "{name}");
            let files = remote.files(&polecat.status.unwrap().head.unwrap()).await;
            assert_eq!(files["new_module.py"].bytes, b"print(1)\n", "{name}");
        };
        tokio::join!(open, left, committed, delivered("merged"), delivered("pushed"));
    })
    .await;
}
