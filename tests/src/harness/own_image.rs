//! An image that a user builds from polecat-agent, with a Dockerfile and nothing else.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

/// Its name. No registry has it: the node is given it.
const NAME: &str = "registry.example/team/own-agent:1";

/// Builds `tests/images/own-agent` as `docker build` does, gives the node the image, and returns its name.
pub async fn own_image() -> String {
    let (archive, agent) = (given("GASTOWN_AGENT_ARCHIVE"), given("GASTOWN_AGENT_TAG"));
    docker(&["load", "--quiet", "--input", &archive]).await;
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/own-agent");
    let argument = format!("POLECAT_AGENT={agent}");
    docker(&[
        "build",
        "--quiet",
        "--build-arg",
        &argument,
        "--tag",
        NAME,
        recipe.to_str().unwrap(),
    ])
    .await;
    deliver(&given("GASTOWN_NODE")).await;
    docker(&["image", "rm", NAME, &agent]).await;
    NAME.to_owned()
}

fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test e2e`, which makes the cluster and the images")
    })
}

async fn docker(arguments: &[&str]) {
    let output = Command::new("docker").args(arguments).output().await;
    let output = output.unwrap_or_else(|error| panic!("failed to run docker: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {stderr}");
}

/// From the engine to the containerd of the node that runs in it.
async fn deliver(node: &str) {
    let mut saved = Command::new("docker")
        .args(["save", NAME])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("failed to run docker: {error}"));
    let pipe: Stdio = saved.stdout.take().unwrap().try_into().unwrap();
    let import = [
        "exec",
        "--interactive",
        node,
        "ctr",
        "--namespace",
        "k8s.io",
        "images",
        "import",
        "-",
    ];
    let imported = Command::new("docker")
        .args(import)
        .stdin(pipe)
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&imported.stderr);
    assert!(imported.status.success(), "ctr images import: {stderr}");
    assert!(saved.wait().await.unwrap().success(), "docker save {NAME}");
}
