//! Work that is not in the clone's own work tree: linked work trees, and clones that were moved, replaced or copied.

use super::resume::resumed;
use super::*;

pub fn git(folder: &Path) -> Git {
    Git::at(folder)
        .config("user.name=x")
        .config("user.email=x@x.invalid")
}

pub fn status(folder: &Path) -> String {
    Git::at(folder).text(&["status", "--porcelain"]).unwrap()
}

#[test]
fn a_linked_work_tree_in_an_ignored_folder_is_saved_and_made_again() {
    let pod = pod_with(&[
        (".gitignore", b".claude/\n"),
        ("lib/x.py", b"x\n"),
        ("lib/y.py", b"y\n"),
    ]);
    let path = ".claude/worktrees/agent-a1";
    git(&pod.tree())
        .run(&["worktree", "add", "--quiet", path, "-b", "worktree-agent-a1"])
        .unwrap();
    let tree = pod.tree().join(path);
    assert_eq!(
        nothing(pod.take()),
        "the work tree equals the branch on the remote"
    );
    commit_file(&tree, "committed", b"1", "Committed there");
    fs::write(tree.join("new_module.py"), "print()\n").unwrap();
    fs::write(tree.join("lib/x.py"), "changed\r\n").unwrap();
    fs::remove_file(tree.join("lib/y.py")).unwrap();
    pod.save();
    assert_eq!(nothing(pod.take()), "the last snapshot holds it all");
    let (again, report) = resumed(&pod, |_| ());
    assert_eq!(status(&again), "", "the clone's own work tree is as the branch");
    assert!(
        report.contains(path) && report.contains(r#""left_out":[]"#),
        "{report}"
    );
    let tree = again.join(path);
    assert_eq!(status(&tree), " M lib/x.py\n D lib/y.py\n?? new_module.py");
    assert_eq!(fs::read(tree.join("lib/x.py")).unwrap(), b"changed\r\n");
    let branch = Git::at(&tree).text(&["symbolic-ref", "--short", "HEAD"]).unwrap();
    assert_eq!(branch, "worktree-agent-a1");
    assert_eq!(fs::read(tree.join("committed")).unwrap(), b"1");
}

#[test]
fn a_linked_work_tree_outside_of_the_clone_is_saved_by_its_changes_alone() {
    let pod = pod();
    let outside = pod.folder.path().join("tmp/outside");
    fs::create_dir_all(outside.parent().unwrap()).unwrap();
    git(&pod.tree())
        .run(&[
            "worktree",
            "add",
            "--quiet",
            "--detach",
            outside.to_str().unwrap(),
        ])
        .unwrap();
    commit_file(&outside, "detached", b"1", "Detached");
    fs::create_dir_all(outside.join(".github/workflows")).unwrap();
    fs::write(outside.join(".github/workflows/ci.yml"), "ci\n").unwrap();
    pod.save();
    let saved = pod.saved();
    assert_eq!(
        saved[&b"gastown-held/work-trees/1/.github/workflows/ci.yml"[..]].1,
        b"ci\n"
    );
    assert!(!saved.contains_key(&b"gastown-held/work-trees/1/README"[..]));
    fs::remove_dir_all(&outside).unwrap();
    let (_, report) = resumed(&pod, |_| ());
    assert!(report.contains("outside"), "{report}");
    assert_eq!(status(&outside), "?? .github/");
    assert_eq!(fs::read(outside.join("detached")).unwrap(), b"1");
}

#[test]
fn a_linked_work_tree_whose_repository_is_gone_is_saved() {
    for (gone, place) in [
        (".git", "tmp/outside"),
        (".git", "workspace/repo/.claude/worktrees/w1"),
        (".git/worktrees", "tmp/outside"),
    ] {
        let pod = pod_with(&[(".gitignore", b".claude/\n")]);
        let tree = pod.folder.path().join(place);
        git(&pod.tree())
            .run(&["worktree", "add", "--quiet", "-b", "side", tree.to_str().unwrap()])
            .unwrap();
        fs::write(tree.join("precious"), "hours").unwrap();
        fs::remove_dir_all(pod.tree().join(gone)).unwrap();
        pod.save();
        let saved = pod.saved();
        let file = saved.get(&b"gastown-held/work-trees/1/precious"[..]);
        assert_eq!(
            file.map(|file| &file.1[..]),
            Some(&b"hours"[..]),
            "{gone} {place}"
        );
        let (_, report) = resumed(&pod, |_| ());
        assert!(report.contains("work-trees/1"), "{report}");
    }
}

#[test]
fn files_of_a_work_tree_whose_commits_cannot_be_saved_are_saved() {
    let pod = pod();
    let outside = pod.folder.path().join("tmp/outside");
    git(&pod.tree())
        .run(&[
            "worktree",
            "add",
            "--quiet",
            "-b",
            "side",
            outside.to_str().unwrap(),
        ])
        .unwrap();
    commit_file(&outside, "gone", b"gone", "First");
    let blob = Git::at(&outside).text(&["hash-object", "gone"]).unwrap();
    fs::remove_file(outside.join("gone")).unwrap();
    fs::write(outside.join("precious"), "hours").unwrap();
    git(&outside).run(&["add", "--all"]).unwrap();
    git(&outside).run(&["commit", "--quiet", "-m", "Second"]).unwrap();
    let object = pod.tree().join(".git/objects").join(&blob[..2]).join(&blob[2..]);
    fs::remove_file(object).unwrap();
    pod.save();
    let saved = pod.saved();
    assert_eq!(saved[&b"gastown-held/work-trees/1/precious"[..]].1, b"hours");
    assert!(pod.message().contains("could not be saved"), "{}", pod.message());
}

#[test]
fn what_is_left_out_of_a_work_tree_without_other_changes_is_said() {
    let mut pod = pod();
    pod.order.role.git.max_push_bytes = 1 << 20;
    let outside = pod.folder.path().join("tmp/outside");
    git(&pod.tree())
        .run(&[
            "worktree",
            "add",
            "--quiet",
            "-b",
            "side",
            outside.to_str().unwrap(),
        ])
        .unwrap();
    fs::write(outside.join("large"), vec![1; 2 << 20]).unwrap();
    let left_out = match pod.take().unwrap() {
        Outcome::Saved { left_out, .. } | Outcome::Nothing { left_out, .. } => left_out,
        Outcome::NoClone => panic!("no clone"),
    };
    assert!(
        left_out.paths == 1 && left_out.named[0].contains("outside/large"),
        "{left_out:?}"
    );
}

#[test]
fn a_linked_work_tree_that_is_not_ignored_is_no_part_of_the_clones_own() {
    let pod = pod();
    git(&pod.tree())
        .run(&["worktree", "add", "--quiet", "beside", "-b", "beside"])
        .unwrap();
    assert_eq!(
        nothing(pod.take()),
        "the work tree equals the branch on the remote"
    );
    fs::write(pod.tree().join("beside/new"), "x").unwrap();
    pod.save();
    assert!(!pod.saved().contains_key(&b"beside/new"[..]));
    let (again, _) = resumed(&pod, |_| ());
    assert_eq!(status(&again.join("beside")), "?? new");
}

#[test]
fn a_clone_that_was_moved_away_is_found() {
    let pod = pod();
    let work = pod.tree();
    pod.write("precious.txt", "hours");
    git(&work).run(&["checkout", "--quiet", "-b", "side"]).unwrap();
    git(&work).run(&["add", "precious.txt"]).unwrap();
    git(&work)
        .run(&["commit", "--quiet", "-m", "Hours of work"])
        .unwrap();
    pod.write("uncommitted.txt", "more");
    fs::rename(&work, pod.workspace().join("repo.old")).unwrap();
    pod.save();
    let (again, report) = resumed(&pod, |_| ());
    assert!(report.contains("side"), "{report}");
    assert_eq!(status(&again), "?? precious.txt\n?? uncommitted.txt");
}

#[test]
fn a_clone_whose_repository_was_broken_before_it_was_moved_is_found() {
    for broken in ["HEAD", "config", "index"] {
        let pod = pod();
        pod.write("precious.txt", "hours");
        fs::write(pod.tree().join(".git").join(broken), "garbage\n").unwrap();
        fs::rename(pod.tree(), pod.workspace().join("repo.old")).unwrap();
        pod.take()
            .unwrap_or_else(|error| panic!("{broken}: {}", polecat_common::console::explain(&error)));
        assert_eq!(pod.saved()[&b"precious.txt"[..]].1, b"hours", "{broken}");
        let (again, _) = resumed(&pod, |_| ());
        assert_eq!(status(&again), "?? precious.txt", "{broken}");
    }
}

#[test]
fn a_copy_beside_a_new_clone_is_saved_with_its_commits() {
    let pod = pod();
    let work = pod.tree();
    commit_file(&work, "precious.txt", b"hours", "Hours of work");
    pod.write("uncommitted.txt", "more");
    let old = pod.workspace().join("repo.old");
    fs::rename(&work, &old).unwrap();
    Git::at(pod.workspace())
        .run(&["clone", "--quiet", &pod.url, "repo"])
        .unwrap();
    pod.save();
    fs::remove_dir_all(&old).unwrap();
    let (again, report) = resumed(&pod, |_| ());
    assert_eq!(status(&again), "", "the new clone had no changes");
    assert!(
        report.contains("repo.old") && report.contains("copies/1"),
        "{report}"
    );
    assert_eq!(status(&old), "?? uncommitted.txt");
    assert_eq!(fs::read(old.join("precious.txt")).unwrap(), b"hours");
}

#[test]
fn a_clone_behind_a_symbolic_link_is_saved() {
    let pod = pod();
    let moved = pod.folder.path().join("tmp/moved");
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(pod.tree(), &moved).unwrap();
    symlink(&moved, pod.tree()).unwrap();
    fs::write(moved.join("new"), "x").unwrap();
    pod.save();
    assert_eq!(pod.saved()[&b"new"[..]].1, b"x");
}

#[test]
fn a_clone_that_is_gone_is_not_taken_for_one_that_has_nothing_to_save() {
    let pod = pod();
    pod.store
        .refresh(Instant::now() + Duration::from_secs(10))
        .unwrap();
    fs::remove_dir_all(pod.tree()).unwrap();
    assert_eq!(pod.take().unwrap(), Outcome::NoClone);
    fs::create_dir(pod.workspace().join(".clone")).unwrap();
    assert_eq!(
        pod.take().unwrap(),
        Outcome::NoClone,
        "one that is being made is none yet"
    );
}
