//! What registries list, and what copies of the release have: oras, skopeo, helm.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask_image::machine;
use xtask_image::process::Command;
use xtask_image::tools::{self, Tool};

use super::{Bench, TEAM};
use crate::attach::tag_of;
use crate::folder::Shipped;
use crate::keys::Verifier;
use crate::layout::{Layout, digest};
use crate::registry::Repository;
use crate::verify;

/// The annotation that every bundle has. The type of a manifest would say it too, but go-containerregistry lists that of its
/// configuration in its place.
const BUNDLE: &str = "dev.sigstore.bundle.content";

/// Whether the referrers API answers: in the first registry it must not, in the second it must list all bundles, and oras, which
/// falls back to the tag, must find as many in both.
pub fn registries(bench: &Bench) -> Result<Vec<String>> {
    let [oras] = tools::ensure([Tool::Oras])?;
    let mut said = Vec::new();
    for one in &bench.shipped {
        let mut listed = Vec::new();
        for (registry, has_api) in bench.registries.iter().zip([false, true]) {
            let at = Bench::at(registry, one);
            let name = format!("{at}@{}", one.digest);
            let discover = || Command::new(&oras).args(["discover", "--plain-http", "--format", "json"]);
            let by_api = discover().args(["--distribution-spec", "v1.1-referrers-api", &name]);
            let shown = by_api.to_string();
            ensure!(
                by_api.succeeds() == has_api,
                "`{shown}`: is there a referrers API? it must be {has_api}"
            );
            let discover = discover().arg(&name);
            let shown = discover.to_string();
            let found: Value = serde_json::from_slice(&discover.output()?)
                .with_context(|| format!("`{shown}` printed no JSON"))?;
            let bundles: BTreeSet<_> = bundles(&found).collect();
            ensure!(!bundles.is_empty(), "`{shown}` finds no bundle: {found}");
            said.push(format!(
                "{} bundles by `{shown}`, {}",
                bundles.len(),
                if has_api { "referrers API" } else { "tag" }
            ));
            listed.push(bundles);
        }
        ensure!(
            listed[0] == listed[1],
            "{}: the registries list other bundles",
            one.repository
        );
    }
    Ok(said)
}

/// The digests of bundles that oras lists.
fn bundles(found: &Value) -> impl Iterator<Item = String> {
    let lists = [&found["manifests"], &found["referrers"]];
    let all = lists.into_iter().filter_map(Value::as_array).flatten();
    let digests = all.filter(|one| one["annotations"].get(BUNDLE).is_some());
    digests
        .filter_map(|one| one["digest"].as_str().map(str::to_owned))
        .collect::<Vec<_>>()
        .into_iter()
}

/// Copies of an image with oras and skopeo are the same bytes; oras takes along what refers to it, skopeo the tags.
pub fn copies(bench: &Bench) -> Result<Vec<String>> {
    let [oras] = tools::ensure([Tool::Oras])?;
    machine::ensure(&["skopeo"])?;
    let verifier = Verifier::read(bench.key)?;
    let [without, with] = &bench.registries;
    let mut said = Vec::new();
    for one in &bench.shipped {
        let tag = one.tags.first().context("what ships has a tag")?;
        let (from, back) = (
            Bench::at(without, one),
            Bench::at(with, one).replacen(TEAM, "oras", 1),
        );
        let copy = Command::new(&oras).args(["copy", "--recursive", "--from-plain-http", "--to-plain-http"]);
        let copy = copy.args([format!("{from}:{tag}"), format!("{back}:{tag}")]);
        said.push(said_of(copy)?);
        same(&back, one, tag)?;

        // To a registry without the API, where the list of referrers is a tag like others. skopeo 1.9 writes that anew, without
        // the types of what it lists, so its digest cannot stay.
        let to = Bench::at(without, one).replacen(TEAM, "skopeo", 1);
        let skopeo = |tag: &str| {
            let is_list = tag.starts_with("sha256-") && !tag.contains('.');
            let copy = Command::new("skopeo").args(["copy", "--quiet", "--all"]);
            let copy = copy.args((!is_list).then_some("--preserve-digests"));
            let copy = copy.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
            copy.args([format!("docker://{from}:{tag}"), format!("docker://{to}:{tag}")])
        };
        said.push(said_of(skopeo(tag))?);
        for found in bench.found(one)? {
            for end in [".sig", ".att", ""] {
                said.push(said_of(skopeo(&tag_of(&found.digest, end)))?);
            }
        }
        same(&to, one, tag)?;
        // What arrived is as signed as what left.
        let (layout, _kept) = pulled(&to, tag)?;
        verify::image(&layout, "wanted", &verifier, verify::Depth::Manifests)
            .with_context(|| format!("skopeo's copy {to}:{tag}"))?;
    }
    Ok(said)
}

fn said_of(command: Command) -> Result<String> {
    let shown = command.to_string();
    command.output()?;
    Ok(format!("copied by `{shown}`"))
}

/// Fails unless the tag of a copy is what the release has.
fn same(repository: &str, shipped: &Shipped, tag: &str) -> Result<()> {
    let inspect = Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false"]);
    let manifest = inspect.arg(format!("docker://{repository}:{tag}")).output()?;
    let found = digest(&manifest);
    ensure!(
        found == shipped.digest,
        "{repository}:{tag} is {found}, not {}",
        shipped.digest
    );
    Ok(())
}

fn pulled(repository: &str, tag: &str) -> Result<(Layout, tempfile::TempDir)> {
    let folder = tempfile::tempdir().context("failed to make a folder for manifests")?;
    let layout = Layout::create(folder.path())?;
    Repository::open(repository)?.pull(&layout, Some(tag), None, "wanted")?;
    Ok((layout, folder))
}

/// helm pulls the chart's bytes from each registry, and renders them.
pub fn helm(bench: &Bench) -> Result<Vec<String>> {
    let [helm] = tools::ensure([Tool::Helm])?;
    let chart = bench.chart()?;
    let version = chart.tags.first().context("the chart has a version")?;
    let mut said = Vec::new();
    for registry in &bench.registries {
        let to = bench.place.path().join(format!("helm-{}", registry.host));
        let at = format!("oci://{}", Bench::at(registry, chart));
        let pull =
            Command::new(&helm).args(["pull", &at, "--version", version, "--plain-http", "--destination"]);
        let pull = pull.arg(&to);
        said.push(pull.to_string());
        fs_err::create_dir(&to)?;
        pull.output()?;
        let name = format!("gastown-operator-{version}.tgz");
        let released = fs_err::read(bench.folder.join("files").join(&name))?;
        ensure!(
            fs_err::read(to.join(&name))? == released,
            "{at} is another chart than files/{name}"
        );
        Command::new(&helm).arg("lint").arg(to.join(&name)).output()?;
    }
    Ok(said)
}
