mod left_behind;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::testing::{clone_of, commit_file, order, upstream};

struct Pod {
    folder: tempfile::TempDir,
    url: String,
    order: WorkOrder,
}

fn pod() -> Pod {
    let folder = tempfile::tempdir().unwrap();
    let url = upstream(folder.path());
    let order = order();
    clone_of(&url, &folder.path().join("repo"), &order);
    Pod { folder, url, order }
}

impl Pod {
    fn clone(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn deliver(&self, well: bool) -> Delivery {
        self.deliver_within(Duration::from_secs(30), well)
    }

    fn deliver_within(&self, within: Duration, well: bool) -> Delivery {
        let context = Context {
            order: &self.order,
            repository: &self.clone(),
            url: &self.url,
            within,
            reread: &|| (),
        };
        context.deliver(well)
    }

    /// The files of the work branch upstream.
    fn delivered_files(&self) -> String {
        let work = self.order.role.git.work_branch.full();
        Git::at(self.url.as_str())
            .text(&["ls-tree", "-r", "--name-only", &work])
            .unwrap()
    }

    fn upstream_tip(&self) -> Option<String> {
        let work = self.order.role.git.work_branch.full();
        Git::at(self.url.as_str())
            .text(&["rev-parse", "--quiet", "--verify", &work])
            .ok()
    }

    fn git(&self) -> Git {
        Git::at(self.clone())
    }
}

#[test]
fn an_agent_that_changed_nothing_pushes_nothing() {
    let pod = pod();
    let delivery = pod.deliver(true);
    assert!(
        !delivery.pushed && !delivery.failed && delivery.notes.is_empty(),
        "{delivery:?}"
    );
    assert!(delivery.local_head.is_some());
    assert_eq!(pod.upstream_tip(), None);
}

#[test]
fn commits_are_pushed_even_if_the_agent_failed() {
    let pod = pod();
    commit_file(&pod.clone(), "a", b"1", "Work");
    fs::write(pod.clone().join("b"), "left").unwrap();
    let delivery = pod.deliver(false);
    assert!(delivery.pushed, "{delivery:?}");
    assert_eq!(pod.upstream_tip(), delivery.local_head.map(String::from));
    assert!(
        pod.git()
            .text(&["status", "--porcelain"])
            .unwrap()
            .contains("?? b")
    );
}

#[test]
fn leftovers_of_an_agent_that_ended_well_are_committed_without_its_hooks() {
    let pod = pod();
    let hooks = pod.clone().join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for name in ["pre-commit", "pre-push", "commit-msg"] {
        fs::write(hooks.join(name), "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(hooks.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(pod.clone().join(".git/index.lock"), "").unwrap();
    fs::write(pod.clone().join("calculator.py"), "fixed\n").unwrap();
    fs::write(pod.clone().join("new"), "x").unwrap();
    fs::create_dir_all(pod.clone().join("__pycache__")).unwrap();
    fs::write(pod.clone().join("__pycache__/x.pyc"), "x").unwrap();
    let delivery = pod.deliver(true);
    assert!(delivery.pushed, "{delivery:?}");
    let names = Git::at(pod.url.as_str())
        .text(&[
            "diff",
            "--name-only",
            "main",
            &pod.order.role.git.work_branch.full(),
        ])
        .unwrap();
    assert_eq!(names, "calculator.py\nnew");
    let who = pod.git().text(&["log", "-1", "--format=%an %ae %s"]).unwrap();
    assert_eq!(
        who,
        "furiosa furiosa@demo.gastown.invalid chore: save what furiosa left uncommitted"
    );
}

#[test]
fn leftovers_are_those_of_the_clone_wherever_its_configuration_leads() {
    for setting in [
        ("core.worktree", ".."),
        ("core.bare", "true"),
        ("core.worktree", "/tmp"),
    ] {
        let pod = pod();
        // Git checked it out into another folder, if at all; `..` is seen from the git directory.
        if setting.1 == "/tmp" {
            fs::remove_file(pod.clone().join("calculator.py")).unwrap();
        }
        fs::write(pod.clone().join("new"), "x").unwrap();
        pod.git().run(&["config", setting.0, setting.1]).unwrap();
        let delivery = pod.deliver(true);
        assert!(delivery.pushed, "{setting:?}: {delivery:?}");
        let work = pod.order.role.git.work_branch.full();
        let names = Git::at(pod.url.as_str()).text(&["diff", "--name-status", "main", &work]);
        assert_eq!(names.unwrap(), "A\tnew", "{setting:?}");
    }
}

#[test]
fn leftovers_of_denied_paths_are_left_out() {
    let pod = pod();
    fs::create_dir_all(pod.clone().join(".github/workflows")).unwrap();
    fs::write(pod.clone().join(".github/workflows/ci.yml"), "x").unwrap();
    let delivery = pod.deliver(true);
    assert!(
        !delivery.pushed && delivery.left[0].contains("may not be pushed"),
        "{delivery:?}"
    );
    fs::write(pod.clone().join("ok"), "x").unwrap();
    assert!(pod.deliver(true).pushed);
    let tree = pod.git().text(&["ls-tree", "-r", "--name-only", "HEAD"]).unwrap();
    assert!(!tree.contains(".github") && tree.contains("ok"), "{tree}");
}

/// A host that refuses what `condition`, a shell expression over `$new`, says.
fn refusing(pod: &Pod, condition: &str) {
    let hook = PathBuf::from(&pod.url).join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let script = format!(
        "#!/bin/sh\nread -r old new ref\nif {condition}; then echo 'GH001: too large' >&2; exit 1; fi\n"
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
}

const HAS_CORE: &str = "git ls-tree -r --name-only $new | grep -q core";

#[test]
fn a_refused_leftover_leaves_the_agents_own_commit_delivered() {
    let pod = pod();
    refusing(&pod, HAS_CORE);
    commit_file(&pod.clone(), "a", b"1", "Work");
    let own = pod.git().text(&["rev-parse", "HEAD"]).unwrap();
    fs::write(pod.clone().join("core.4711"), "large").unwrap();
    fs::write(pod.clone().join("staged"), "x").unwrap();
    pod.git().run(&["add", "staged"]).unwrap();
    let before = pod.git().text(&["status", "--porcelain"]).unwrap();
    let delivery = pod.deliver(true);
    assert!(delivery.pushed && !delivery.failed, "{delivery:?}");
    assert_eq!(pod.upstream_tip(), Some(own.clone()));
    assert_eq!(delivery.local_head.clone().map(String::from), Some(own.clone()));
    let left = delivery.left.join("; ");
    assert!(
        left.contains("core.4711, staged") && left.contains("GH001"),
        "{left}"
    );
    assert_eq!(pod.git().text(&["rev-parse", "HEAD"]).unwrap(), own);
    assert_eq!(
        pod.git().text(&["status", "--porcelain"]).unwrap(),
        before,
        "as the agent left it"
    );
    assert!(!pod.clone().join(".git/index.leftovers").exists());
}

#[test]
fn refused_leftovers_of_an_agent_that_committed_nothing_fail_the_end() {
    let pod = pod();
    refusing(&pod, HAS_CORE);
    fs::write(pod.clone().join("core.4711"), "large").unwrap();
    let delivery = pod.deliver(true);
    assert!(delivery.failed && !delivery.pushed, "{delivery:?}");
    assert_eq!(pod.upstream_tip(), None);
}

#[test]
fn leftovers_wait_where_the_agents_own_commit_is_refused() {
    let pod = pod();
    refusing(&pod, "true");
    commit_file(&pod.clone(), "a", b"1", "Work");
    let own = pod.git().text(&["rev-parse", "HEAD"]).unwrap();
    fs::write(pod.clone().join("b"), "left").unwrap();
    let delivery = pod.deliver(true);
    assert!(delivery.failed, "{delivery:?}");
    assert_eq!(pod.git().text(&["rev-parse", "HEAD"]).unwrap(), own);
}

#[test]
fn a_denied_path_in_other_letters_keeps_no_other_leftover_back() {
    let pod = pod();
    fs::create_dir_all(pod.clone().join(".GitHub/Workflows")).unwrap();
    fs::write(pod.clone().join(".GitHub/Workflows/ci.yml"), "x").unwrap();
    fs::write(pod.clone().join("ok"), "x").unwrap();
    let delivery = pod.deliver(true);
    assert!(
        delivery.pushed && delivery.left[0].contains(".GitHub/"),
        "{delivery:?}"
    );
    let tree = pod.git().text(&["ls-tree", "-r", "--name-only", "HEAD"]).unwrap();
    assert!(!tree.contains(".GitHub") && tree.contains("ok"), "{tree}");
}

#[test]
fn a_push_that_does_not_end_in_time_counts_if_the_remote_has_moved() {
    let pod = pod();
    let hook = PathBuf::from(&pod.url).join("hooks/post-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nsleep 60\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    commit_file(&pod.clone(), "a", b"1", "Work");
    let delivery = pod.deliver_within(Duration::from_secs(6), false);
    assert!(delivery.pushed && !delivery.failed, "{delivery:?}");
}

#[test]
fn an_index_that_is_a_pipe_holds_nothing_up() {
    let pod = pod();
    commit_file(&pod.clone(), "a", b"1", "Work");
    fs::write(pod.clone().join("left"), "x").unwrap();
    let index = pod.clone().join(".git/index");
    fs::remove_file(&index).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&index).status().unwrap();
    assert!(made.success());
    let started = Instant::now();
    let delivery = pod.deliver_within(Duration::from_secs(6), true);
    assert!(delivery.pushed && !delivery.left.is_empty(), "{delivery:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_refused_push_fails_the_end_with_the_words_of_the_host() {
    let pod = pod();
    let hook = PathBuf::from(&pod.url).join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho no such thing >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    commit_file(&pod.clone(), "a", b"1", "Work");
    let delivery = pod.deliver(true);
    assert!(delivery.failed && !delivery.pushed);
    assert!(delivery.notes[0].contains("no such thing"), "{delivery:?}");
}

#[test]
fn what_the_agent_pushed_itself_counts_as_pushed() {
    let pod = pod();
    commit_file(&pod.clone(), "a", b"1", "Work");
    pod.git().run(&["push", "--quiet", &pod.url, "HEAD"]).unwrap();
    assert!(pod.deliver(true).pushed);
}
