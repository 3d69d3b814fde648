//! What may not be pushed as it is, and is saved beside the work.

use super::*;
use crate::keeper::bundle::MAX_REFS;

#[test]
fn paths_that_no_push_may_touch_are_held() {
    let pod = pod_with(&[(".github/workflows/ci.yml", b"old\n"), (".gitmodules", b"")]);
    pod.write(".github/workflows/ci.yml", "new\n");
    pod.write(".github/workflows/more.yml", "more\n");
    pod.write(".gitmodules", "[submodule \"x\"]\n\turl = -evil\n");
    pod.write("sub/.gitattributes", format!("{} text\n", "x".repeat(5000)));
    pod.write("gastown-held/mine", "mine\n");
    pod.save();
    let saved = pod.saved();
    let content = |name: &str| String::from_utf8_lossy(&saved[name.as_bytes()].1).into_owned();
    assert_eq!(content(".github/workflows/ci.yml"), "old\n");
    assert!(!saved.contains_key(&b".github/workflows/more.yml"[..]));
    assert!(!saved.contains_key(&b"sub/.gitattributes"[..]));
    assert_eq!(content("gastown-held-1/.github/workflows/ci.yml"), "new\n");
    assert_eq!(content("gastown-held-1/.github/workflows/more.yml"), "more\n");
    assert_eq!(content("gastown-held/mine"), "mine\n");
    assert!(content("gastown-held-1/.gitmodules.held").contains("-evil"));
    assert!(content("gastown-held-1/sub/.gitattributes.held").starts_with("xxx"));
    assert_eq!(content(".gitmodules"), "");
    fs::remove_dir_all(pod.tree().join(".github")).unwrap();
    symlink("elsewhere", pod.tree().join(".github")).unwrap();
    pod.save();
    let saved = pod.saved();
    assert_eq!(saved[&b"gastown-held-1/.github"[..]].0, "120000");
    assert_eq!(saved[&b".github/workflows/ci.yml"[..]].1, b"old\n");
}

