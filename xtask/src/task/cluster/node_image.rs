//! The image of a kind node, made from package registries alone.
//!
//! What `kind build node-image` does, but its base is Debian by mmdebstrap, and the control plane is ours, built from
//! Go modules. The finished image is kept in the machine's cache, so that an engine with nothing in it only loads it.

mod base;
mod control_plane;
mod files;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::engine::Engine;
use crate::process::Command;
use crate::tools::{self, Module, Tool};
use crate::{progress, workspace};

/// To be raised when the code that makes the image changes what it makes.
const RECIPE: &str = "2";

/// The part of the containers' and images' names that is the same for all versions.
const NAME: &str = "gastown-operator-node";

/// The container in which an image is made. A name and no label: the image would inherit the label, and every node
/// made from it would look like a leftover.
const BUILD_CONTAINER: &str = "gastown-operator-node-build";

/// The folder with the files that make a node ours.
fn folder() -> PathBuf {
    workspace::root().join("tests/cluster/node")
}

/// The name of the node image that this checkout describes; it changes with everything the image is made from.
pub fn name() -> Result<String> {
    let mut inputs = vec![RECIPE.as_bytes().to_vec(), base::SUITE.as_bytes().to_vec()];
    for module in [Module::Kubernetes, Module::Coredns] {
        inputs.push(module.key()?.into_bytes());
    }
    inputs.push(Module::Kind.version()?.into_bytes());
    for (path, file) in files::of_folder(&folder())? {
        inputs.push(path.to_string_lossy().into_owned().into_bytes());
        inputs.push(fs_err::read(file)?);
    }
    Ok(format!("{NAME}:{}", tools::key(&inputs)))
}

/// Has the node image in the engine, from the cache or newly made, and returns its name.
pub fn ensure_in(engine: &Engine) -> Result<String> {
    let name = name()?;
    if engine.docker().args(["image", "inspect", &name]).succeeds() {
        return Ok(name);
    }
    let archive = workspace::cache()?
        .join("node-image")
        .join(format!("{}.tar.zst", name.replace(':', "-")));
    if archive.is_file() {
        progress::step("load the node image from the cache", || load(engine, &archive))?;
    } else {
        remove_build_container(engine)?;
        build_tools()?;
        let base = name.replace(NAME, &format!("{NAME}-base"));
        let made = base::ensure_in(engine, &base).and_then(|()| control_plane::add(engine, &base, &name));
        remove_build_container(engine)?;
        made?;
        progress::step("keep the node image in the cache", || {
            save(engine, &name, &archive)
        })?;
    }
    Ok(name)
}

/// Builds everything that goes into the image first, so that the later steps show their own times.
fn build_tools() -> Result<()> {
    tools::ensure([Tool::Kubelet, Tool::Coredns, Tool::Pause]).map(drop)
}

/// Removes the container in which a killed run was making an image.
pub fn remove_build_container(engine: &Engine) -> Result<()> {
    let name = format!("name=^/{BUILD_CONTAINER}$");
    let left = engine
        .docker()
        .args(["ps", "--all", "--quiet", "--filter", &name])
        .text()?;
    for container in left.split_whitespace() {
        engine
            .docker()
            .args(["rm", "--force", "--volumes", container])
            .output()?;
    }
    Ok(())
}

fn load(engine: &Engine, archive: &Path) -> Result<()> {
    let mut docker = spawn(
        engine.docker().args(["load", "--quiet"]),
        Stdio::piped(),
        Stdio::null(),
    )?;
    let mut stdin = docker.stdin.take().context("docker has no standard input")?;
    let mut content = zstd::Decoder::new(BufReader::new(fs_err::File::open(archive)?))?;
    io::copy(&mut content, &mut stdin).context("failed to hand the image to docker")?;
    drop(stdin);
    ensure!(
        docker.wait()?.success(),
        "docker refused {archive:?}; remove the file to have it made anew"
    );
    Ok(())
}

fn save(engine: &Engine, name: &str, archive: &Path) -> Result<()> {
    let folder = archive.parent().context("an archive stands in a folder")?;
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let mut docker = spawn(
        engine.docker().args(["save", name]),
        Stdio::null(),
        Stdio::piped(),
    )?;
    let mut stdout = docker.stdout.take().context("docker has no standard output")?;
    compress(&mut stdout, file.as_file_mut())?;
    ensure!(docker.wait()?.success(), "`docker save` failed");
    file.persist(archive)?;
    Ok(())
}

fn compress(from: &mut impl io::Read, to: &mut File) -> Result<()> {
    let mut encoder = zstd::Encoder::new(to, 3)?;
    encoder.multithread(u32::try_from(std::thread::available_parallelism()?.get())?)?;
    io::copy(from, &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

fn spawn(command: Command, stdin: Stdio, stdout: Stdio) -> Result<std::process::Child> {
    let shown = command.to_string();
    let mut command = command.into_inner();
    command
        .stdin(stdin)
        .stdout(stdout)
        .spawn()
        .with_context(|| format!("failed to start `{shown}`"))
}
