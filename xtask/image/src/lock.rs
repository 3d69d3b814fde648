//! `images/images.lock`: every package of every image by version and hash.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::workspace;
use crate::{Architecture, Name};

const HEADER: &str = "\
# Every Debian and npm package of every image, by version and hash.
# Written by `cargo xtask image lock`; not meant to be edited.
";

/// The lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Seconds since 1970 at which this set of packages was resolved: the time of every file of every image.
    pub epoch: u64,
    /// The Debian release.
    pub suite: String,
    /// The Debian packages of each image on each architecture, dependencies included, sorted.
    pub images: BTreeMap<Architecture, BTreeMap<String, Vec<String>>>,
    /// The Debian packages, sorted by name and architecture.
    #[serde(rename = "package", default)]
    pub packages: Vec<Package>,
    /// The npm packages, sorted by name.
    #[serde(rename = "npm", default)]
    pub npm_packages: Vec<NpmPackage>,
}

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// `amd64`, `arm64`, or `all`.
    pub architecture: String,
    /// Path below the root of the Debian archive.
    pub path: String,
    /// Hexadecimal.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
}

/// An npm package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpmPackage {
    pub name: String,
    pub version: String,
    /// `sha512-` and base64, as npm writes it.
    pub integrity: String,
}

impl Lock {
    /// Where the lock file is.
    pub fn file() -> PathBuf {
        workspace::root().join("images/images.lock")
    }

    /// Reads the lock file.
    pub fn load() -> Result<Self> {
        Self::parse(&fs_err::read_to_string(Self::file())?)
            .context("images/images.lock cannot be used; `cargo xtask image lock` writes it")
    }

    /// Reads the text of a lock file.
    pub fn parse(text: &str) -> Result<Self> {
        let lock: Self = toml::from_str(text)?;
        for package in &lock.packages {
            let hash = &package.sha256;
            let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            ensure!(
                is_hash,
                "package {:?} has sha256 {hash:?}, not 64 hexadecimal digits",
                package.name
            );
        }
        for (architecture, images) in &lock.images {
            for name in images.values().flatten() {
                lock.package(name, *architecture)?;
            }
        }
        Ok(lock)
    }

    /// The text of the lock file.
    pub fn render(&self) -> Result<String> {
        Ok(format!("{HEADER}{}", toml::to_string_pretty(self)?))
    }

    /// The Debian packages of an image.
    pub fn packages_of(&self, name: Name, architecture: Architecture) -> Result<Vec<&Package>> {
        let remedy = || {
            let architecture = architecture.as_str();
            format!("the lock knows no image {name} on {architecture}; `cargo xtask image lock` adds it")
        };
        let images = self.images.get(&architecture).with_context(remedy)?;
        let names = images.get(name.as_str()).with_context(remedy)?;
        names
            .iter()
            .map(|name| self.package(name, architecture))
            .collect()
    }

    /// An npm package by name.
    pub fn npm_package(&self, name: &str) -> Result<&NpmPackage> {
        let found = self.npm_packages.iter().find(|package| package.name == name);
        found.with_context(|| format!("npm package {name:?} is not locked; `cargo xtask image lock` adds it"))
    }

    /// What a new lock changes, one line each.
    pub fn changes(&self, new: &Self) -> Vec<String> {
        let (old, new) = (self.versions(), new.versions());
        let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        let line = |name: &String| match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old == new => None,
            (Some((old, _)), Some((new, _))) if old == new => {
                Some(format!("{name} {old}: another file, same version"))
            }
            (Some((old, _)), Some((new, _))) => Some(format!("{name} {old} → {new}")),
            (None, Some((new, _))) => Some(format!("{name} {new}: added")),
            (Some((old, _)), None) => Some(format!("{name} {old}: removed")),
            (None, None) => None,
        };
        names.into_iter().filter_map(line).collect()
    }

    fn package(&self, name: &str, architecture: Architecture) -> Result<&Package> {
        let fits = |package: &&Package| {
            package.name == name && ["all", architecture.as_str()].contains(&&*package.architecture)
        };
        self.packages.iter().find(fits).with_context(|| {
            format!(
                "package {name:?} is named by an image on {} and not locked",
                architecture.as_str()
            )
        })
    }

    fn versions(&self) -> BTreeMap<String, (&str, &str)> {
        let debian = self.packages.iter().map(|one| {
            (
                format!("{} {}", one.name, one.architecture),
                (&*one.version, &*one.sha256),
            )
        });
        let npm = self
            .npm_packages
            .iter()
            .map(|one| (one.name.clone(), (&*one.version, &*one.integrity)));
        debian.chain(npm).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(version: &str) -> Lock {
        let package = |name: &str, version: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            path: format!("pool/main/{name}.deb"),
            sha256: "0".repeat(64),
            size: 1,
        };
        Lock {
            epoch: 1,
            suite: "trixie".to_owned(),
            images: BTreeMap::from([(
                Architecture::Amd64,
                BTreeMap::from([("operator".to_owned(), vec!["libc6".to_owned()])]),
            )]),
            packages: vec![package("libc6", version)],
            npm_packages: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let lock = lock("2.41");
        assert_eq!(Lock::parse(&lock.render().unwrap()).unwrap(), lock);
    }

    #[test]
    fn a_package_that_is_not_locked_is_refused() {
        let text = lock("1")
            .render()
            .unwrap()
            .replace("\"libc6\"]", "\"libc6\", \"git\"]");
        let error = Lock::parse(&text).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"package "git" is named by an image on amd64 and not locked"#
        );
        let foreign = lock("1")
            .render()
            .unwrap()
            .replace("[images.amd64]", "[images.arm64]");
        let error = Lock::parse(&foreign).unwrap_err();
        assert!(error.to_string().contains("on arm64 and not locked"), "{error}");
    }

    #[test]
    fn a_hash_that_is_cut_short_is_refused() {
        let text = lock("1").render().unwrap().replace(&"0".repeat(64), "00");
        let error = Lock::parse(&text).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"package "libc6" has sha256 "00", not 64 hexadecimal digits"#
        );
    }

    #[test]
    fn changes_name_the_old_and_the_new_version() {
        assert_eq!(lock("1").changes(&lock("2")), ["libc6 amd64 1 → 2"]);
        assert_eq!(lock("1").changes(&lock("1")), [""; 0]);
        let mut other = lock("1");
        other.packages[0].sha256 = "1".repeat(64);
        assert_eq!(
            lock("1").changes(&other),
            ["libc6 amd64 1: another file, same version"]
        );
        other.packages.clear();
        assert_eq!(lock("1").changes(&other), ["libc6 amd64 1: removed"]);
        assert_eq!(other.changes(&lock("1")), ["libc6 amd64 1: added"]);
    }
}
