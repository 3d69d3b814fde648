//! `cargo xtask krew`: the plugin's archives and the manifest by which `kubectl krew` installs them; beside each archive
//! the program alone, as the README's `curl` takes it.

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::install::PLUGIN;
use crate::process::Command;
use crate::workspace;
use xtask_image::{Architecture, stripped};

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

/// A platform as krew names it.
#[derive(Debug, PartialEq, Eq)]
struct Platform {
    os: &'static str,
    arch: &'static str,
    program: &'static str,
}

pub fn run(args: &Args) -> Result<()> {
    let folder = workspace::root().join("target/krew");
    let version = workspace::package("version")?;
    let mut platforms = Vec::new();
    for target in &args.targets {
        let platform = platform(target)?;
        let program = build(target, &platform)?;
        let archive = archive(&program, &platform)?;
        let bare = format!("{PLUGIN}-{}-{}", platform.os, platform.arch);
        workspace::write_whole(&folder.join(&bare), &program)?;
        let name = format!("{bare}.tar.gz");
        workspace::write_whole(&folder.join(&name), &archive)?;
        let uri = format!("{}/v{version}/{name}", args.base_url);
        platforms.push(entry(&platform, &uri, &archive));
    }
    let manifest = manifest(&version, &platforms);
    // JSON is YAML; krew reads either.
    workspace::write_whole(&folder.join("gt.yaml"), format!("{manifest:#}\n").as_bytes())?;
    println!(
        "wrote {} and {} archives",
        folder.join("gt.yaml").display(),
        platforms.len()
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

/// The program and the licence, the same bytes for the same program.
fn archive(program: &[u8], platform: &Platform) -> Result<Vec<u8>> {
    let licence = fs_err::read(workspace::root().join("LICENSE"))?;
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (name, mode, bytes) in [
        ("LICENSE", 0o644, licence.as_slice()),
        (platform.program, 0o755, program),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        header.set_mtime(0);
        builder
            .append_data(&mut header, name, bytes)
            .with_context(|| format!("failed to pack {name:?}"))?;
    }
    Ok(builder.into_inner()?.finish()?)
}

fn entry(platform: &Platform, uri: &str, archive: &[u8]) -> Value {
    json!({
        "selector": {"matchLabels": {"os": platform.os, "arch": platform.arch}},
        "uri": uri,
        "sha256": format!("{:x}", Sha256::digest(archive)),
        "bin": platform.program,
    })
}

fn manifest(version: &str, platforms: &[Value]) -> Value {
    json!({
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "gt"},
        "spec": {
            "version": format!("v{version}"),
            "homepage": "https://github.com/boshu2/gastown-operator",
            "shortDescription": "Run AI coding agents as pods",
            "description": "Dispatches work to polecats of gastown-operator, shows what they do,\nand manages rigs and credentials.",
            "caveats": "The operator must be installed on the cluster: `kubectl gt doctor` checks it.",
            "platforms": platforms,
        },
    })
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

    #[test]
    fn the_checksum_is_that_of_the_archive() {
        let platform = platform("x86_64-unknown-linux-gnu").unwrap();
        let packed = archive(b"program", &platform).unwrap();
        assert_eq!(packed, archive(b"program", &platform).unwrap());
        let entry = entry(&platform, "https://example.com/a.tar.gz", &packed);
        assert_eq!(entry["sha256"], format!("{:x}", Sha256::digest(&packed)));
        assert_eq!(manifest("1.2.3", &[entry])["spec"]["version"], "v1.2.3");
    }
}
