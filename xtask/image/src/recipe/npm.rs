//! Brings the locked npm packages here, through the machine's npm.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha512};

use super::tree::{Tree, TreePath};
use crate::definition::NpmFiles;
use crate::lock::NpmPackage;
use crate::process::Command;
use crate::{progress, workspace};

/// Platforms by which packages of one program are told apart, as in `@openai/codex@linux-x64` and `claude-code-linux-arm64`.
const PLATFORMS: [&str; 2] = ["linux-x64", "linux-arm64"];

/// Finds packages in the registry: of each program the version that `kept` has, else the newest, on every platform the same.
pub fn resolve<'a>(
    names: impl IntoIterator<Item = &'a String>,
    kept: &[NpmPackage],
) -> Result<Vec<NpmPackage>> {
    ensure_npm()?;
    let mut versions: BTreeMap<&str, String> = BTreeMap::new();
    for package in kept {
        versions.insert(program(&package.name), bare(&package.version).to_owned());
    }
    let mut found = Vec::new();
    for name in names {
        let program = program(name);
        if !versions.contains_key(program) {
            let newest = Command::new("npm")
                .args(["view", split(name).0, "version"])
                .text()?;
            versions.insert(program, newest);
        }
        found.push(view(name, &versions[program])?);
    }
    Ok(found)
}

/// Describes a version of a package. Where a name ends with a platform, as in `@openai/codex@linux-x64`, each version of
/// the package comes once more for each platform, by a version that ends with it.
fn view(name: &str, version: &str) -> Result<NpmPackage> {
    #[derive(Deserialize)]
    struct View {
        version: String,
        #[serde(rename = "dist.integrity")]
        integrity: String,
    }
    let exact = match split(name) {
        (package, None) => format!("{package}@{version}"),
        (package, Some(platform)) => format!("{package}@{version}-{platform}"),
    };
    let view = Command::new("npm")
        .args(["view", "--json", &exact, "version", "dist.integrity"])
        .text()?;
    let view: View =
        serde_json::from_str(&view).with_context(|| format!("npm describes {exact:?} as {view:?}"))?;
    Ok(NpmPackage {
        name: name.to_owned(),
        version: view.version,
        integrity: view.integrity,
    })
}

/// A package's name without its platform.
fn program(name: &str) -> &str {
    let mut ends = PLATFORMS
        .iter()
        .filter_map(|platform| name.strip_suffix(platform));
    ends.next().map_or(name, |name| name.trim_end_matches(['-', '@']))
}

/// A version without its platform.
fn bare(version: &str) -> &str {
    program(version)
}

/// The package's own name, and the platform.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('@') {
        Some((package, platform)) if !package.is_empty() => (package, Some(platform)),
        _ => (name, None),
    }
}

/// The wanted files of a package, downloading it unless it is in the cache.
pub fn tree(package: &NpmPackage, wanted: &NpmFiles) -> Result<Tree> {
    let bytes = tarball(package)?;
    unpack(&bytes, wanted).with_context(|| format!("npm package {} {}", package.name, package.version))
}

/// The licence that a package's manifest declares, if it declares one.
pub fn licence(package: &NpmPackage) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Manifest {
        license: Option<String>,
    }
    let bytes = tarball(package)?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*bytes));
    for entry in archive.entries().context("the tarball is damaged")? {
        let entry = entry.context("the tarball is damaged")?;
        if entry.path().context("the tarball is damaged")? == Path::new("package/package.json") {
            let manifest: Manifest = serde_json::from_reader(entry)
                .with_context(|| format!("the manifest of npm package {} is wrong", package.name))?;
            return Ok(manifest.license);
        }
    }
    Ok(None)
}

/// The package as npm packed it.
fn tarball(package: &NpmPackage) -> Result<Vec<u8>> {
    let NpmPackage { name, version, .. } = package;
    let folder = workspace::cache()?.join("npm");
    fs_err::create_dir_all(&folder)?;
    let file = folder.join(format!("{}-{version}.tgz", name.replace('/', "-")));
    if !file.exists() {
        progress::step(format!("download {name} {version}"), || {
            download(package, &folder, &file)
        })?;
    }
    let bytes = fs_err::read(&file)?;
    verify(package, &bytes).with_context(|| format!("{} is damaged; remove it", file.display()))?;
    Ok(bytes)
}

