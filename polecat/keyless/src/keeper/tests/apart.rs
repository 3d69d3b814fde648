//! What can be seen only by a process of its own: its memory, and files that root could read.

use super::*;

/// Runs the test of this name again as a process of its own, and as nobody: root reads everything, and the memory of
/// this process is that of all its tests. True in the process that is to do the work.
fn is_apart(name: &str) -> bool {
    use std::os::unix::process::CommandExt as _;
    const APART: &str = "KEEPER_TEST_APART";
    if std::env::var_os(APART).is_some() {
        return true;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("tests");
    // The build folder may not be open to others. Written by another process, since a program is busy as long as anything
    // that other tests start meanwhile has inherited the file.
    let copied = Program::new("cp")
        .args([&std::env::current_exe().unwrap(), &program])
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Program::new(&program);
    command
        .args(["--exact", "--nocapture", &format!("keeper::tests::apart::{name}")])
        .env(APART, "1")
        .env("TMPDIR", folder.path())
        .env("HOME", folder.path())
        .current_dir(folder.path());
    if rustix::process::getuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && words.contains("1 passed"),
        "{words}{errors}"
    );
    false
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_hundred_thousand_files_cost_no_memory_each() {
    if !is_apart("a_hundred_thousand_files_cost_no_memory_each") {
        return;
    }
    let pod = pod();
    pod.write("first", "x");
    pod.save();
    let before = peak();
    for folder in 0..100 {
        let path = pod.tree().join(format!("folder-{folder}"));
        fs::create_dir(&path).unwrap();
        for file in 0..1000 {
            fs::write(
                path.join(format!("a-file-with-quite-a-long-name-{file}")),
                format!("{folder} {file}"),
            )
            .unwrap();
        }
    }
    pod.save();
    let grown = peak() - before;
    assert!(grown < 6 * 1024, "{before} KiB before, {grown} KiB more");
}

#[test]
fn a_folder_that_cannot_be_read_keeps_what_the_branch_has_and_is_listed() {
    if !is_apart("a_folder_that_cannot_be_read_keeps_what_the_branch_has_and_is_listed") {
        return;
    }
    let pod = pod_with(&[("closed/tracked", b"1\n")]);
    pod.write("closed/new", "x");
    pod.write("open", "x");
    pod.write("secret", "x");
    for (name, mode) in [("closed", 0o000), ("secret", 0o200)] {
        fs::set_permissions(pod.tree().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    pod.save();
    let saved = pod.saved();
    assert_eq!(saved[&b"closed/tracked"[..]].1, b"1\n");
    assert_eq!(saved[&b"open"[..]].1, b"x");
    assert!(!saved.contains_key(&b"secret"[..]) && !saved.contains_key(&b"closed/new"[..]));
    let message = pod.message();
    assert!(
        message.contains("\"closed\": Permission denied") && message.contains("\"secret\": Permission"),
        "{message}"
    );
    fs::set_permissions(pod.tree().join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}
