//! What of a work tree is saved, and what is left out.

use super::*;

#[test]
fn a_work_tree_is_saved_byte_for_byte() {
    let pod = pod();
    fs::remove_file(pod.tree().join("README")).unwrap();
    pod.write("binary", [0, 255, 10, 13, 0, 7]);
    pod.write("empty", "");
    pod.write("windows.txt", "a\r\nb\r\n");
    pod.write("ident.txt", "$Id$\n");
    pod.write(
        ".gitattributes",
        "* text=auto eol=lf ident filter=evil working-tree-encoding=UTF-16\n",
    );
    pod.write("run.sh", "#!/bin/sh\n");
    fs::set_permissions(pod.tree().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("calculator.py", pod.tree().join("link")).unwrap();
    symlink("/nowhere/at\nall", pod.tree().join("dangling")).unwrap();
    symlink("/etc", pod.tree().join("folder-link")).unwrap();
    pod.write("large", vec![7; 700_000]);
    symlink("loop", pod.tree().join("loop")).unwrap();
    pod.write("trailing. ", "x");
    fs::hard_link(pod.tree().join("large"), pod.tree().join("hard")).unwrap();
    fs::write(pod.tree().join(path_of(b"odd \xff\n\"\\\x01name")), "odd").unwrap();
    pod.write(":(exclude)magic", "x");
    pod.write("-rf", "x");
    pod.write("deep/er/and/deeper", "x");
    fs::create_dir(pod.tree().join("nothing")).unwrap();
    for nested in ["nested", "nested-empty"] {
        let path = pod.tree().join(nested);
        fs::create_dir(&path).unwrap();
        Git::at(&path).run(&["init", "--quiet"]).unwrap();
    }
    commit_file(&pod.tree().join("nested"), "inside", b"in\n", "Nested");
    assert!(
        Program::new("mkfifo")
            .arg(pod.tree().join("fifo"))
            .status()
            .unwrap()
            .success()
    );
    let _socket = std::os::unix::net::UnixListener::bind(pod.tree().join("socket")).unwrap();
    pod.save();
    assert_eq!(pod.saved(), pod.on_disk());
    assert_eq!(pod.saved().len(), 19);
    let message = pod.message();
    for skipped in [
        "\"fifo\": it is a FIFO",
        "\"socket\": it is a socket",
        "\"nested/.git\": the repository of these files is not saved",
    ] {
        assert!(message.contains(skipped), "{message}");
    }
}

#[test]
fn only_the_bases_ignore_rules_leave_files_out() {
    let pod = pod_with(&[
        (".gitignore", b"*.log\nbuild/\n!keep.log\n"),
        ("sub/.gitignore", b"local\n"),
        ("build/tracked", b"1\n"),
    ]);
    pod.write(".gitignore", "*\n");
    pod.write(".git/info/exclude", "hidden\n");
    for name in [
        "hidden",
        "a.log",
        "keep.log",
        "build/out",
        "build/deep/out",
        "sub/local",
        "local",
        "sub/build/x",
    ] {
        pod.write(name, "x");
    }
    pod.write("build/tracked", "2\n");
    fs::remove_file(pod.tree().join("sub/.gitignore")).unwrap();
    pod.save();
    let saved = pod.saved();
    let names: Vec<_> = saved
        .keys()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(
        names,
        [
            ".gitignore",
            "README",
            "build/tracked",
            "calculator.py",
            "hidden",
            "keep.log",
            "local"
        ]
    );
    assert_eq!(saved[&b"build/tracked"[..]].1, b"2\n");
}

#[test]
fn what_is_too_large_is_skipped_and_keeps_what_the_branch_has() {
    let mut pod = pod_with(&[("grows", b"small\n"), ("module/x", b"x")]);
    pod.order.role.git.max_push_bytes = 1_000_000;
    let file = fs::File::create(pod.tree().join("sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    pod.write("grows", vec![0; 2_000_000]);
    assert!(matches!(pod.take().unwrap(), Outcome::Nothing { .. }));
    pod.write("small", "x");
    pod.save();
    let saved = pod.saved();
    assert!(!saved.contains_key(&b"sparse"[..]));
    assert_eq!(saved[&b"grows"[..]].1, b"small\n");
    assert!(
        pod.message().contains("\"sparse\": its 1099511627776 bytes"),
        "{}",
        pod.message()
    );
}

#[test]
fn an_empty_folder_of_a_submodule_stays_a_submodule() {
    let pod = pod();
    let seed = pod.folder.path().join("seed");
    let head = Git::at(&seed).text(&["rev-parse", "HEAD"]).unwrap();
    let git = Git::at(&seed)
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    git.run(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{head},module"),
    ])
    .unwrap();
    git.run(&["commit", "--quiet", "-m", "Module"]).unwrap();
    git.run(&["push", "--quiet", &pod.url, "main"]).unwrap();
    Git::at(pod.tree())
        .run(&["pull", "--quiet", &pod.url, "main"])
        .unwrap();
    assert!(pod.tree().join("module").is_dir());
    assert_eq!(
        nothing(pod.take()),
        "the work tree equals the branch on the remote"
    );
    pod.write("new", "x");
    pod.save();
    assert_eq!(pod.saved()[&b"module"[..]].0, "160000");
}

#[test]
fn names_that_git_forbids_and_what_lies_too_deep_are_left_out_and_listed() {
    let pod = pod();
    for name in [".GIT/config", "sub/git~1", "sub/.git./x", "sub/.g\u{200c}it"] {
        pod.write(name, "x");
    }
    let deep = "d/".repeat(250);
    pod.write(&format!("{deep}file"), "x");
    pod.write("kept", "x");
    pod.save();
    let saved = pod.saved();
    let names: Vec<_> = saved
        .keys()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(names, ["README", "calculator.py", "kept"]);
    let message = pod.message();
    for part in [
        "\".GIT\": git forbids",
        "\"sub/git~1\": git forbids",
        "\"sub/.git.\": git forbids",
        "it lies too deep",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}