fn download(package: &NpmPackage, folder: &Path, file: &Path) -> Result<()> {
    ensure_npm()?;
    let fresh = tempfile::tempdir_in(folder).context("failed to make a folder for a download")?;
    let exact = format!("{}@{}", split(&package.name).0, package.version);
    Command::new("npm")
        .args(["pack", "--silent", &exact])
        .current_dir(fresh.path())
        .output()?;
    let mut files = fs_err::read_dir(fresh.path())?;
    let tarball = files
        .next()
        .with_context(|| format!("npm packed no file for {exact}"))??;
    verify(package, &fs_err::read(tarball.path())?)?;
    Ok(fs_err::rename(tarball.path(), file)?)
}

fn verify(package: &NpmPackage, bytes: &[u8]) -> Result<()> {
    let NpmPackage {
        name,
        version,
        integrity,
    } = package;
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha512::digest(bytes));
    let found = format!("sha512-{hash}");
    ensure!(
        found == *integrity,
        "npm package {name} {version} is {found}, but {integrity} is locked; it is not used"
    );
    Ok(())
}

fn unpack(bytes: &[u8], wanted: &NpmFiles) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    for entry in archive.entries().context("the tarball is damaged")? {
        let mut entry = entry.context("the tarball is damaged")?;
        let name = entry
            .path()
            .context("the tarball is damaged")?
            .display()
            .to_string();
        let Some(target) = wanted.get(&name) else { continue };
        let target = TreePath::parse(target)?;
        let mut content = Vec::new();
        entry
            .read_to_end(&mut content)
            .with_context(|| format!("{name:?} is cut short"))?;
        let mode = if target.as_str().starts_with("usr/bin/") {
            0o755
        } else {
            0o644
        };
        tree.file(target, mode, content)?;
        found.push(name);
    }
    for name in wanted.keys() {
        ensure!(found.contains(name), "the tarball has no {name:?}");
    }
    Ok(tree)
}

fn ensure_npm() -> Result<()> {
    if Command::new("npm").arg("--version").succeeds() {
        return Ok(());
    }
    progress::step("install npm", || {
        let apt = || Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
        apt().arg("update").output()?;
        apt()
            .args(["install", "--yes", "--no-install-recommends", "npm"])
            .output()
            .map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tarball() -> Vec<u8> {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        let mut header = tar::Header::new_gnu();
        header.set_size(6);
        builder
            .append_data(&mut header, "package/claude", b"binary".as_slice())
            .unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn wanted(name: &str) -> NpmFiles {
        NpmFiles::from([(name.to_owned(), "/usr/bin/claude".to_owned())])
    }

    #[test]
    fn wanted_files_are_taken_and_missing_ones_named() {
        let tree = unpack(&tarball(), &wanted("package/claude")).unwrap();
        assert!(tree.get(&TreePath::parse("usr/bin/claude").unwrap()).is_some());
        let error = unpack(&tarball(), &wanted("package/codex")).unwrap_err();
        assert_eq!(error.to_string(), r#"the tarball has no "package/codex""#);
    }

    #[test]
    fn a_name_may_end_with_a_platform() {
        assert_eq!(
            split("@openai/codex@linux-x64"),
            ("@openai/codex", Some("linux-x64"))
        );
        assert_eq!(
            split("@anthropic-ai/claude-code-linux-x64"),
            ("@anthropic-ai/claude-code-linux-x64", None)
        );
        assert_eq!(split("plain"), ("plain", None));
    }

    #[test]
    fn the_packages_of_one_program_are_those_that_differ_by_their_platform() {
        for (x64, arm64) in [
            ("@openai/codex@linux-x64", "@openai/codex@linux-arm64"),
            (
                "@anthropic-ai/claude-code-linux-x64",
                "@anthropic-ai/claude-code-linux-arm64",
            ),
        ] {
            assert_eq!(program(x64), program(arm64));
        }
        assert_ne!(
            program("@openai/codex@linux-x64"),
            program("@anthropic-ai/claude-code-linux-x64")
        );
        assert_eq!(
            (bare("0.171.0-linux-x64"), bare("2.1.330")),
            ("0.171.0", "2.1.330")
        );
    }

    #[test]
    fn a_package_with_another_integrity_is_not_used() {
        let package = NpmPackage {
            name: "x".to_owned(),
            version: "1".to_owned(),
            integrity: "sha512-AA==".to_owned(),
        };
        let error = verify(&package, b"abc").unwrap_err();
        let wanted = "npm package x 1 is sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==, \
                      but sha512-AA== is locked; it is not used";
        assert_eq!(error.to_string(), wanted);
    }
}
