//! What is not delivered: other branches and work trees, unfinished merges, nested repositories.

use super::*;

#[test]
fn commits_on_another_branch_are_reported_and_not_delivered() {
    let pod = pod();
    pod.git().run(&["checkout", "--quiet", "-b", "mine"]).unwrap();
    commit_file(&pod.clone(), "a", b"1", "Work");
    fs::write(pod.clone().join("left"), "x").unwrap();
    let delivery = pod.deliver(true);
    assert!(!delivery.pushed && !delivery.failed, "{delivery:?}");
    assert!(
        delivery.left[0].contains("refs/heads/mine is checked out"),
        "{delivery:?}"
    );
    assert!(
        delivery.left[1].contains("1 commit on mine was not"),
        "{delivery:?}"
    );
    pod.git().run(&["checkout", "--quiet", "--detach"]).unwrap();
    commit_file(&pod.clone(), "b", b"1", "Detached");
    let notes = pod.deliver(true).left;
    assert!(
        notes.iter().any(|note| note.contains("1 commit on HEAD was not")),
        "{notes:?}"
    );
}

#[test]
fn what_stands_in_linked_work_trees_is_named_and_not_delivered() {
    let pod = pod();
    let add = |arguments: &[&str]| {
        pod.git()
            .run(&[&["worktree", "add", "--quiet"], arguments].concat())
            .unwrap()
    };
    let clone = pod.clone();
    let outside = pod.folder.path().join("outside");
    fs::write(clone.join(".git/info/exclude"), "/.claude/\n").unwrap();
    // As Claude Code's `EnterWorktree` makes it, and locked as it is while the session lasts.
    add(&[".claude/worktrees/fix-add", "-b", "worktree-fix-add", "--lock"]);
    add(&[".claude/worktrees/clean", "--detach"]);
    add(&[".claude/worktrees/gone", "--detach"]);
    add(&[outside.to_str().unwrap(), "--detach"]);
    let ignored = clone.join(".claude/worktrees/fix-add");
    fs::write(ignored.join("calculator.py"), "fixed\n").unwrap();
    fs::write(ignored.join("new"), "x").unwrap();
    commit_file(&outside, "a", b"1", "Work on no branch");
    fs::remove_dir_all(clone.join(".claude/worktrees/gone")).unwrap();
    let delivery = pod.deliver(true);
    assert!(
        delivery.notes.is_empty() && !delivery.pushed && !delivery.failed,
        "{delivery:?}"
    );
    let work = &pod.order.role.git.work_branch;
    let outside = outside.display();
    let expected = [
        format!("1 commit on no branch, in the work tree {outside}, was not delivered: only {work} is"),
        "uncommitted changes in the work tree .claude/worktrees/fix-add (2 in all) were not delivered"
            .to_owned(),
    ];
    assert_eq!(delivery.left, expected);
    fs::write(ignored.join(".git"), "gitdir: /nowhere\n").unwrap();
    let notes = pod.deliver(true).notes;
    assert!(notes[0].contains("fix-add could not be read"), "{notes:?}");
}

#[test]
fn an_unfinished_merge_is_not_committed() {
    let pod = pod();
    commit_file(&pod.clone(), "a", b"1", "Ours");
    pod.git()
        .run(&["checkout", "--quiet", "-b", "other", "HEAD~1"])
        .unwrap();
    commit_file(&pod.clone(), "a", b"2", "Theirs");
    pod.git()
        .run(&["checkout", "--quiet", pod.order.role.git.work_branch.as_str()])
        .unwrap();
    let merge = pod
        .git()
        .config("user.name=x")
        .config("user.email=x@x.invalid")
        .run(&["merge", "--quiet", "other"]);
    assert!(merge.is_err());
    let delivery = pod.deliver(true);
    assert!(delivery.left[0].contains("a merge is unfinished"), "{delivery:?}");
    assert!(delivery.pushed);
}

#[test]
fn a_filter_that_hangs_ends_with_the_time() {
    let pod = pod();
    fs::write(pod.clone().join(".gitattributes"), "* filter=slow\n").unwrap();
    pod.git()
        .run(&["config", "filter.slow.clean", "sleep 60"])
        .unwrap();
    let started = Instant::now();
    let delivery = pod.deliver_within(Duration::from_secs(6), true);
    assert!(delivery.left[0].contains("was killed"), "{delivery:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn repositories_inside_of_the_clone_are_no_leftovers_and_keep_none_back() {
    let pod = pod();
    let git = pod.git().config("user.name=x").config("user.email=x@x.invalid");
    git.run(&["worktree", "add", "--quiet", "linked", "-b", "linked"])
        .unwrap();
    for name in ["nested", "folder/empty"] {
        fs::create_dir_all(pod.clone().join(name)).unwrap();
        Git::at(pod.clone().join(name)).run(&["init", "--quiet"]).unwrap();
    }
    commit_file(&pod.clone().join("nested"), "inside", b"x", "Nested");
    fs::write(pod.clone().join("folder/new"), "new").unwrap();
    let delivery = pod.deliver(true);
    assert!(delivery.pushed, "{delivery:?}");
    let left = delivery.left.join("; ");
    assert!(left.contains("folder/empty") && left.contains("linked"), "{left}");
    assert_eq!(pod.delivered_files(), "README\ncalculator.py\nfolder/new");
}

#[test]
fn leftovers_outside_of_a_sparse_checkout_are_delivered_and_nothing_there_is_deleted() {
    let pod = pod();
    commit_file(&pod.clone(), "docs/guide", b"guide", "Guide");
    pod.git()
        .run(&["sparse-checkout", "set", "--cone", "src"])
        .unwrap();
    for name in ["src/new", "docs/new"] {
        fs::create_dir_all(pod.clone().join(name).parent().unwrap()).unwrap();
        fs::write(pod.clone().join(name), "new").unwrap();
    }
    let delivery = pod.deliver(true);
    assert!(delivery.pushed && delivery.left.is_empty(), "{delivery:?}");
    assert_eq!(
        pod.delivered_files(),
        "README\ncalculator.py\ndocs/guide\ndocs/new\nsrc/new"
    );
}

#[test]
fn without_an_index_nothing_is_committed() {
    let pod = pod();
    fs::write(pod.clone().join("new"), "new").unwrap();
    fs::remove_file(pod.clone().join(".git/index")).unwrap();
    let delivery = pod.deliver(true);
    assert!(
        !delivery.pushed && delivery.left[0].contains("no index"),
        "{delivery:?}"
    );
}
