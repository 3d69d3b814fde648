//! Bills of materials, and beside each the materials that the provenance names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use xtask_image::{Definition, Lock, Name, npm_licence, workspace};

use crate::dependencies::Graph;
use crate::layout::{Layout, digest};
use crate::licences;
use crate::pipeline::{Release, timestamp};
use crate::plan::{IMAGES, PLUGIN, PROGRAMS, Target};
use crate::sbom::{self, Artefact, Class};
use crate::statement::Material;
use crate::vex;

impl Release {
    /// Bills of materials, and beside them the materials for the provenance.
    pub fn boms(&self, target: Target) -> Result<()> {
        let folder = self.folder.join(target.boms());
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        let lock = Lock::load()?;
        let graph = Graph::resolve(&PROGRAMS, target.edition, target.architecture)?;
        let sums = checksums(&fs_err::read_to_string(workspace::root().join("Cargo.lock"))?)?;
        let created = timestamp(self.plan.epoch)?;
        let version = target.edition.tag(&self.plan.version);
        let artefact = |name: String, digest: String, program: &str| -> Result<Artefact<'_>> {
            Ok(Artefact {
                name,
                version: version.clone(),
                digest,
                class: Class::Program,
                edition: Some(target.edition),
                created: created.clone(),
                crates: graph.of(program)?,
                ..Artefact::default()
            })
        };
        for name in IMAGES {
            let image = self.built(name, target)?;
            let definition = Definition::load(name)?;
            let mut artefact = artefact(image.name, image.digest, &definition.binary.package)?;
            artefact.class = Class::Image;
            artefact.debian = lock.packages_of(name, target.architecture)?;
            let npm = definition
                .npm(target.architecture)
                .map(|(package, _)| lock.npm_package(package));
            artefact.npm = npm.collect::<Result<_>>()?;
            artefact.licences = self.licences(name, target)?;
            for package in &artefact.npm {
                artefact
                    .licences
                    .insert(package.name.clone(), npm_licence(package)?.into_iter().collect());
            }
            let materials = materials(&artefact, &sums);
            self.write_bill(&target.boms(), name.as_str(), &artefact, &materials)?;
        }
        let plugin = fs_err::read(self.folder.join(target.programs()).join(PLUGIN))?;
        let artefact = artefact(target.plugin(), digest(&plugin), PLUGIN)?;
        let materials = materials(&artefact, &sums);
        self.write_bill(&target.boms(), PLUGIN, &artefact, &materials)
    }

    /// What the Debian packages of an image declare as their licences.
    fn licences(&self, name: Name, target: Target) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let image = self.built(name, target)?;
        let folder = tempfile::tempdir().context("failed to make a folder for an image")?;
        let layout = Layout::create(folder.path())?;
        layout.import(&image.archive, &image.digest)?;
        licences::of_debian(&layout, &image.digest)
    }

    /// Writes the bills of an artefact into `folder`, which is below that of the release, and what the provenance names.
    pub fn write_bill(
        &self,
        folder: &Path,
        name: &str,
        artefact: &Artefact<'_>,
        materials: &[Material],
    ) -> Result<()> {
        let folder = self.folder.join(folder);
        let write = |end: &str, value: &Value| {
            let text = format!("{value:#}\n");
            workspace::write_whole(&folder.join(format!("{name}.{end}.json")), text.as_bytes())
        };
        let purl = artefact.purl();
        if let Some(vex) = vex::document(&vex::load()?, &artefact.crates, &purl, &artefact.created) {
            write("vex", &vex)?;
        }
        write("cdx", &artefact.cyclonedx()?)?;
        write("spdx", &artefact.spdx())?;
        write("materials", &json!(materials))
    }

    /// What [`Self::write_bill`] has written: `cdx`, `spdx`, `materials`.
    pub fn bill(&self, folder: &Path, name: &str, end: &str) -> Result<Value> {
        self.json(&folder.join(format!("{name}.{end}.json")))
    }

    /// The content of a file below the folder of the release.
    pub fn json(&self, file: &Path) -> Result<Value> {
        let file = self.folder.join(file);
        serde_json::from_slice(&fs_err::read(&file)?).with_context(|| format!("{file:?} is damaged"))
    }
}

fn materials(artefact: &Artefact<'_>, sums: &BTreeMap<(String, String), String>) -> Vec<Material> {
    let one = |uri: String, algorithm: &str, hash: &str| Material {
        uri,
        digest: BTreeMap::from([(algorithm.to_owned(), hash.to_owned())]),
    };
    // The project's own crates have no hash there: they are the commit's.
    let crates = artefact
        .crates
        .0
        .keys()
        .filter_map(|id| Some(one(sbom::crate_purl(id), "sha256", sums.get(id)?)));
    let debian = artefact
        .debian
        .iter()
        .map(|package| one(sbom::debian_purl(package), "sha256", &package.sha256));
    let npm = artefact.npm.iter().map(|package| {
        let hash = package.integrity.trim_start_matches("sha512-");
        one(sbom::npm_purl(package), "sha512", &hexadecimal(hash))
    });
    let mut materials: Vec<_> = crates.chain(debian).chain(npm).collect();
    materials.sort();
    materials
}

/// npm writes hashes in base64, a statement in hexadecimal digits.
fn hexadecimal(base64: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(base64)
        .unwrap_or_default();
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The hashes of crates by name and version, from the text of `Cargo.lock`.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    #[derive(Deserialize)]
    struct File {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let file: File = toml::from_str(lock).context("Cargo.lock is damaged")?;
    let with_sum = |one: Package| Some(((one.name, one.version), one.checksum?));
    Ok(file.package.into_iter().filter_map(with_sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crates_of_a_registry_have_a_checksum() {
        let lock = "[[package]]\nname = \"ours\"\nversion = \"0.5.0\"\n\n\
                    [[package]]\nname = \"serde\"\nversion = \"1.0.2\"\nchecksum = \"ab\"\n";
        let sums = checksums(lock).unwrap();
        assert_eq!(
            sums,
            BTreeMap::from([(("serde".to_owned(), "1.0.2".to_owned()), "ab".to_owned())])
        );
    }

    #[test]
    fn hashes_of_npm_are_written_in_hexadecimal_digits() {
        assert_eq!(hexadecimal("q80="), "abcd");
    }
}
