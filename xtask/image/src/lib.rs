//! What the chores and the release pipeline share: container images without a daemon (OCI archives that are equal, bit
//! for bit, wherever they are built), the job runner, and the one way to run a program.

mod apt;
mod assemble;
mod binary;
mod definition;
pub mod jobs;
pub mod krew;
mod lock;
pub mod machine;
mod oci;
pub mod process;
pub mod progress;
pub mod python;
mod recipe;
mod resolve;
pub mod tools;
pub mod workspace;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use self::binary::{Executable, Programs, built_by, compile, compile_edition, compile_fips, stripped};
pub use self::definition::{Binary, Definition};
pub use self::lock::{Lock, NpmPackage, Package};
pub use self::recipe::npm::licence as npm_licence;
pub use self::resolve::lock as renew_lock;

/// An image of the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// The controllers.
    Operator,
    /// The four containers of a polecat's pod.
    PolecatAgent,
    /// Git hosts and a scripted model, for tests only.
    Testbed,
    /// An agent whose task is a shell script, for tests only.
    AgentStandIn,
}

impl Name {
    /// Every image.
    pub const ALL: [Self; 4] = [
        Self::Operator,
        Self::PolecatAgent,
        Self::Testbed,
        Self::AgentStandIn,
    ];

    /// The name on the command line and of folders.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::PolecatAgent => "polecat-agent",
            Self::Testbed => "testbed",
            Self::AgentStandIn => "agent-stand-in",
        }
    }

    /// Registry and path under which the image is published.
    pub fn repository(self) -> Result<String> {
        repository(self.as_str())
    }
}

/// Registry and path under which an image, the chart or the definitions are published, from `images/names.toml`.
pub fn repository(name: &str) -> Result<String> {
    let file = workspace::root().join("images/names.toml");
    let mut names: std::collections::BTreeMap<String, String> =
        toml::from_str(&fs_err::read_to_string(&file)?)?;
    names
        .remove(name)
        .with_context(|| format!("{} names no {name:?}", file.display()))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the binary of an image is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As tests compile it: dependencies are shared with them.
    Dev,
    /// As it is shipped.
    Release,
}

/// Which cryptography the programs of an image have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edition {
    /// AWS-LC.
    Community,
    /// The validated module AWS-LC FIPS 3.1.0.
    Fips,
}

impl Edition {
    /// Every edition.
    pub const ALL: [Self; 2] = [Self::Community, Self::Fips];

    /// The name of cargo's feature and of folders.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Community => "community",
            Self::Fips => "fips",
        }
    }

    /// The tag of an image of this edition: `0.5.0`, `0.5.0-fips`.
    pub fn tag(self, version: &str) -> String {
        match self {
            Self::Community => version.to_owned(),
            Self::Fips => format!("{version}-fips"),
        }
    }
}

/// A processor architecture that images are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// `x86_64`
    Amd64,
    /// `aarch64`
    Arm64,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// The name that Debian and OCI have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name that Rust has for Linux on it.
    pub fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The architecture of which Rust has that name.
    pub fn of_triple(triple: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.triple() == triple)
    }

    /// The GNU program `name`, such as `strip`, that handles files of this architecture.
    pub fn gnu(self, name: &str) -> String {
        match self {
            _ if self.is_native() => name.to_owned(),
            Self::Amd64 => format!("x86_64-linux-gnu-{name}"),
            Self::Arm64 => format!("aarch64-linux-gnu-{name}"),
        }
    }

    /// The program of QEMU that runs programs of it elsewhere.
    pub fn emulator(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-x86_64",
            Self::Arm64 => "qemu-aarch64",
        }
    }

    /// Whether programs of it run on this machine.
    pub fn is_native(self) -> bool {
        self.triple().starts_with(std::env::consts::ARCH)
    }
}

/// Which build of an image is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// How its program is compiled.
    pub profile: Profile,
    /// Which cryptography its program has.
    pub edition: Edition,
    /// What it runs on.
    pub architecture: Architecture,
    /// The commit that it is built from; only what is released names it, because every commit would make new images.
    pub revision: Option<String>,
}

impl Variant {
    /// What tests and `cargo xtask image build` make.
    pub fn local(profile: Profile) -> Self {
        Self {
            profile,
            edition: Edition::Community,
            architecture: Architecture::Amd64,
            revision: None,
        }
    }

    /// The folder of what was built, below that of the image.
    fn folder(&self) -> String {
        match self.revision {
            None => self.profile.as_str().to_owned(),
            Some(_) => [
                self.profile.as_str(),
                self.edition.as_str(),
                self.architecture.as_str(),
            ]
            .join("-"),
        }
    }
}

impl Profile {
    fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

/// An image on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltImage {
    /// Registry and path, without tag.
    pub name: String,
    /// The project's version, and the edition.
    pub tag: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// Bytes that a registry stores for it.
    pub size: u64,
    /// The OCI archive; it names the image by digest and by tag.
    pub archive: PathBuf,
}

impl BuiltImage {
    /// `NAME@sha256:…`
    pub fn reference(&self) -> String {
        format!("{}@{}", self.name, self.digest)
    }

    /// `NAME:TAG`
    pub fn tagged(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }
}

/// Compiles the programs of images in one build and puts each image together.
pub fn build(names: &[Name], profile: Profile) -> Result<Vec<BuiltImage>> {
    let definitions = names.iter().map(|name| Definition::load(*name));
    let definitions = definitions.collect::<Result<Vec<_>>>()?;
    let binaries: Vec<_> = definitions.iter().map(|definition| &definition.binary).collect();
    let programs = compile(&binaries, profile)?;
    names
        .iter()
        .map(|name| assemble(*name, profile, &programs))
        .collect()
}

/// Puts an image together, unless what it is made of has not changed since the last time.
pub fn assemble(name: Name, profile: Profile, programs: &Programs) -> Result<BuiltImage> {
    variant(name, &Variant::local(profile), programs)
}

/// Puts a variant of an image together; see [`assemble`].
pub fn variant(name: Name, variant: &Variant, programs: &Programs) -> Result<BuiltImage> {
    assemble::build(name, variant, programs).with_context(|| format!("failed to build image {name}"))
}

/// Makes the layers of an image that hold no program of ours, unless they are in the cache.
pub fn prepare(name: Name) -> Result<()> {
    assemble::prepare(name).with_context(|| format!("failed to make the layers of image {name}"))
}
