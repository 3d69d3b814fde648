//! Brings the locked Debian packages here, and makes a tree of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::tree::{Tree, TreePath};
use super::{deb, system};
use crate::Architecture;
use crate::apt::{Apt, Record};
use crate::definition::Definition;
use crate::lock::{Lock, Package};
use crate::{progress, workspace};

/// The tree of an image's packages, downloading what is not in the cache.
pub fn tree(
    lock: &Lock,
    packages: &[&Package],
    definition: &Definition,
    architecture: Architecture,
) -> Result<Tree> {
    fetch(lock, packages, architecture)?;
    let mut tree = Tree::default();
    for package in packages {
        let what = || format!("package {} {}", package.name, package.version);
        let file = cached(package)?;
        let bytes = fs_err::read(&file)?;
        verify(package, &bytes).with_context(|| format!("{} is damaged; remove it", file.display()))?;
        let deb = deb::read(&bytes).with_context(what)?;
        tree.merge(deb.files).with_context(what)?;
        system::record(&mut tree, &package.name, &deb.control, &deb.checksums).with_context(what)?;
    }
    let also = (architecture == Architecture::Amd64).then_some("lib64");
    for root in ["bin", "sbin", "lib"].into_iter().chain(also) {
        ensure!(
            tree.get(&TreePath::parse(root)?).is_some(),
            "no package ships the link /{root}; add \"base-files\""
        );
    }
    system::complete(&mut tree, definition)?;
    Ok(tree)
}

fn cached(package: &Package) -> Result<PathBuf> {
    Ok(workspace::cache()?
        .join("debs")
        .join(format!("{}.deb", package.sha256)))
}

fn verify(package: &Package, bytes: &[u8]) -> Result<()> {
    let Package {
        name,
        version,
        sha256,
        ..
    } = package;
    let found = format!("{:x}", Sha256::digest(bytes));
    ensure!(
        found == *sha256,
        "package {name} {version} has sha256 {found}, but {sha256} is locked; it is not used"
    );
    Ok(())
}

fn fetch(lock: &Lock, packages: &[&Package], architecture: Architecture) -> Result<()> {
    let mut missing = Vec::new();
    for package in packages {
        if !cached(package)?.exists() {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    progress::step(format!("download {} Debian packages", missing.len()), || {
        download(lock, &missing, architecture)
    })
}

fn download(lock: &Lock, missing: &[&Package], architecture: Architecture) -> Result<()> {
    let apt = Apt::current(&lock.suite, architecture.as_str())?;
    let names: Vec<_> = missing.iter().map(|package| package.name.clone()).collect();
    check_availability(missing, &apt.versions(&names)?)?;

    let folder = workspace::cache()?.join("debs");
    fs_err::create_dir_all(&folder)?;
    let fresh = tempfile::tempdir_in(&folder).context("failed to make a folder for downloads")?;
    let exact: Vec<_> = missing
        .iter()
        .map(|package| format!("{}={}", package.name, package.version))
        .collect();
    apt.download(&exact, fresh.path())?;
    let mut downloaded = BTreeSet::new();
    for file in fs_err::read_dir(fresh.path())? {
        let file = file?.path();
        let hash = format!("{:x}", Sha256::digest(fs_err::read(&file)?));
        fs_err::rename(&file, fresh.path().join(&hash))?;
        downloaded.insert(hash);
    }
    for package in missing {
        let Package {
            name,
            version,
            sha256,
            ..
        } = package;
        ensure!(
            downloaded.contains(sha256),
            "apt brought no {name} {version} of the locked sha256 {sha256}"
        );
        fs_err::rename(fresh.path().join(sha256), cached(package)?)?;
    }
    Ok(())
}

/// Whether the archive still has the locked packages: Debian drops a version when a newer one replaces it.
fn check_availability(wanted: &[&Package], available: &[Record]) -> Result<()> {
    let mut problems = Vec::new();
    for package in wanted {
        let Package {
            name,
            version,
            sha256,
            ..
        } = package;
        let versions: Vec<_> = available.iter().filter(|record| record.name == *name).collect();
        match versions.iter().find(|record| record.version == *version) {
            Some(record) if record.sha256 == *sha256 => {}
            Some(record) => {
                problems.push(format!(
                    "{name} {version}: locked sha256 {sha256}, available {}",
                    record.sha256
                ));
            }
            None => {
                let versions: Vec<_> = versions.iter().map(|record| record.version.as_str()).collect();
                let there = if versions.is_empty() {
                    "none".to_owned()
                } else {
                    versions.join(", ")
                };
                problems.push(format!("{name}: locked {version}, available {there}"));
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "Debian's archive no longer has what is locked:\n  {}\n`cargo xtask image lock` takes the available packages",
        problems.join("\n  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(sha256: &str) -> Package {
        Package {
            name: "git".to_owned(),
            version: "1:2.47".to_owned(),
            architecture: "amd64".to_owned(),
            path: "pool/git.deb".to_owned(),
            sha256: sha256.to_owned(),
            size: 3,
        }
    }

    fn record(version: &str, sha256: &str) -> Record {
        Record {
            name: "git".to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            provides: None,
            path: "pool/git.deb".to_owned(),
            sha256: sha256.to_owned(),
            size: 3,
        }
    }

    #[test]
    fn a_package_with_another_hash_is_not_used() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        verify(&package(abc), b"abc").unwrap();
        let error = verify(&package("00"), b"abc").unwrap_err();
        let wanted = format!("package git 1:2.47 has sha256 {abc}, but 00 is locked; it is not used");
        assert_eq!(error.to_string(), wanted);
    }

    #[test]
    fn a_version_that_vanished_is_named_with_the_remedy() {
        check_availability(&[&package("00")], &[record("1:2.47", "00")]).unwrap();
        let error = check_availability(&[&package("00")], &[record("1:2.48", "11")]).unwrap_err();
        let wanted = "Debian's archive no longer has what is locked:\n  git: locked 1:2.47, available 1:2.48\n\
                      `cargo xtask image lock` takes the available packages";
        assert_eq!(error.to_string(), wanted);
        assert!(check_availability(&[&package("00")], &[record("1:2.47", "11")]).is_err());
        let error = check_availability(&[&package("00")], &[]).unwrap_err();
        assert!(
            error.to_string().contains("git: locked 1:2.47, available none"),
            "{error}"
        );
    }
}
