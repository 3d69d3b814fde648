//! `cargo xtask release`: compiles the release pipeline, whose libraries no other chore needs, and hands over to it.

use std::ffi::OsString;

use anyhow::Result;

use crate::process::Command;
use crate::workspace;

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// What `cargo xtask release --help` lists.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub fn run(args: &Args) -> Result<()> {
    let cargo = Command::new("cargo").args(["run", "--locked", "--package", "xtask-release"]);
    cargo
        .arg("--manifest-path")
        .arg(workspace::root().join("xtask/Cargo.toml"))
        .arg("--target-dir")
        .arg(workspace::root().join("target/xtask"))
        .arg("--")
        .args(&args.arguments)
        .run()
}
