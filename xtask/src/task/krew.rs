//! `cargo xtask krew`: the plugin's archives and the manifest by which `kubectl krew` installs them; beside each archive
//! the program alone, as the README's `curl` takes it.

use anyhow::{Result, bail};
use xtask_image::krew::{self, Download, Platform};
use xtask_image::{Architecture, stripped};

use super::install::PLUGIN;
use crate::process::Command;
use crate::workspace;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The platforms, as Rust names them; each must have its target and linker installed. Only this machine's, linux on
    /// amd64, is tested.
    #[arg(
        long = "target",
        value_name = "TRIPLE",
        default_value = "x86_64-unknown-linux-gnu"
    )]
    targets: Vec<String>,
    /// Where the archives will be downloaded from.
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://github.com/boshu2/gastown-operator/releases/download"
    )]
    base_url: String,
}

pub fn run(args: &Args) -> Result<()> {
    let folder = workspace::root().join("target/krew");
    let version = workspace::package("version")?;
    let licence = fs_err::read(workspace::root().join("LICENSE"))?;
    let mut downloads = Vec::new();
    for target in &args.targets {
        let platform = platform(target)?;
        let program = build(target, &platform)?;
        let archive = krew::archive(&program, platform.program, &licence, 0)?;
        let bare = format!("{PLUGIN}-{}-{}", platform.os, platform.arch);
        workspace::write_whole(&folder.join(&bare), &program)?;
        let name = format!("{bare}.tar.gz");
        workspace::write_whole(&folder.join(&name), &archive)?;
        let uri = format!("{}/v{version}/{name}", args.base_url);
        downloads.push(Download::new(platform, uri, &archive));
    }
    let manifest = krew::manifest(&version, &downloads);
    workspace::write_whole(&folder.join("gt.yaml"), manifest.as_bytes())?;
    println!(
        "wrote {} and {} archives",
        folder.join("gt.yaml").display(),
        downloads.len()
    );
    Ok(())
}

fn platform(target: &str) -> Result<Platform> {
    let arch = match target.split('-').next().unwrap_or_default() {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => bail!("failed to find krew's name of {target:?}; use a target for x86_64 or aarch64"),
    };
    let (os, program) = match () {
        () if target.contains("linux") => ("linux", PLUGIN),
        () if target.contains("apple-darwin") => ("darwin", PLUGIN),
        () if target.contains("windows") => ("windows", "kubectl-gt.exe"),
        () => bail!("failed to find krew's name of {target:?}; use a target for linux, darwin or windows"),
    };
    Ok(Platform { os, arch, program })
}

fn build(target: &str, platform: &Platform) -> Result<Vec<u8>> {
    let root = workspace::root();
    let cargo = Command::new("cargo").args([
        "build",
        "--locked",
        "--release",
        "--package",
        PLUGIN,
        "--bin",
        PLUGIN,
    ]);
    cargo.args(["--target", target]).current_dir(&root).run()?;
    let built = workspace::target()
        .join(target)
        .join("release")
        .join(platform.program);
    match Architecture::of_triple(target) {
        Some(architecture) => stripped(&built, architecture),
        None => Ok(fs_err::read(built)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_named_as_krew_names_them() {
        let names = |target| platform(target).map(|p| (p.os, p.arch, p.program)).unwrap();
        assert_eq!(
            names("x86_64-unknown-linux-gnu"),
            ("linux", "amd64", "kubectl-gt")
        );
        assert_eq!(names("aarch64-apple-darwin"), ("darwin", "arm64", "kubectl-gt"));
        assert_eq!(
            names("x86_64-pc-windows-msvc"),
            ("windows", "amd64", "kubectl-gt.exe")
        );
        assert!(platform("riscv64gc-unknown-linux-gnu").is_err());
    }
}
