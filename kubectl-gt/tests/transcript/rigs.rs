//! `kubectl gt rig`.

use crate::transcript::Transcript;
use crate::world::{World, phase};

#[test]
fn rigs_are_created_listed_shown_checked_and_deleted() {
    let world = World::new();
    let mut t = Transcript::new("rigs");
    t.run("rig list");
    t.run("rig list -o json");
    t.run("rig create my-project --git-url git@github.com:org/repo.git --prefix mp --dry-run -o yaml");
    t.run("rig create my-project --git-url git@github.com:org/repo.git --prefix mp -n town");
    t.run("rig create my-project --git-url git@github.com:org/repo.git --prefix mp");
    t.run("rig create other --git-url https://user:secret@github.com/a/b --prefix mp");
    t.run("rig create other --git-url https://github.com/a/b --prefix MP");
    t.run("rig create other --git-url https://github.com/a/b --prefix ot --theme minerals --max-polecats 3 --local-path /x -o name");
    t.run("rig list");
    t.run("rig list -o wide");
    t.run("rig list -o name");
    t.run("rig list -o 'jsonpath={.items[*].spec.beadsPrefix}'");
    t.run("rig status other");
    t.run("rig status other -o 'jsonpath={.spec.gitURL}'");
    t.run("rig status nowhere");
    t.run("rig doctor my-project -n town");
    world.rig("ready");
    t.run("rig status ready");
    t.run("rig suspend ready");
    t.run("rig suspend ready --all --dry-run");
    t.run("rig suspend ready --all -o 'jsonpath={.spec.suspend}'");
    t.run("rig resume ready");
    t.run("rig suspend redy");
    world.polecat("ready", "furiosa", &phase("Working", "AgentRunning", "at work"));
    t.run("rig delete ready");
    world.status(
        "furiosa",
        &phase("Stuck", "OutOfMemory", "the container claude used more than 4Gi"),
    );
    t.run("rig doctor ready -n town -o json");
    t.run("rig delete ready");
    t.run("rig delete ready");
    t.run("rig delete other -o json");
    t.end();
}

#[test]
fn what_is_printed_as_yaml_can_be_read_back() {
    let world = World::new();
    for name in ["one", "two"] {
        world.rig(name);
    }
    let t = Transcript::new("unused");
    let output = t
        .start("rig list -o yaml", std::process::Stdio::piped())
        .wait_with_output()
        .unwrap();
    let documents = kubectl_gt::validate::documents(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let names: Vec<_> = documents
        .iter()
        .map(|rig| rig["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["one", "two"]);
    assert!(
        documents
            .iter()
            .all(|rig| rig["metadata"].get("managedFields").is_none())
    );
    assert!(documents.iter().all(|rig| rig["kind"] == "Rig"), "{documents:?}");
}
