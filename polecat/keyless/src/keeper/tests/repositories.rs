//! Repositories that the agent changed: begun anew, moved apart, with submodules, stashes, and commits without a branch.

use super::elsewhere::{git, status};
use super::resume::resumed;
use super::*;

#[test]
fn a_repository_that_was_begun_anew_keeps_what_changed() {
    let pod = pod();
    fs::remove_dir_all(pod.tree().join(".git")).unwrap();
    pod.write("new", "x");
    git(&pod.tree()).run(&["init", "--quiet"]).unwrap();
    git(&pod.tree()).run(&["add", "."]).unwrap();
    git(&pod.tree())
        .run(&["commit", "--quiet", "-m", "All anew"])
        .unwrap();
    pod.save();
    let (again, _) = resumed(&pod, |_| ());
    assert_eq!(status(&again), "?? new");
}

#[test]
fn a_git_directory_that_was_moved_apart_is_read() {
    let pod = pod();
    commit_file(&pod.tree(), "committed", b"1", "Never pushed");
    let apart = pod.workspace().join("git-dir");
    git(&pod.tree())
        .run(&["init", "--quiet", "--separate-git-dir", apart.to_str().unwrap()])
        .unwrap();
    pod.write("new", "x");
    assert!(!lacks_something(pod.take()), "{}", pod.message());
    let (again, _) = resumed(&pod, |_| ());
    assert_eq!(status(&again), "?? new");
    assert_eq!(fs::read(again.join("committed")).unwrap(), b"1");
}

#[test]
fn a_filled_submodule_stays_one_and_its_changes_are_saved() {
    let pod = pod();
    let seed = pod.folder.path().join("library");
    fs::create_dir(&seed).unwrap();
    Git::at(&seed).run(&["init", "--quiet"]).unwrap();
    commit_file(&seed, "lib.py", b"lib\n", "Library");
    let add = ["submodule", "--quiet", "add", seed.to_str().unwrap(), "lib"];
    git(&pod.tree())
        .config("protocol.file.allow=always")
        .run(&add)
        .unwrap();
    git(&pod.tree())
        .run(&["commit", "--quiet", "-m", "Submodule"])
        .unwrap();
    git(&pod.tree())
        .run(&["push", "--quiet", &pod.url, "HEAD"])
        .unwrap();
    assert_eq!(
        nothing(pod.take()),
        "the work tree equals the branch on the remote"
    );
    // Commits of the submodule build on one that no later clone has, and must not spoil those of the clone.
    commit_file(&pod.tree().join("lib"), "more.py", b"more\n", "More");
    git(&pod.tree())
        .run(&["checkout", "--quiet", "-b", "side"])
        .unwrap();
    commit_file(&pod.tree(), "side", b"side", "Side");
    git(&pod.tree()).run(&["checkout", "--quiet", "-"]).unwrap();
    pod.write("lib/lib.py", "changed\n");
    pod.write("new", "x");
    pod.save();
    let saved = pod.saved();
    assert_eq!(saved[&b"lib"[..]].0, "160000");
    assert_eq!(saved[&b"gastown-held/work-trees/1/lib.py"[..]].1, b"changed\n");
    let (again, report) = resumed(&pod, |_| ());
    assert_eq!(status(&again), "?? new");
    assert!(report.contains("work-trees/1"), "{report}");
    let git = Git::at(&again);
    assert_eq!(git.text(&["show", "side:side"]).unwrap(), "side", "{report}");
    let found = git.text(&["log", "--all", "--format=%s"]).unwrap();
    assert!(found.contains("More"), "{found}\n{report}");
}

