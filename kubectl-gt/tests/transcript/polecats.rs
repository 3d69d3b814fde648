//! `kubectl gt polecat`, `status` and `costs`.

use serde_json::{Value, json};

use crate::transcript::{PLUGIN, Transcript};
use crate::world::{World, phase};

#[test]
fn polecats_are_listed_shown_retried_and_nuked() {
    let world = World::new();
    let mut t = Transcript::new("polecats");
    t.run("polecat list -n town");
    world.rig("demo");
    world.polecat(
        "demo",
        "furiosa",
        &phase("Done", "Delivered", "its commits are on the remote branch"),
    );
    world.polecat(
        "demo",
        "nux",
        &phase("Stuck", "OutOfMemory", "the container claude used more than 4Gi"),
    );
    world.polecat("other", "slit", &Value::Null);
    world.polecat("demo", "toast", &parked());
    t.run("polecat list -n town");
    t.run("polecat list demo -n town -o wide");
    t.run("polecat list -A");
    t.run("polecat list -n town -o name");
    t.run("polecat list nobody -n town");
    t.run("polecat list nobody -n town -o json");
    t.run("polecat list other -n town --json");
    t.run("polecat list -n town -o 'jsonpath={range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\n\"}{end}'");
    t.run("polecat list -n town -o 'jsonpath={[*].metadata.name}'");
    t.run("polecat list -n town -o 'jsonpath={.items[?(@.status.phase==\"Stuck\")].metadata.name}'");
    t.run("polecat status demo/furiosa -n town");
    t.run("polecat status toast -n town");
    t.run("polecat status other/slit -n town");
    t.run("polecat status demo/furiosa -n town -o 'jsonpath={.status.branch}'");
    t.run("polecat status other/furiosa -n town");
    t.run("polecat status demo/nobody -n town");
    t.run("polecat status demo/furioas -n town");
    t.run("polecat status demo/furiosa");
    t.run("rig status demmo");
    t.run("polecat describe demo/nux -n town");
    t.run("polecat logs demo/furiosa -n town");
    t.run("polecat logs demo/furiosa -f -n town");
    t.run("logs demo/nux -f -n town");
    t.run("peek demo/furiosa -n town");
    t.run("polecat logs other/slit -n town");
    t.run("polecat attach demo/furiosa -n town");
    t.run("status");
    t.run("costs -n town");
    t.run("costs nobody -n town");
    t.run("costs -A --by rig -o json");
    t.run("polecat retry demo/furiosa -n town");
    t.run("polecat retry demo/toast -n town");
    t.run("polecat retry demo/nux -n town");
    t.run("polecat retry demo/nux --wait=done --timeout 1s -n town");
    t.run("polecat idle demo/toast -n town");
    t.run("polecat idle demo/furiosa -n town");
    t.run("polecat resume demo/toast -n town -o 'jsonpath={.items[*].spec.desiredState}'");
    t.run("polecat nuke demo/nux other/nux -n town");
    t.run("nuke demo --all --dry-run -n town");
    t.run("nuke demo/nux --all -n town");
    t.run("nuke nobody --all -n town");
    t.run("polecat nuke demo/nux --dry-run -n town");
    t.run("polecat nuke demo/nux demo/toast -n town");
    t.run("polecat nuke demo/nux --wait --timeout 1s -n town");
    t.run("polecat nuke other/slit --force --wait --timeout 20s -n town");
    t.end();
    let wanted = |name: &str| world.find(name).unwrap()["spec"]["desiredState"].clone();
    assert_eq!([wanted("nux"), wanted("toast")], ["Terminated", "Terminated"]);
    assert!(world.find("slit").is_none());
}

fn parked() -> Value {
    let mut status = phase("Working", "SecretMissing", "waits for secret \"git-creds\"");
    let condition = json!({
        "type": "Parked", "status": "True", "reason": "SecretMissing", "message": "secret \"git-creds\" does not exist",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    status["conditions"].as_array_mut().unwrap().push(condition);
    status
}

/// Without an operator what is deleted stays, since its finalizer does.
#[test]
fn what_no_operator_lets_go_of_is_named_and_let_go() {
    let world = World::new();
    let mut t = Transcript::new("uninstall");
    world.rig("demo");
    t.environment("HOME", "/nonexistent");
    t.environment("GASTOWN_TEST_KEY", "sk-ant-api03-of-the-uninstalled");
    t.run("auth sync --api-key-from-env GASTOWN_TEST_KEY --yes -n town");
    t.run("uninstall");
    world.polecat(
        "demo",
        "furiosa",
        &phase("Working", "AgentRunning", "the agent is at work"),
    );
    world.polecat("demo", "nux", &Value::Null);
    world.hold("furiosa", &["gastown.io/polecat-cleanup", "example.com/other"]);
    t.run("uninstall");
    t.run("polecat nuke demo/furiosa --force --wait --timeout 1s -n town");
    t.run("uninstall --end");
    t.run("uninstall --orphan");
    t.run("uninstall --orphan --yes -n town -o json");
    let left = world.find("furiosa").unwrap();
    assert_eq!(left["metadata"]["finalizers"], json!(["example.com/other"]));
    t.end();
}

#[test]
fn kubectl_completes_commands_rigs_and_polecats() {
    let world = World::new();
    world.rig("demo");
    world.rig("desert");
    world.polecat("demo", "furiosa", &Value::Null);
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("kubectl_complete-gt");
    std::os::unix::fs::symlink(PLUGIN, &program).unwrap();
    let complete = |words: &[&str]| {
        let output = std::process::Command::new(&program).args(words).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let names: Vec<_> = text
            .lines()
            .map(|line| line.split('\t').next().unwrap().to_owned())
            .collect();
        names
    };
    let commands = complete(&["po"]);
    assert_eq!(commands, ["polecat", ":4"]);
    assert_eq!(complete(&["rig", "status", "de"]), ["demo", "desert", ":4"]);
    assert_eq!(
        complete(&["polecat", "logs", "-n", "town", "demo/"]),
        ["demo/furiosa", ":4"]
    );
    assert_eq!(complete(&["explain", "OutOf"]), ["OutOfMemory", ":4"]);
    assert_eq!(complete(&["polecat", "list", "-n", "tow"]), ["town", ":4"]);
    assert_eq!(
        complete(&["status", "--namespace", "kube-s"]),
        ["kube-system", ":4"]
    );
}
