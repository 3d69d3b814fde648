//! Transcripts of what goes wrong between the plugin and the cluster.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use crate::transcript::Transcript;
use crate::world::World;

#[test]
fn a_cluster_that_cannot_be_reached_is_told() {
    let _world = World::new();
    let mut t = Transcript::new("no_cluster");
    let folder = tempfile::tempdir().unwrap();
    t.word(&folder.path().to_string_lossy(), "FOLDER");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let closed = write(
        "closed",
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\n",
    );
    let broken = write("broken", "contexts: {\n");
    t.run(&format!(
        "polecat list --kubeconfig {}/missing",
        folder.path().display()
    ));
    t.run(&format!("polecat list --kubeconfig {broken}"));
    t.run(&format!("polecat list --kubeconfig {closed}"));
    t.run(&format!("doctor --kubeconfig {closed}"));
    t.run(&format!("version --kubeconfig {closed} -o 'jsonpath={{.api}}'"));
    t.run("polecat list --context nowhere");
    t.run("polecat list --token wrong");
    t.run("polecat list --server 'not a url'");
    t.run("polecat list --as-group nobody");
    t.run("polecat list --certificate-authority /nowhere/ca.crt");
    // A server that accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    t.word(&address, "SILENT");
    t.run(&format!(
        "rig list --server https://{address} --request-timeout 100ms"
    ));
    t.end();
}

#[test]
fn who_may_not_is_told_what_to_ask_for() {
    let world = World::new();
    world.rig("demo");
    let mut t = Transcript::new("forbidden");
    t.run("polecat list -n town --as jane");
    t.run("sling mp-1 demo -n town --as jane");
    t.run("rig create other --git-url https://github.com/a/b --prefix ot --as jane");
    t.run("auth status -n town --as jane");
    t.run("doctor -n town --as jane");
    t.end();
}

#[test]
fn a_cluster_without_the_operator_or_with_another_version_is_told() {
    let world = World::new();
    world.rig("demo");
    let mut t = Transcript::new("not_installed");
    t.word(env!("CARGO_PKG_VERSION"), "0.0.0");
    t.run("doctor -n town");
    let mut older = kubectl_gt::validate::definition("polecat").unwrap();
    let spec = older
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties")
        .unwrap();
    spec.as_object_mut().unwrap().remove("budget");
    world.define(&older);
    t.run("sling mp-1 demo --name nux --budget 5usd -n town");
    t.run("doctor -n town");
    world.undefine();
    t.run("polecat list -n town");
    t.run("rig list");
    t.run("rig create demo --git-url https://github.com/a/b --prefix mp");
    t.run("sling mp-1 demo -n town");
    t.run("status");
    t.run("uninstall");
    t.run("doctor -n town");
    t.end();
}

#[test]
fn a_reader_that_goes_away_ends_the_plugin_without_a_word() {
    let world = World::new();
    for at in 0..200 {
        world.polecat("demo", &format!("p{at}"), &Value::Null);
    }
    let t = Transcript::new("unused");
    let mut child = t.start("polecat list -n town -o json", Stdio::piped());
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 1];
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
