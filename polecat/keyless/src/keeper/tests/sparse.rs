//! Absent is not deleted: work trees of which only a part is checked out, or another commit.

use super::resume::resumed;
use super::*;

fn pod_of_a_large_repository() -> Pod {
    pod_with(&[
        ("src/a.py", b"a\n"),
        ("src/deep/b.py", b"b\n"),
        ("docs/guide.md", b"guide\n"),
        ("docs/old.md", b"old\n"),
        ("assets/logo.svg", b"<svg/>\n"),
    ])
}

fn git(pod: &Pod) -> Git {
    Git::at(pod.tree())
        .config("user.name=x")
        .config("user.email=x@x.invalid")
}

/// What a later attempt finds changed, as `git status` says it.
fn changed_for_the_next(pod: &Pod) -> String {
    let (again, report) = resumed(pod, |_| ());
    assert!(report.contains(r#""left_out":[]"#), "{report}");
    Git::at(again).text(&["status", "--porcelain"]).unwrap()
}

#[test]
fn what_a_sparse_checkout_leaves_out_is_not_deleted() {
    for narrow in [
        &["sparse-checkout", "set", "--cone", "src"][..],
        &["sparse-checkout", "set", "--cone", "--sparse-index", "src"],
        &["sparse-checkout", "set", "--no-cone", "/src/*"],
    ] {
        let pod = pod_of_a_large_repository();
        git(&pod).run(narrow).unwrap();
        assert!(!pod.tree().join("docs/guide.md").exists());
        pod.write("src/a.py", "changed\n");
        fs::remove_file(pod.tree().join("src/deep/b.py")).unwrap();
        pod.save();
        let saved = pod.saved();
        assert_eq!(saved[&b"docs/guide.md"[..]].1, b"guide\n");
        assert!(!saved.contains_key(&b"src/deep/b.py"[..]));
        assert_eq!(changed_for_the_next(&pod), " M src/a.py\n D src/deep/b.py");
    }
}

#[test]
fn a_file_marked_by_hand_as_not_checked_out_is_not_deleted() {
    for mark in ["--skip-worktree", "--assume-unchanged"] {
        let pod = pod_of_a_large_repository();
        git(&pod).run(&["update-index", mark, "docs/guide.md"]).unwrap();
        fs::remove_file(pod.tree().join("docs/guide.md")).unwrap();
        fs::remove_file(pod.tree().join("docs/old.md")).unwrap();
        pod.save();
        assert_eq!(changed_for_the_next(&pod), " D docs/old.md", "{mark}");
    }
}

#[test]
fn nothing_is_to_be_saved_of_a_sparse_checkout_without_changes() {
    let pod = pod_of_a_large_repository();
    git(&pod)
        .run(&["sparse-checkout", "set", "--cone", "src"])
        .unwrap();
    assert_eq!(
        nothing(pod.take()),
        "the work tree equals the branch on the remote"
    );
}

#[test]
fn commits_outside_of_the_cone_that_were_never_pushed_are_not_undone() {
    let pod = pod_of_a_large_repository();
    commit_file(&pod.tree(), "docs/guide.md", b"better\n", "Guide");
    commit_file(&pod.tree(), "docs/new.md", b"new\n", "New");
    git(&pod)
        .run(&["sparse-checkout", "set", "--cone", "src"])
        .unwrap();
    pod.write("src/a.py", "changed\n");
    pod.save();
    let (again, _) = resumed(&pod, |_| ());
    assert_eq!(
        Git::at(&again).text(&["status", "--porcelain"]).unwrap(),
        " M src/a.py"
    );
    assert_eq!(fs::read(again.join("docs/guide.md")).unwrap(), b"better\n");
    assert_eq!(fs::read(again.join("docs/new.md")).unwrap(), b"new\n");
}

#[test]
fn a_file_too_large_to_save_is_not_deleted_and_its_commit_not_undone() {
    let mut pod = pod_of_a_large_repository();
    pod.order.role.git.max_push_bytes = 1_000_000;
    commit_file(&pod.tree(), "model.bin", &vec![7; 2_000_000], "Model");
    commit_file(&pod.tree(), "docs/guide.md", &vec![8; 2_000_000], "Guide");
    pod.write("src/a.py", "changed\n");
    pod.save();
    let (again, _) = resumed(&pod, |_| ());
    assert_eq!(
        Git::at(&again).text(&["status", "--porcelain"]).unwrap(),
        " M src/a.py"
    );
    assert_eq!(fs::read(again.join("model.bin")).unwrap().len(), 2_000_000);
}

#[test]
fn without_an_index_no_missing_file_counts_as_deleted_and_that_is_said() {
    let pod = pod_of_a_large_repository();
    fs::remove_file(pod.tree().join(".git/index")).unwrap();
    fs::remove_dir_all(pod.tree().join("docs")).unwrap();
    pod.write("src/a.py", "changed\n");
    assert!(lacks_something(pod.take()));
    assert!(
        pod.message().contains("deleted is not known"),
        "{}",
        pod.message()
    );
    assert_eq!(changed_for_the_next(&pod), " M src/a.py");
}

#[test]
fn without_an_index_new_files_in_the_place_of_missing_ones_are_saved() {
    let pod = pod_of_a_large_repository();
    fs::remove_file(pod.tree().join(".git/index")).unwrap();
    fs::remove_file(pod.tree().join("src/a.py")).unwrap();
    pod.write("src/a.py/new", "below a file's name\n");
    fs::remove_dir_all(pod.tree().join("docs")).unwrap();
    pod.write("docs", "a file in a folder's place\n");
    assert!(lacks_something(pod.take()));
    let (again, _) = resumed(&pod, |_| ());
    assert_eq!(
        fs::read(again.join("src/a.py/new")).unwrap(),
        b"below a file's name\n"
    );
    assert_eq!(
        fs::read(again.join("docs")).unwrap(),
        b"a file in a folder's place\n"
    );
    assert!(again.join("assets/logo.svg").exists());
}

#[test]
fn an_older_commit_that_was_checked_out_undoes_no_newer_one() {
    let pod = pod_of_a_large_repository();
    // As in the middle of `git bisect`.
    git(&pod)
        .run(&["checkout", "--quiet", "--detach", "HEAD~3"])
        .unwrap();
    assert_eq!(
        nothing(pod.take()),
        "the work tree equals the commit that is checked out, which is on the remote"
    );
    pod.write("src/a.py", "changed\n");
    fs::remove_file(pod.tree().join("README")).unwrap();
    pod.save();
    assert_eq!(changed_for_the_next(&pod), " D README\n M src/a.py");
}

#[test]
fn a_branch_beside_the_work_branch_undoes_nothing_of_it() {
    let pod = pod_of_a_large_repository();
    let start = git(&pod).text(&["rev-parse", "HEAD~2"]).unwrap();
    commit_file(&pod.tree(), "mine", b"mine\n", "Mine");
    git(&pod)
        .run(&["checkout", "--quiet", "-b", "side", &start])
        .unwrap();
    commit_file(&pod.tree(), "side", b"side\n", "Side");
    pod.write("src/a.py", "changed\n");
    pod.save();
    let (again, report) = resumed(&pod, |_| ());
    assert_eq!(
        Git::at(&again).text(&["status", "--porcelain"]).unwrap(),
        " M src/a.py"
    );
    assert_eq!(fs::read(again.join("mine")).unwrap(), b"mine\n");
    assert!(report.contains("side"), "{report}");
}

#[test]
fn a_branch_without_history_deletes_nothing_of_the_work_branch() {
    let pod = pod_of_a_large_repository();
    let git = git(&pod);
    git.run(&["checkout", "--quiet", "--orphan", "pages"]).unwrap();
    git.run(&["rm", "--quiet", "-rf", "."]).unwrap();
    pod.write("index.html", "<html/>\n");
    pod.save();
    assert_eq!(changed_for_the_next(&pod), "?? index.html");
    git.run(&["add", "."]).unwrap();
    git.run(&["commit", "--quiet", "-m", "Pages"]).unwrap();
    pod.save();
    assert_eq!(changed_for_the_next(&pod), "?? index.html");
}
