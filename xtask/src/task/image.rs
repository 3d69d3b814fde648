//! Container images without a daemon: OCI archives that are equal, bit for bit, wherever they are built.

mod apt;
mod assemble;
mod binary;
mod deb;
mod definition;
mod layer;
mod lock;
mod npm;
mod oci;
mod packages;
mod resolve;
mod system;
mod tree;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

pub use self::binary::{Programs, compile, stripped};
pub use self::definition::Binary;

/// Arguments of `cargo xtask image`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build images as OCI archives below target/image.
    Build {
        /// The images to build.
        #[arg(required = true)]
        names: Vec<Name>,
        /// Compile as tests do, which is quicker than for release.
        #[arg(long)]
        dev: bool,
    },
    /// Take the newest Debian and npm packages into images/images.lock, and show what that changes.
    Lock,
}

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

    /// Registry and path under which the image is published, from `images/names.toml`.
    pub fn repository(self) -> Result<String> {
        let file = crate::workspace::root().join("images/names.toml");
        let mut names: std::collections::BTreeMap<String, String> =
            toml::from_str(&fs_err::read_to_string(&file)?)?;
        names
            .remove(self.as_str())
            .with_context(|| format!("{} names no {self:?}", file.display()))
    }
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
    /// The project's version.
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

/// Compiles the program of an image and puts the image together.
fn build(name: Name, profile: Profile) -> Result<BuiltImage> {
    let definition = definition::Definition::load(name)?;
    assemble(name, profile, &compile(&[&definition.binary], profile)?)
}

/// Puts an image together, unless what it is made of has not changed since the last time.
pub fn assemble(name: Name, profile: Profile, programs: &Programs) -> Result<BuiltImage> {
    assemble::build(name, profile, programs).with_context(|| format!("failed to build image {name}"))
}

/// Makes the layers of an image that hold no program of ours, unless they are in the cache.
pub fn prepare(name: Name) -> Result<()> {
    assemble::prepare(name).with_context(|| format!("failed to make the layers of image {name}"))
}

/// Carries out `cargo xtask image`.
pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Build { names, dev } => {
            let profile = if dev { Profile::Dev } else { Profile::Release };
            for name in names {
                let image = build(name, profile)?;
                println!("{}\n{}", image.reference(), image.tagged());
                println!(
                    "  {:.1} MB compressed, {}",
                    megabytes(image.size),
                    image.archive.display()
                );
            }
            Ok(())
        }
        Command::Lock => resolve::lock(),
    }
}

fn megabytes(bytes: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "no image comes near 2^52 bytes, and one digit is shown"
    )]
    let bytes = bytes as f64;
    bytes / 1e6
}
