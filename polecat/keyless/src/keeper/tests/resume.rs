//! What a later attempt finds of a snapshot.

use super::*;

/// What a later attempt finds when it starts from what this pod saved.
pub(super) fn resumed(pod: &Pod, change: impl FnOnce(&Git)) -> (PathBuf, String) {
    let sha = pod.upstream().text(&["rev-parse", WIP]).unwrap();
    // As the broker serves it.
    pod.upstream()
        .run(&["update-ref", gastown_api::pod::RESUME_REF, &sha])
        .unwrap();
    change(&pod.upstream());
    let mut order = order();
    order.attempt = 2;
    order.role.git.resume = Some(gastown_api::work_order::ResumeOrder {
        name: WIP.to_owned(),
        sha: sha.parse().unwrap(),
    });
    let again = tempfile::tempdir_in(pod.folder.path()).unwrap().keep();
    crate::clone::prepare_repository(&order, &pod.url, &again);
    let report = fs::read_to_string(again.join("repo/.git/gastown-resumed.json")).unwrap();
    (again.join("repo"), report)
}

#[test]
fn a_later_attempt_starts_from_the_snapshot_byte_for_byte() {
    let pod = pod_with(&[
        (".github/workflows/ci.yml", b"old\n"),
        (".gitlab-ci.yml", b"gone\n"),
        ("text.txt", b"unix\n"),
        ("folder/file", b"x"),
        ("link", b"a file"),
    ]);
    pod.write("new", [0, 255, 10, 13]);
    pod.write("calculator.py", "changed\r\n");
    pod.write("text.txt", "dos\r\n");
    pod.write(
        ".gitattributes",
        "* text=auto eol=lf ident filter=evil working-tree-encoding=UTF-16\n",
    );
    pod.write("ident.txt", "$Id$\n");
    pod.write("run.sh", "#!/bin/sh\n");
    fs::set_permissions(pod.tree().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(pod.tree().join(path_of(b"odd \xff\n\"\\\x01name")), "odd").unwrap();
    symlink("/nowhere", pod.tree().join("dangling")).unwrap();
    fs::remove_file(pod.tree().join("README")).unwrap();
    fs::remove_file(pod.tree().join(".gitlab-ci.yml")).unwrap();
    fs::remove_dir_all(pod.tree().join("folder")).unwrap();
    symlink("/etc", pod.tree().join("folder")).unwrap();
    fs::remove_file(pod.tree().join("link")).unwrap();
    pod.write("link/below", "y");
    pod.write(".github/workflows/ci.yml", "new\n");
    pod.write(".github/workflows/more.yml", "more\n");
    pod.write("sub/.gitmodules", "[submodule \"x\"]\n\turl = -evil\n");
    pod.write("gastown-held/mine", "mine\n");
    fs::create_dir(pod.tree().join("nested")).unwrap();
    Git::at(pod.tree().join("nested"))
        .run(&["init", "--quiet"])
        .unwrap();
    commit_file(&pod.tree().join("nested"), "inside", b"in\n", "Nested");
    pod.save();
    let left = pod.on_disk();
    let (again, report) = resumed(&pod, |_| ());
    let found = Pod {
        folder: tempfile::tempdir().unwrap(),
        url: pod.url.clone(),
        order: order(),
        store: pod.store,
    };
    fs::create_dir(found.workspace()).unwrap();
    fs::rename(&again, found.tree()).unwrap();
    assert_eq!(found.on_disk(), left);
    assert!(report.contains(r#""left_out":[]"#), "{report}");
    let git = Git::at(found.tree());
    assert_eq!(
        git.text(&["symbolic-ref", "HEAD"]).unwrap(),
        "refs/heads/polecat/furiosa/gt-1@m1"
    );
    assert_eq!(
        git.text(&["rev-parse", "HEAD"]).unwrap(),
        git.text(&["rev-parse", "origin/main"]).unwrap()
    );
    let status = git
        .text(&["-c", "core.quotePath=true", "status", "--porcelain"])
        .unwrap();
    assert!(
        status.contains(" D README") && status.contains("?? new"),
        "{status}"
    );
}

#[test]
fn commits_never_pushed_are_on_their_branches_again() {
    let pod = pod();
    let git = Git::at(pod.tree())
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    commit_file(&pod.tree(), "mine", b"1", "Mine");
    let mine = git.text(&["rev-parse", "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "-b", "side"]).unwrap();
    commit_file(&pod.tree(), "side", b"side", "Side");
    let side = git.text(&["rev-parse", "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "-"]).unwrap();
    pod.write("mine", "stashed");
    git.run(&["stash", "push", "--quiet"]).unwrap();
    pod.write("mine", "2");
    pod.save();
    let (again, report) = resumed(&pod, |_| ());
    let git = Git::at(&again);
    assert_eq!(git.text(&["rev-parse", "HEAD"]).unwrap(), mine);
    assert_eq!(git.text(&["rev-parse", "side"]).unwrap(), side);
    assert_eq!(git.text(&["show", "stash@{0}:mine"]).unwrap(), "stashed");
    assert_eq!(git.text(&["status", "--porcelain"]).unwrap(), " M mine");
    assert_eq!(fs::read(again.join("mine")).unwrap(), b"2");
    assert!(!again.join("gastown-held").exists());
    assert!(
        report.contains("side") && report.contains("the stash"),
        "{report}"
    );
}

#[test]
fn a_branch_whose_name_is_no_text_is_there_again() {
    let pod = pod();
    let name = OsStr::from_bytes(b"refs/heads/odd-\xff");
    let git = Git::at(pod.tree());
    commit_file(&pod.tree(), "mine", b"1", "Mine");
    let mine = git.text(&["rev-parse", "HEAD"]).unwrap();
    git.run(&["update-ref".as_ref(), name, mine.as_ref()]).unwrap();
    git.run(&["reset", "--quiet", "--hard", "HEAD~1"]).unwrap();
    pod.save();
    let message = pod.message();
    assert!(message.contains(r#""refs/heads/odd-\377""#), "{message}");
    let (again, report) = resumed(&pod, |_| ());
    let found = Git::at(&again).text(&["rev-parse".as_ref(), name]).unwrap();
    assert_eq!(found, mine, "{report}");
}

#[test]
fn deletions_that_the_snapshot_does_not_name_are_said_to_be_left_out() {
    let pod = pod();
    pod.write("new", "x");
    pod.save();
    let words = format!(
        "wip\n\n{}:\n  \"README\"\n  and 7 more\n",
        crate::snapshot::message::DELETED
    );
    let again = |git: &Git| {
        let git = [
            "GIT_AUTHOR_NAME",
            "GIT_AUTHOR_EMAIL",
            "GIT_COMMITTER_NAME",
            "GIT_COMMITTER_EMAIL",
        ]
        .iter()
        .fold(git.clone(), |git, name| git.env(name, "x"));
        let tree = format!("{WIP}^{{tree}}");
        let commit = git
            .text(&["commit-tree", "-p", "main", "-m", &words, &tree])
            .unwrap();
        git.run(&["update-ref", gastown_api::pod::RESUME_REF, &commit])
            .unwrap();
    };
    let (again, report) = resumed(&pod, again);
    assert!(again.join("new").exists() && !again.join("README").exists());
    assert!(
        report.contains("7 deletions of paths that no push may change"),
        "{report}"
    );
}

#[test]
fn what_the_branch_has_changed_since_is_not_undone() {
    let pod = pod();
    pod.write("calculator.py", "half");
    pod.write("new", "x");
    pod.save();
    let git = Git::at(pod.tree())
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    pod.write("calculator.py", "whole");
    git.run(&["add", "calculator.py"]).unwrap();
    git.run(&["commit", "--quiet", "-m", "Whole"]).unwrap();
    git.run(&["push", "--quiet", &pod.url, "HEAD"]).unwrap();
    let (again, report) = resumed(&pod, |_| ());
    assert_eq!(fs::read(again.join("calculator.py")).unwrap(), b"whole");
    assert_eq!(fs::read(again.join("new")).unwrap(), b"x");
    assert_eq!(
        Git::at(&again).text(&["status", "--porcelain"]).unwrap(),
        "?? new"
    );
    assert!(
        report.contains("calculator.py: the branch has a newer version"),
        "{report}"
    );
}

#[test]
fn a_snapshot_that_is_gone_does_not_stop_an_attempt_and_one_without_a_message_is_restored() {
    let pod = pod();
    pod.write("new", "x");
    pod.save();
    let gone = |git: &Git| {
        git.run(&["update-ref", "-d", gastown_api::pod::RESUME_REF])
            .map(drop)
            .unwrap();
    };
    let (again, report) = resumed(&pod, gone);
    assert!(again.join("README").exists() && !again.join("new").exists());
    assert!(report.contains(r#""found":false"#), "{report}");
    let tree = pod
        .upstream()
        .text(&["rev-parse", &format!("{WIP}^{{tree}}")])
        .unwrap();
    let git = pod
        .upstream()
        .env("GIT_AUTHOR_NAME", "x")
        .env("GIT_AUTHOR_EMAIL", "x")
        .env("GIT_COMMITTER_NAME", "x");
    let git = git.env("GIT_COMMITTER_EMAIL", "x");
    let plain = git
        .text(&["commit-tree", "-p", "main", "-m", "by hand", &tree])
        .unwrap();
    let by_hand = |git: &Git| {
        git.run(&["update-ref", gastown_api::pod::RESUME_REF, &plain])
            .map(drop)
            .unwrap();
    };
    let (again, _) = resumed(&pod, by_hand);
    assert_eq!(fs::read(again.join("new")).unwrap(), b"x");
}
