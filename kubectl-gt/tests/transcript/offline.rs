//! Transcripts of what needs no cluster.

use crate::transcript::Transcript;

#[test]
fn reasons_versions_and_manifests_are_told_without_a_cluster() {
    let mut t = Transcript::new("offline");
    let folder = tempfile::tempdir().unwrap();
    t.word(&folder.path().to_string_lossy(), "FOLDER");
    t.environment("KUBECONFIG", "/nowhere/kubeconfig");
    t.word(env!("CARGO_PKG_VERSION"), "0.0.0");
    t.run("explain OutOfMemory");
    t.run("explain outofmemory -o json");
    t.run("explain memory");
    t.run("explain nonsense");
    t.run("version --client");
    t.run("version --client -o name");
    t.run("completion klingon");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "good.yaml",
        "apiVersion: gastown.gastown.io/v1alpha1\nkind: Polecat\nmetadata: {name: a}\nspec: {rig: demo}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\n",
    );
    write(
        "bad.yaml",
        "apiVersion: gastown.gastown.io/v1alpha1\nkind: Polecat\nmetadata: {name: a}\nspec: {rig: my rig, tasks: x, beadID: a..b}\n---\napiVersion: gastown.gastown.io/v1alpha1\nkind: Convoy\nmetadata: {name: c}\n",
    );
    write("broken.yaml", "a: [\n");
    let at = folder.path().to_string_lossy().into_owned();
    t.run(&format!("validate -f {at}/good.yaml"));
    t.run(&format!("validate -f {at}/bad.yaml"));
    t.run(&format!("validate -f {at}/bad.yaml -o json"));
    t.run(&format!("validate -f {at}/broken.yaml"));
    t.run(&format!("validate -f {at}/missing.yaml"));
    t.run_with("validate -f -", b"");
    t.run("validate");
    t.end();
}

#[test]
fn a_command_line_that_makes_no_sense_is_answered_with_what_would() {
    let mut t = Transcript::new("usage");
    t.environment("KUBECONFIG", "/nowhere/kubeconfig");
    t.run("rig list --all");
    t.run("rig list -o csv");
    t.run("rig list -o 'jsonpath={.items'");
    t.run("rig create my-project");
    t.run("polecat lst");
    t.run("polecat logs a/b/c");
    t.run("polecat logs a/b -o yaml");
    t.run("sling");
    t.run("sling mp-1");
    t.run("sling mp-1 my-project --budget much");
    t.run("sling mp-1 my-project --budget 5");
    t.run("sling mp-1 my-project --follow -o json");
    t.run("status --watch --interval 0");
    t.run("mail inbox");
    t.run("convoy list");
    t.run("rig add my-project");
    t.run("rig add my-project https://github.com/org/repo.git --dry-run --json");
    t.run("rig add My_Project https://github.com/org/repo.git --dry-run");
    t.run("sling mp-1 my-project --theme disco");
    t.run("sling mp-1 my-project -m a --file b");
    t.run("sling mp-1 my-project --wait=later");
    t.run("sling mp-1 my-project --timeout soon");
    t.run("sling mp-1 my-project --file /nowhere/task");
    t.run_with("sling mp-1 my-project --stdin", b" \n");
    t.run("auth git --rig a");
    t.end();
}
