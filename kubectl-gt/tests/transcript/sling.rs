//! `kubectl gt sling`.

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Command, Stdio};

use crate::transcript::Transcript;
use crate::world::{World, phase};

#[test]
fn work_is_slung_at_a_rig() {
    let world = World::new();
    let mut t = Transcript::new("sling");
    let task = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(task.path(), "Fix the flaky test.\n").unwrap();
    t.word(&task.path().to_string_lossy(), "TASK");
    t.run("sling mp-1 demo -n town");
    world.rig("demo");
    t.run("sling mp-1 demo --name furiosa --dry-run -o yaml -n town");
    t.run("sling mp-1 demo --name furiosa -n town");
    t.run("sling mp-1 demo --name furiosa -n town");
    t.run("sling mp-2 demo --theme mad-max -n town -o name");
    t.run("sling mp-3 demo/morsov -n town -o name");
    t.run("sling mp-3 demo/ace --name dag -n town");
    t.run("sling mp-4 demo --name 'No Name' -n town");
    t.run("sling a..b demo --name toast -n town");
    t.run(&format!(
        "sling demo --file {} --name dag --model claude-x --base-branch dev --branch fix/it --budget 5usd,2M --priority 900 --dry-run=server -n town -o 'jsonpath={{.spec}}'",
        task.path().display()
    ));
    t.run("sling mp-5 demo --name capable --agent of-the-future -n town");
    t.run("sling mp-5 demo --name capable -n nowhere");
    t.run("sling mp-5 demo --name capable --wait --timeout 1s -n town");
    t.run("sling mp-6 --name keeper --dry-run -n town");
    t.run("sling zz-6 -n town");
    t.run("sling mp-6 demo --name Not_A_Name --dry-run -n town");
    t.run("sling mp-6 demo --name capable --dry-run -n town");
    t.end();
    let output = Transcript::new("unused")
        .start("sling mp-6 demo -n town -o name", Stdio::piped())
        .wait_with_output()
        .unwrap();
    let name = String::from_utf8(output.stdout).unwrap();
    let suffix = name
        .trim()
        .strip_prefix("polecat.gastown.gastown.io/demo-")
        .unwrap();
    assert_eq!(suffix.len(), 6, "{name}");
}

/// The operator, as far as the waiting plugin sees it: it writes once the plugin has told what it sees before.
fn becomes(world: &World, t: &mut Transcript, line: &str, name: &str, status: (&str, &str, &str)) {
    let mut child = t.start(line, Stdio::piped());
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut told = until_told(&mut errors, &format!("{name}: Pending"));
    world.status(name, &phase(status.0, status.1, status.2));
    errors.read_to_end(&mut told).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stderr = told;
    t.write(line, &output);
}

/// What the plugin tells up to a line.
fn until_told(errors: &mut impl BufRead, line: &str) -> Vec<u8> {
    let mut told = Vec::new();
    loop {
        let begin = told.len();
        let read = errors.read_until(b'\n', &mut told).unwrap();
        assert_ne!(
            read,
            0,
            "{line:?} is not told: {}",
            String::from_utf8_lossy(&told)
        );
        if told[begin..].trim_ascii_end() == line.as_bytes() {
            return told;
        }
    }
}

#[test]
fn what_is_waited_for_comes_or_is_told() {
    let world = World::new();
    let mut t = Transcript::new("wait");
    world.rig("demo");
    let line = "sling mp-1 demo --name furiosa --wait=done -n town -o name";
    becomes(
        &world,
        &mut t,
        line,
        "furiosa",
        ("Done", "Delivered", "its commits are on the remote branch"),
    );
    // A program gets one object: the polecat as it ended.
    let line = "sling mp-1 --name capable --wait=done -n town -o 'jsonpath={.status.phase} {.status.branch}'";
    becomes(
        &world,
        &mut t,
        line,
        "capable",
        ("Done", "Delivered", "its commits are on the remote branch"),
    );
    let line = "sling mp-1 demo --name dag --wait=done -n town -o 'jsonpath={.status.phase}'";
    becomes(
        &world,
        &mut t,
        line,
        "dag",
        ("Stuck", "OutOfMemory", "the container claude used more than 4Gi"),
    );
    let line = "sling mp-1 demo --name nux --wait -n town -o name";
    becomes(
        &world,
        &mut t,
        line,
        "nux",
        ("Stuck", "RepositoryNotFound", "org/repo.git does not exist"),
    );
    let line = "sling mp-1 demo --name slit --follow -n town -o name";
    becomes(
        &world,
        &mut t,
        line,
        "slit",
        ("Stuck", "OutOfMemory", "the container claude used more than 4Gi"),
    );
    t.end();
}

#[test]
fn ctrl_c_ends_the_waiting_and_says_that_the_work_goes_on() {
    let world = World::new();
    let mut t = Transcript::new("interrupt");
    world.rig("demo");
    let line = "sling mp-1 demo --name toast --wait=done -n town -o name";
    let mut child = t.start(line, Stdio::piped());
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    // The handler is there once the plugin has said what it sees.
    let mut told = until_told(&mut errors, "toast: Pending");
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    errors.read_to_end(&mut told).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stderr = told;
    t.write(line, &output);
    t.end();
    assert!(world.find("toast").is_some());
}
