//! Kyverno: with the chart's policy, a pod of the released images is admitted, and one of other images is not.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xtask_image::process::Command;
use xtask_image::tools::{self, Tool};

use super::Bench;
use crate::layout::{Layout, MANIFEST};
use crate::registry::Repository;

/// The name of the image that nobody signed, beside those of the release.
const UNSIGNED: &str = "team/unsigned";

/// Kyverno's own program, of pods with images of each registry.
pub fn kyverno(bench: &Bench) -> Result<Vec<String>> {
    let [helm, kyverno] = tools::ensure([Tool::Helm, Tool::Kyverno])?;
    let agent = bench
        .shipped
        .iter()
        .find(|one| one.edition.is_some())
        .context("no image ships")?;
    let chart = bench.chart()?;
    let version = chart.tags.first().context("the chart has a version")?;
    let render = Command::new(helm)
        .args(["template", "gastown"])
        .arg(bench.folder.join(format!("files/gastown-operator-{version}.tgz")))
        .args(["--set", "admissionPolicies.kyverno=true"])
        .args([
            "--set",
            "imagePolicy.requireAttestations={https://slsa.dev/provenance/v1}",
        ])
        .args(["--show-only", "templates/imagepolicies.yaml", "--set-file"])
        .arg(format!("imagePolicy.keys[0]={}", bench.key.display()));
    let policy = bench.place.path().join("policy.yaml");
    fs_err::write(&policy, render.output()?)?;
    let mut said = Vec::new();
    for registry in &bench.registries {
        let signed = format!("{}@{}", Bench::at(registry, agent), agent.digest);
        let unsigned = push_unsigned(bench, &registry.host)?;
        // The image of the agent is a user's choice, the others are sidecars.
        let cases = [
            ("signed", &signed, &signed, true),
            ("unsigned", &unsigned, &signed, false),
            ("unsigned-sidecar", &signed, &unsigned, false),
        ];
        for (name, image, sidecar, is_admitted) in cases {
            let file = bench.place.path().join(format!("{name}.json"));
            fs_err::write(&file, pod(name, image, sidecar).to_string())?;
            let apply = Command::new(&kyverno)
                .arg("apply")
                .arg(&policy)
                .arg("--resource")
                .arg(&file);
            let apply = apply.args(["--registry", "--remove-color"]);
            let shown = apply.to_string();
            let output = apply
                .into_inner()
                .output()
                .with_context(|| format!("failed to start `{shown}`"))?;
            let told = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            let result = told
                .lines()
                .rev()
                .find(|line| line.starts_with("pass: "))
                .unwrap_or_default();
            let wanted = if is_admitted {
                "pass: 1, fail: 0, warn: 0, error: 0"
            } else {
                "pass: 0, fail: 1, warn: 0, error: 0"
            };
            ensure!(result.starts_with(wanted), "{name}: `{shown}` says {told}");
            said.push(format!("{name} of {}: {result}", registry.host));
        }
    }
    Ok(said)
}

/// Pushes an image that nobody signed, and returns its name.
fn push_unsigned(bench: &Bench, host: &str) -> Result<String> {
    let folder = bench.place.path().join(format!("unsigned-{host}"));
    let layout = Layout::create(&folder)?;
    let config =
        json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
    let config = layout.add_json("application/vnd.oci.image.config.v1+json", &config)?;
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
    let manifest = layout.add_json(MANIFEST, &manifest)?;
    layout.name(manifest.clone(), Some("1"))?;
    let name = format!("{host}/{UNSIGNED}");
    Repository::open(&name)?.push(&layout)?;
    Ok(format!("{name}@{}", manifest.digest))
}

fn pod(name: &str, image: &str, sidecar: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("polecat-{name}"), "namespace": "default", "labels": { "gastown.io/polecat": name } },
        "spec": {
            "initContainers": [{ "name": "broker", "image": sidecar, "restartPolicy": "Always" }],
            "containers": [{ "name": "claude", "image": image }],
        },
    })
}
