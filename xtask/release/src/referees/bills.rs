//! Bills of materials: whether `CycloneDX`'s own library takes them, and whether syft finds the same in images and programs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask_image::process::Command;
use xtask_image::python;

use super::Bench;
use crate::folder::names;
use crate::plan::PLUGIN;

/// Where the packages of the Python Package Index are pinned.
const PINNED: &str = "release/tools/requirements.txt";

/// Validates files named as arguments, strictly: what the schema does not know is an error.
const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_6)
for name in sys.argv[1:]:
    with open(name) as file:
        error = validator.validate_str(file.read())
    if error:
        sys.exit(f'{name}: {error}')
";

/// The kinds of packages that a bill and syft must agree on: what we compile, and what Debian packs.
const COMPARED: [(&str, &str); 2] = [("rust-crate", "cargo"), ("deb", "deb")];

/// A package: kind, name, version.
type Found = BTreeSet<(String, String, String)>;

/// `CycloneDX`'s Python library, of every bill.
pub fn cyclonedx(bench: &Bench) -> Result<Vec<String>> {
    let mut bills = Vec::new();
    for folder in ["boms", "artefacts/boms"] {
        let below = bench.folder.join(folder);
        let mut folders = vec![below.clone()];
        for name in names(&below)? {
            folders.push(below.join(name));
        }
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            let is_bill = |name: &String| name.ends_with(".cdx.json");
            bills.extend(
                names(folder)?
                    .into_iter()
                    .filter(is_bill)
                    .map(|name| folder.join(name)),
            );
        }
    }
    ensure!(!bills.is_empty(), "the release has no bill of materials");
    let validate = Command::new("python3").args(["-c", VALIDATE]).args(&bills);
    validate.env("PYTHONPATH", python::ensure(PINNED)?).output()?;
    Ok(vec![format!("{} bills are strict CycloneDX 1.6", bills.len())])
}

/// syft, of each image and of each program to download.
pub fn syft(bench: &Bench) -> Result<Vec<String>> {
    let packages = python::ensure(PINNED)?;
    let registry = &bench.registries[0];
    let mut said = Vec::new();
    for one in &bench.shipped {
        let Some(edition) = &one.edition else { continue };
        for platform in &one.platforms {
            let source = format!("registry:{}@{}", Bench::at(registry, one), platform.digest);
            let bill = format!("boms/{edition}-{}/{}.cdx.json", platform.architecture, one.name);
            said.push(compare(&packages, &source, &bench.folder.join(bill))?);
        }
    }
    let files = bench.folder.join("files");
    for name in names(&files)? {
        if name.starts_with(PLUGIN) && !name.contains('.') {
            let program = files.join(&name);
            let bill = files.join(format!("{name}.cdx.json"));
            said.push(compare(&packages, &format!("file:{}", program.display()), &bill)?);
        }
    }
    Ok(said)
}

/// Compares what syft, which is among `packages`, finds with a bill.
fn compare(packages: &Path, source: &str, bill: &Path) -> Result<String> {
    let scan = Command::new(packages.join("bin/syft"))
        .args(["scan", source, "--quiet", "--output", "json"])
        // The wheel's script looks for the program beside its module.
        .env("PYTHONPATH", packages)
        .env("SYFT_CHECK_FOR_APP_UPDATE", "false")
        .env("SYFT_REGISTRY_INSECURE_USE_HTTP", "true");
    let shown = scan.to_string();
    let found: Value =
        serde_json::from_slice(&scan.output()?).with_context(|| format!("`{shown}` printed no JSON"))?;
    let bill: Value =
        serde_json::from_slice(&fs_err::read(bill)?).with_context(|| format!("{bill:?} is no JSON"))?;
    let (theirs, ours) = (of_syft(&found), of_bill(&bill));
    let more: Vec<_> = theirs.difference(&ours).map(shown_of).collect();
    let less: Vec<_> = ours.difference(&theirs).map(shown_of).collect();
    ensure!(
        more.is_empty() && less.is_empty(),
        "`{shown}` and our bill differ; only syft has: {}; only we have: {}",
        more.join(" "),
        less.join(" ")
    );
    let others: Vec<_> = others(&found)
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    Ok(format!(
        "{} crates and packages, the same, by `{shown}`{}",
        ours.len(),
        if others.is_empty() {
            String::new()
        } else {
            format!("; not compared: {}", others.join(", "))
        }
    ))
}

fn shown_of((kind, name, version): &(String, String, String)) -> String {
    format!("{kind}:{name}@{version}")
}

fn of_syft(found: &Value) -> Found {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = found["artifacts"].as_array().into_iter().flatten();
    let of = |package: &Value| {
        let (_, kind) = COMPARED.iter().find(|(name, _)| package["type"] == *name)?;
        Some((
            (*kind).to_owned(),
            text(&package["name"]),
            text(&package["version"]),
        ))
    };
    packages.filter_map(of).collect()
}

/// How many syft finds of the kinds that are not compared.
fn others(found: &Value) -> BTreeMap<String, usize> {
    let packages = found["artifacts"].as_array().into_iter().flatten();
    let kinds = packages.filter_map(|package| package["type"].as_str());
    let mut counts = BTreeMap::new();
    for kind in kinds.filter(|kind| COMPARED.iter().all(|(name, _)| name != kind)) {
        *counts.entry(kind.to_owned()).or_insert(0) += 1;
    }
    counts
}

/// What a bill says is linked or installed.
fn of_bill(bill: &Value) -> Found {
    let components = bill["components"].as_array().into_iter().flatten();
    let linked = components.filter(|one| one["scope"] != "excluded");
    linked.filter_map(|one| of_purl(one["purl"].as_str()?)).collect()
}

/// `pkg:KIND/…/NAME@VERSION?…`, where it is of a kind that is compared.
fn of_purl(purl: &str) -> Option<(String, String, String)> {
    let (kind, rest) = purl.strip_prefix("pkg:")?.split_once('/')?;
    let (name, version) = rest.split('?').next()?.rsplit_once('@')?;
    let name = name.rsplit('/').next()?;
    let plain = |text: &str| text.replace("%2B", "+").replace("%3A", ":");
    let is_compared = COMPARED.iter().any(|(_, one)| *one == kind);
    is_compared.then(|| (kind.to_owned(), plain(name), plain(version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(kind: &str, name: &str, version: &str) -> (String, String, String) {
        (kind.to_owned(), name.to_owned(), version.to_owned())
    }

    #[test]
    fn a_bill_and_syft_name_a_package_in_the_same_words() {
        let bill = json!({ "components": [
            { "purl": "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2.0-19%2Bb1?arch=amd64&distro=debian-13" },
            { "purl": "pkg:cargo/serde@1.0.0", "scope": "required" },
            { "purl": "pkg:cargo/aws-lc-sys@0.40.0", "scope": "excluded" },
            { "purl": "pkg:npm/%40a/b@1.2.3" },
            { "name": "AWS-LC" },
        ] });
        let wanted = Found::from([
            one("deb", "libstdc++6", "1:14.2.0-19+b1"),
            one("cargo", "serde", "1.0.0"),
        ]);
        assert_eq!(of_bill(&bill), wanted);
        let found = json!({ "artifacts": [
            { "type": "deb", "name": "libstdc++6", "version": "1:14.2.0-19+b1" },
            { "type": "rust-crate", "name": "serde", "version": "1.0.0" },
            { "type": "binary", "name": "node", "version": "22" },
        ] });
        assert_eq!(of_syft(&found), wanted);
        assert_eq!(others(&found), BTreeMap::from([("binary".to_owned(), 1)]));
    }
}
