//! `image.toml`: what an image is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::workspace;
use crate::{Architecture, Name};

/// The definition of an image, as its `image.toml` says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Label `org.opencontainers.image.title`.
    pub title: String,
    /// Label `org.opencontainers.image.description`.
    pub description: String,
    /// Debian packages; the lock adds what they depend on, not what they recommend.
    pub packages: Vec<String>,
    /// Debian packages that are left out although something depends on them.
    #[serde(default)]
    pub without: Vec<String>,
    /// The program that is compiled into the image.
    pub binary: Binary,
    /// The npm packages on each architecture, by name: those with programs have one for each.
    #[serde(default)]
    npm: BTreeMap<Architecture, BTreeMap<String, NpmFiles>>,
    /// The user of UID 65532.
    pub account: Account,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Command that the container runs, arguments of the pod after it.
    pub entrypoint: Vec<String>,
    /// Symbolic links and their targets, which in Debian maintainer scripts would make.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Empty directories, writable for group 0, where volumes are mounted.
    #[serde(default)]
    pub mount_points: Vec<String>,
    /// Ports of the services in the image, for readers of its configuration.
    #[serde(default)]
    pub ports: Vec<u16>,
}

/// A binary of the workspace, put at `/usr/bin/<name>`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binary {
    /// Cargo's name of the package.
    pub package: String,
    /// The binary's name.
    pub name: String,
}

/// Files of an npm package: path in its tarball to path in the image. Those below `/usr/bin` are executable.
pub type NpmFiles = BTreeMap<String, String>;

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

impl Definition {
    /// The folder with `image.toml` and, where there is one, `rootfs`.
    pub fn folder(name: Name) -> PathBuf {
        match name {
            Name::Operator | Name::PolecatAgent => workspace::root().join("images").join(name.as_str()),
            Name::Testbed | Name::AgentStandIn => workspace::root().join("tests/images").join(name.as_str()),
        }
    }

    /// The npm packages on `architecture`, by name.
    pub fn npm(&self, architecture: Architecture) -> impl Iterator<Item = (&str, &NpmFiles)> {
        let packages = self.npm.get(&architecture).into_iter().flatten();
        packages.map(|(name, files)| (name.as_str(), files))
    }

    /// Reads the definition of `name`.
    pub fn load(name: Name) -> Result<Self> {
        let file = Self::folder(name).join("image.toml");
        toml::from_str(&fs_err::read_to_string(&file)?)
            .with_context(|| format!("{} is wrong", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_has_a_definition() {
        for name in Name::ALL {
            let definition = Definition::load(name).unwrap();
            let agents = |architecture| {
                let files = definition
                    .npm(architecture)
                    .flat_map(|(_, files)| files.values().cloned());
                files.collect::<std::collections::BTreeSet<_>>()
            };
            let [amd64, arm64] = Architecture::ALL.map(agents);
            assert_eq!(amd64, arm64, "{name} has the same agents everywhere");
        }
    }
}