#[test]
fn commits_never_pushed_are_bundled() {
    let pod = pod();
    let git = Git::at(pod.tree())
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    commit_file(&pod.tree(), "pushed", b"1", "Pushed");
    git.run(&["push", "--quiet", &pod.url, "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "-b", "side"]).unwrap();
    commit_file(&pod.tree(), "side", b"side", "Side");
    let side = git.text(&["rev-parse", "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "-"]).unwrap();
    pod.write("pushed", "stashed");
    git.run(&["stash", "push", "--quiet"]).unwrap();
    pod.save();
    let bundle = pod.folder.path().join("bundle");
    fs::write(&bundle, &pod.saved()[&b"gastown-held/unpushed.bundle"[..]].1).unwrap();
    let fresh = pod.folder.path().join("fresh");
    Git::at(pod.folder.path())
        .run(&["clone", "--quiet", "upstream.git", "fresh"])
        .unwrap();
    let heads = Git::at(&fresh)
        .text(&["ls-remote", bundle.to_str().unwrap()])
        .unwrap();
    assert!(
        heads.contains(&format!("{side}\trefs/heads/side")) && heads.contains("refs/stash"),
        "{heads}"
    );
    Git::at(&fresh)
        .run(&["fetch", "--quiet", bundle.to_str().unwrap(), "refs/heads/side"])
        .unwrap();
    assert_eq!(nothing(pod.take()), "the last snapshot holds it all");
}

#[test]
fn a_last_snapshot_of_what_was_delivered_holds_nothing_back_any_more() {
    let pod = pod();
    commit_file(&pod.tree(), "a", b"1", "A");
    let first = pod.save();
    assert!(pod.saved().contains_key(&b"gastown-held/unpushed.bundle"[..]));
    Git::at(pod.tree())
        .run(&["push", "--quiet", &pod.url, "HEAD"])
        .unwrap();
    assert_eq!(
        nothing(pod.take()),
        "the work tree equals the branch on the remote"
    );
    assert!(!pod.saved().contains_key(&b"gastown-held/unpushed.bundle"[..]));
    let parent = pod.upstream().text(&["rev-parse", &format!("{WIP}~1")]).unwrap();
    assert_eq!(parent, first.to_string());
    let work = "refs/heads/polecat/furiosa/gt-1@m1";
    let tree = |name: &str| {
        pod.upstream()
            .text(&["rev-parse", &format!("{name}^{{tree}}")])
            .unwrap()
    };
    assert_eq!(tree(WIP), tree(work));
}

/// What the bundle on the remote has, as bytes.
fn bundled(pod: &Pod) -> Vec<u8> {
    let bundle = pod.folder.path().join("bundle");
    fs::write(&bundle, &pod.saved()[&b"gastown-held/unpushed.bundle"[..]].1).unwrap();
    let list = ["bundle".as_ref(), "list-heads".as_ref(), bundle.as_os_str()];
    Git::at(pod.folder.path()).run(&list).unwrap()
}

fn has(heads: &[u8], name: &[u8]) -> bool {
    heads
        .split(|byte| *byte == b'\n')
        .any(|line| line.ends_with(name))
}

/// A commit of the agent's that is on no branch.
fn loose_commit(pod: &Pod) -> String {
    let git = Git::at(pod.tree());
    git.run(&["checkout", "--quiet", "--detach"]).unwrap();
    commit_file(&pod.tree(), "loose", b"1", "Loose");
    let commit = git.text(&["rev-parse", "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "-"]).unwrap();
    commit
}

#[test]
fn commits_on_more_branches_than_are_held_are_counted() {
    let pod = pod();
    let commit = loose_commit(&pod);
    let git = Git::at(pod.tree());
    let create = |numbers: std::ops::Range<usize>| {
        let lines: Vec<String> = numbers
            .map(|number| format!("create refs/heads/many/{number} {commit}\n"))
            .collect();
        git.feed(&["update-ref", "--stdin"], lines.concat().as_bytes())
            .unwrap();
    };
    create(0..MAX_REFS);
    pod.save();
    let count = |pod: &Pod| bundled(pod).split(|byte| *byte == b'\n').count() - 1;
    assert_eq!(count(&pod), MAX_REFS);
    assert!(!pod.message().contains("more refs"), "{}", pod.message());
    create(MAX_REFS..MAX_REFS + 3);
    pod.save();
    assert_eq!(count(&pod), MAX_REFS);
    let message = pod.message();
    assert!(
        message.contains("of 3 more refs the commits never pushed are not saved"),
        "{message}"
    );
    assert!(lacks_something(pod.take()), "not all is saved");
}

#[test]
fn a_branch_that_cannot_be_read_costs_no_other_and_is_said() {
    let pod = pod();
    let commit = loose_commit(&pod);
    Git::at(pod.tree()).run(&["branch", "sound", &commit]).unwrap();
    fs::write(pod.tree().join(".git/refs/heads/broken"), "1".repeat(40)).unwrap();
    pod.save();
    assert!(has(&bundled(&pod), b" refs/heads/sound"));
    assert!(lacks_something(pod.take()));
    let message = pod.message();
    assert!(
        message.contains("not all of the agent's repository could be read") && message.contains("broken"),
        "{message}"
    );
}

/// Removes the object of `revision`, as an agent would that empties folders of `.git/objects`.
fn remove_object(pod: &Pod, revision: &str) {
    let id = Git::at(pod.tree()).text(&["rev-parse", revision]).unwrap();
    let (folder, name) = id.split_at(2);
    fs::remove_file(pod.tree().join(".git/objects").join(folder).join(name)).unwrap();
}

#[test]
fn a_commit_that_is_kept_by_no_branch_and_is_not_there_is_said() {
    type Broken = fn(&Pod) -> String;
    let stash = |pod: &Pod, content: &str| {
        pod.write("a", content);
        let git = Git::at(pod.tree())
            .config("user.name=x")
            .config("user.email=x@x.invalid");
        git.run(&["stash", "push", "--quiet", "--include-untracked"])
            .unwrap();
    };
    let cases: [(&str, Broken); 4] = [
        ("an older stash entry", |_| "stash@{1}".to_owned()),
        ("left by a checkout", loose_commit),
        ("checked out", |pod| {
            let commit = loose_commit(pod);
            Git::at(pod.tree())
                .run(&["checkout", "--quiet", &commit])
                .unwrap();
            Git::at(pod.tree())
                .run(&["reflog", "expire", "--expire=now", "--all"])
                .unwrap();
            commit
        }),
        ("checked out in a linked work tree", |pod| {
            let commit = loose_commit(pod);
            let tree = pod.folder.path().join("tmp/linked");
            Git::at(pod.tree())
                .run(&[
                    "worktree".as_ref(),
                    "add".as_ref(),
                    "--quiet".as_ref(),
                    "--detach".as_ref(),
                    tree.as_os_str(),
                    commit.as_ref(),
                ])
                .unwrap();
            commit
        }),
    ];
    for (case, broken) in cases {
        let pod = pod();
        stash(&pod, "1");
        stash(&pod, "2");
        let commit = broken(&pod);
        pod.write("b", "1");
        pod.save();
        assert!(
            !pod.message().contains("are not there"),
            "{case}: {}",
            pod.message()
        );
        remove_object(&pod, &commit);
        pod.write("b", "2");
        pod.save();
        assert!(
            pod.message().contains("are not there"),
            "{case}: {}",
            pod.message()
        );
        assert!(lacks_something(pod.take()), "{case}");
    }
}

#[test]
fn a_log_that_cannot_be_read_is_not_taken_for_none() {
    for (log, words) in [
        ("logs/HEAD", "is a folder"),
        ("logs/refs/stash", "is a FIFO"),
        ("logs", "failed to open"),
    ] {
        let pod = pod();
        let path = pod.tree().join(".git").join(log);
        let moved = pod.folder.path().join("moved");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _not_there = fs::rename(&path, &moved);
        match words {
            "is a folder" => fs::create_dir(&path).unwrap(),
            "is a FIFO" => rustix::fs::mknodat(
                rustix::fs::CWD,
                &path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            )
            .unwrap(),
            _ => std::os::unix::fs::symlink(&moved, &path).unwrap(),
        }
        pod.write("b", "1");
        pod.save();
        let message = pod.message();
        assert!(
            message.contains("not all of the agent's repository could be read") && message.contains(words),
            "{log}: {message}"
        );
        assert!(lacks_something(pod.take()), "{log}");
    }
}

#[test]
fn a_repository_that_cannot_be_read_is_not_taken_for_one_that_has_nothing_to_save() {
    let pod = pod();
    fs::remove_dir_all(pod.tree().join(".git")).unwrap();
    pod.save();
    assert!(pod.message().contains("could be read"), "{}", pod.message());
}

#[test]
fn commits_that_were_too_many_to_save_are_tried_again() {
    let mut pod = pod();
    commit_file(&pod.tree(), "a", b"1", "A");
    let most = std::mem::replace(&mut pod.order.role.git.max_push_bytes, 100);
    pod.save();
    assert!(pod.message().contains("their bundle has"), "{}", pod.message());
    pod.order.role.git.max_push_bytes = most;
    pod.save();
    assert!(has(&bundled(&pod), b" refs/heads/polecat/furiosa/gt-1@m1"));
}
