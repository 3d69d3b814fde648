use anyhow::{Result, bail};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<()> {
    bail!("image is not written")
}

/// Interface that `deploy` builds on.
#[derive(Debug, Clone, Copy)]
pub enum Name {
    Operator,
    PolecatAgent,
    Testbed,
}

#[derive(Debug, Clone, Copy)]
pub enum Profile {
    Dev,
    Release,
}

pub struct BuiltImage {
    /// Such as `ghcr.io/boshu2/gastown-operator`.
    pub name: String,
    /// `sha256:…`.
    pub digest: String,
    pub archive: std::path::PathBuf,
}

impl BuiltImage {
    /// `NAME@sha256:…`.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.name, self.digest)
    }
}

pub fn build(_: Name, _: Profile) -> Result<BuiltImage> {
    bail!("image is not written")
}
