use std::path::PathBuf;

use super::*;
use crate::testing::{commit_file, order, upstream};
use crate::workspace::PROMPT_FILE;
use polecat_common::git::Git;

struct Pod {
    folder: tempfile::TempDir,
    url: String,
}

fn pod() -> Pod {
    let folder = tempfile::tempdir().unwrap();
    let url = upstream(folder.path());
    std::fs::create_dir(folder.path().join("workspace")).unwrap();
    std::fs::create_dir(folder.path().join("home")).unwrap();
    Pod { folder, url }
}

impl Pod {
    fn prepare_workspace(&self, order: &WorkOrder) -> Result<(), Prepare> {
        let at = |name: &str| self.folder.path().join(name);
        prepare_workspace(order, &self.url, &at("workspace"), &at("home"))
    }

    fn clone(&self) -> PathBuf {
        self.folder.path().join("workspace/repo")
    }

    fn prompt(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("home").join(PROMPT_FILE)).unwrap()
    }
}

#[test]
fn a_new_work_branch_starts_at_the_base_with_full_history() {
    let pod = pod();
    pod.prepare_workspace(&order()).unwrap();
    let git = Git::at(pod.clone());
    assert_eq!(
        git.text(&["symbolic-ref", "HEAD"]).unwrap(),
        "refs/heads/polecat/furiosa/gt-1@m1"
    );
    assert_eq!(git.text(&["rev-list", "--count", "HEAD"]).unwrap(), "2");
    assert_eq!(
        git.text(&["rev-parse", "--is-shallow-repository"]).unwrap(),
        "false"
    );
    assert_eq!(
        git.text(&["config", "user.email"]).unwrap(),
        "furiosa@demo.gastown.invalid"
    );
    assert!(pod.clone().join("calculator.py").exists());
    assert!(pod.folder.path().join("home/.claude.json").exists());
}

#[test]
fn author_and_committer_are_those_of_the_manifest() {
    let pod = pod();
    let mut order = order();
    let person = |name: &str| {
        serde_json::from_value(serde_json::json!({"name": name, "email": format!("{name}@x.org")}))
    };
    order.role.git.author = person("jane").unwrap();
    order.role.git.committer = person("bot").unwrap();
    pod.prepare_workspace(&order).unwrap();
    let git = Git::at(pod.clone());
    git.run(&["commit", "--quiet", "--allow-empty", "--message=x"])
        .unwrap();
    let people = git.text(&["log", "-1", "--format=%an <%ae> %cn <%ce>"]).unwrap();
    assert_eq!(people, "jane <jane@x.org> bot <bot@x.org>");
}

#[test]
fn only_local_state_of_agents_is_ignored_by_name() {
    let pod = pod();
    pod.prepare_workspace(&order()).unwrap();
    let git = Git::at(pod.clone());
    let added = |name: &str| {
        let path = pod.clone().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
        git.run(&["add", "--", name]).is_ok()
    };
    for work in [
        ".claude/commands/test.md",
        ".claude/settings.json",
        ".claude/agents/reviewer.md",
        "docs/.claude/settings.local.json",
        "src/.runtime/x.rs",
    ] {
        assert!(added(work), "{work}");
    }
    for state in [
        ".claude/settings.local.json",
        ".claude/worktrees/a/x",
        ".runtime/x",
        "src/__pycache__/x.pyc",
        "CLAUDE.local.md",
    ] {
        assert!(!added(state), "{state}");
    }
}

#[test]
fn a_work_branch_that_exists_is_gone_on_with() {
    let pod = pod();
    let upstream = Git::at(pod.url.as_str());
    upstream
        .run(&["branch", "polecat/furiosa/gt-1@m1", "main~1"])
        .unwrap();
    pod.prepare_workspace(&order()).unwrap();
    let git = Git::at(pod.clone());
    assert_eq!(git.text(&["rev-list", "--count", "HEAD"]).unwrap(), "1");
    let tracked = git.text(&["rev-parse", "--abbrev-ref", "@{upstream}"]).unwrap();
    assert_eq!(tracked, "origin/polecat/furiosa/gt-1@m1");
}

#[test]
fn a_later_attempt_starts_at_the_first_ones_base() {
    let pod = pod();
    let first = Git::at(pod.url.as_str()).text(&["rev-parse", "main~1"]).unwrap();
    let mut order = order();
    order.role.git.base = Some(first.parse().unwrap());
    pod.prepare_workspace(&order).unwrap();
    assert_eq!(Git::at(pod.clone()).text(&["rev-parse", "HEAD"]).unwrap(), first);
    order.role.git.base = Some("a".repeat(40).parse().unwrap());
    std::fs::remove_dir_all(pod.clone()).unwrap();
    let error = pod.prepare_workspace(&order).unwrap_err();
    assert!(error.to_string().contains("no longer on branch"), "{error}");
}

#[test]
fn a_run_after_an_interrupted_one_starts_over_and_a_run_after_a_good_one_keeps_all() {
    let pod = pod();
    let partial = pod.folder.path().join("workspace/.clone");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("half"), "x").unwrap();
    pod.prepare_workspace(&order()).unwrap();
    assert!(!partial.exists() && !pod.clone().join("half").exists());
    std::fs::write(pod.clone().join("work"), "x").unwrap();
    commit_file(&pod.clone(), "mine.txt", b"mine", "Work");
    pod.prepare_workspace(&order()).unwrap();
    assert!(pod.clone().join("work").exists() && pod.clone().join("mine.txt").exists());
}

#[test]
fn a_base_branch_that_is_missing_is_named() {
    let pod = pod();
    let mut order = order();
    order.role.git.base_branch = "trunk".parse().unwrap();
    let error = pod.prepare_workspace(&order).unwrap_err();
    assert_eq!(error.reason(), Reason::BranchNotFound);
    assert!(error.to_string().contains("trunk"), "{error}");
}

#[test]
fn a_bead_gives_the_task() {
    let pod = pod();
    let mut order = order();
    order.role.task = None;
    order.role.bead = Some("gt-1".to_owned());
    let error = pod.prepare_workspace(&order).unwrap_err();
    assert_eq!(error.reason(), Reason::BeadTextMissing);
    assert!(
        error.to_string().contains("\"gt-1\"") && error.to_string().contains("spec.task.description"),
        "{error}"
    );
    let line = br#"{"id":"gt-1","title":"Fix add","description":"It subtracts."}"#;
    commit_file(&pod.clone(), ".beads/issues.jsonl", line, "Add bead");
    pod.prepare_workspace(&order).unwrap();
    let prompt = pod.prompt();
    for part in [
        "Bead gt-1: Fix add",
        "It subtracts.",
        "polecat/furiosa/gt-1@m1",
        "git push origin HEAD",
        ".github/workflows/",
    ] {
        assert!(prompt.contains(part), "{part}: {prompt}");
    }
}

#[test]
fn a_task_with_a_bead_names_both() {
    let pod = pod();
    let mut order = order();
    order.role.bead = Some("gt-1".to_owned());
    pod.prepare_workspace(&order).unwrap();
    assert!(pod.prompt().contains("Make add add.") && pod.prompt().contains("Bead gt-1"));
    order.role.task = None;
    order.role.bead = None;
    assert_eq!(
        pod.prepare_workspace(&order).unwrap_err().reason(),
        Reason::BeadTextMissing
    );
}