#[test]
fn every_stash_entry_and_tag_is_saved_and_there_again_in_its_order() {
    let pod = pod();
    for number in ["1", "2", "3"] {
        pod.write("README", number);
        git(&pod.tree()).run(&["stash", "push", "--quiet"]).unwrap();
    }
    let commit = git(&pod.tree())
        .text(&["commit-tree", "-m", "Loose", "HEAD^{tree}"])
        .unwrap();
    git(&pod.tree())
        .run(&["tag", "-a", "-m", "Tag", "v1", &commit])
        .unwrap();
    pod.save();
    let (again, _) = resumed(&pod, |_| ());
    let git = Git::at(&again);
    for (entry, content) in [("stash@{0}", "3"), ("stash@{1}", "2"), ("stash@{2}", "1")] {
        assert_eq!(git.text(&["show", &format!("{entry}:README")]).unwrap(), content);
    }
    assert_eq!(git.text(&["rev-parse", "v1^{commit}"]).unwrap(), commit);
}

#[test]
fn commits_without_a_branch_that_were_left_are_saved_and_amended_ones_are_not() {
    let pod = pod();
    let git = git(&pod.tree());
    git.run(&["checkout", "--quiet", "--detach"]).unwrap();
    commit_file(&pod.tree(), "experiment", b"1", "Experiment");
    let left = git.text(&["rev-parse", "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "polecat/furiosa/gt-1@m1"])
        .unwrap();
    pod.save();
    let (again, report) = resumed(&pod, |_| ());
    assert!(report.contains("gastown-unpushed/detached/"), "{report}");
    let found = Git::at(again).run(&[
        "merge-base",
        "--is-ancestor",
        &left,
        "gastown-unpushed/detached/0",
    ]);
    assert!(found.is_ok());
    let pod = super::pod();
    commit_file(&pod.tree(), "a", b"1", "Draft");
    let git = super::elsewhere::git(&pod.tree());
    git.run(&["commit", "--quiet", "--amend", "-m", "Final"]).unwrap();
    git.run(&["push", "--quiet", &pod.url, "HEAD"]).unwrap();
    assert_eq!(
        nothing(pod.take()),
        "the work tree equals the branch on the remote"
    );
}

#[test]
fn what_git_checked_out_into_another_folder_is_not_deleted_in_the_clone() {
    for per_work_tree in [false, true] {
        let pod = pod();
        commit_file(&pod.tree(), "later", b"1", "Later");
        git(&pod.tree()).run(&["checkout", "--quiet", "HEAD~1"]).unwrap();
        let other = pod.folder.path().join("tmp/other");
        fs::create_dir_all(&other).unwrap();
        let other = other.to_str().unwrap();
        if per_work_tree {
            git(&pod.tree())
                .run(&["config", "extensions.worktreeConfig", "true"])
                .unwrap();
            git(&pod.tree())
                .run(&["config", "--worktree", "core.worktree", other])
                .unwrap();
        } else {
            git(&pod.tree()).run(&["config", "core.worktree", other]).unwrap();
        }
        git(&pod.tree()).run(&["checkout", "--quiet", "-"]).unwrap();
        assert!(!pod.tree().join("later").exists());
        pod.write("new", "x");
        pod.save();
        let (again, _) = resumed(&pod, |_| ());
        assert_eq!(status(&again), "?? new");
        assert_eq!(fs::read(again.join("later")).unwrap(), b"1");
    }
}

#[test]
fn a_work_tree_that_was_added_as_if_it_were_a_submodule_is_not_deleted_on_resuming() {
    for (committed, changed) in [(true, true), (true, false), (false, true), (false, false)] {
        let pod = pod();
        git(&pod.tree())
            .run(&["worktree", "add", "--quiet", "beside", "-b", "beside"])
            .unwrap();
        git(&pod.tree()).run(&["add", "--all"]).unwrap();
        if committed {
            git(&pod.tree())
                .run(&["commit", "--quiet", "-m", "All of it"])
                .unwrap();
        }
        if changed {
            fs::write(pod.tree().join("beside/new"), "x").unwrap();
        }
        pod.write("precious", "hours");
        pod.save();
        let (again, report) = resumed(&pod, |_| ());
        let expected = match (committed, changed) {
            (true, true) => " M beside\n?? precious",
            (false, true) => "?? beside/\n?? precious",
            (_, false) => "?? precious",
        };
        assert_eq!(status(&again), expected, "{committed} {changed}: {report}");
    }
}
