//! `kubectl gt validate --server`: the offline rules, and then the cluster's own word.

use crate::transcript::Transcript;
use crate::world::World;

const POLECAT: &str = "apiVersion: gastown.gastown.io/v1alpha1\nkind: Polecat\n";

#[test]
fn the_cluster_is_asked_as_well_and_keeps_nothing() {
    let world = World::new();
    let mut t = Transcript::new("validate_server");
    let folder = tempfile::tempdir().unwrap();
    t.word(&folder.path().to_string_lossy(), "FOLDER");
    t.word(env!("CARGO_PKG_VERSION"), "0.0.0");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), format!("{POLECAT}{text}")).unwrap();
    };
    write(
        "good.yaml",
        "metadata: {name: a, namespace: town}\nspec: {rig: demo, budget: {usd: 5}}\n",
    );
    write(
        "nowhere.yaml",
        "metadata: {name: a, namespace: nowhere}\nspec: {rig: demo}\n",
    );
    write(
        "bad.yaml",
        "metadata: {name: a, namespace: town}\nspec: {rig: my rig}\n",
    );
    write(
        "made.yaml",
        "metadata: {name: made, namespace: town}\nspec: {rig: other}\n",
    );
    world.polecat("demo", "made", &serde_json::Value::Null);
    let at = folder.path().to_string_lossy().into_owned();
    t.run(&format!("validate --server -f {at}/good.yaml"));
    t.run(&format!("validate --server {at}/nowhere.yaml"));
    t.run(&format!("validate --server -f {at}/bad.yaml"));
    // What is fine by itself cannot replace what is there.
    t.run(&format!("validate -f {at}/made.yaml"));
    t.run(&format!("validate --server -f {at}/made.yaml -o json"));
    t.run(&format!("validate --server -f {at}/good.yaml --as jane"));
    t.run(&format!(
        "validate --server=https://127.0.0.1:1 -f {at}/good.yaml"
    ));
    let mut older = kubectl_gt::validate::definition("polecat").unwrap();
    let spec = older
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties")
        .unwrap();
    spec.as_object_mut().unwrap().remove("budget");
    world.define(&older);
    t.run(&format!("validate --server -f {at}/good.yaml"));
    t.end();
    assert!(world.find("a").is_none());
}
