//! `cargo xtask install`: the kubectl plugin, where kubectl finds it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace;
use xtask_image::{Binary, Profile, Programs, compile};

/// The plugin; kubectl finds it by this name.
pub const PLUGIN: &str = "kubectl-gt";
/// What kubectl asks for candidates of `kubectl gt <TAB>`: the same program by another name.
const COMPLETER: &str = "kubectl_complete-gt";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to put it in; by default cargo's own folder of programs.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Compile as tests do, which is quicker than for release.
    #[arg(long)]
    dev: bool,
}

pub fn run(args: Args) -> Result<()> {
    let folder = match args.to {
        Some(folder) => folder,
        None => programs()?,
    };
    let profile = if args.dev { Profile::Dev } else { Profile::Release };
    into(&folder, &compile(&[&plugin()], profile)?)?;
    println!("installed {} and {COMPLETER}", folder.join(PLUGIN).display());
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|on_path| on_path == folder) {
        println!(
            "{} is not on the PATH: add it, then try `kubectl plugin list`",
            folder.display()
        );
    }
    Ok(())
}

/// The plugin's program.
pub fn plugin() -> Binary {
    Binary {
        package: PLUGIN.to_owned(),
        name: PLUGIN.to_owned(),
    }
}

/// Puts the compiled plugin, under both names, into `folder`.
pub fn into(folder: &Path, programs: &Programs) -> Result<()> {
    put(programs.get(&plugin())?, folder)
}

/// Copies `built` and links its second name; a program that is running is replaced, not overwritten.
fn put(built: &Path, folder: &Path) -> Result<()> {
    fs_err::create_dir_all(folder)?;
    let program = folder.join(PLUGIN);
    let fresh =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("failed to write in {folder:?}"))?;
    fs_err::copy(built, fresh.path())?;
    fresh
        .persist(&program)
        .with_context(|| format!("failed to replace {program:?}"))?;
    let completer = folder.join(COMPLETER);
    if completer.symlink_metadata().is_ok() {
        fs_err::remove_file(&completer)?;
    }
    fs_err::os::unix::fs::symlink(PLUGIN, &completer)?;
    Ok(())
}

/// Where `cargo install` puts programs.
fn programs() -> Result<PathBuf> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) if !home.is_empty() => PathBuf::from(home),
        _ => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo"),
    };
    Ok(workspace::root().join(home).join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_program_and_its_second_name_replace_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("built");
        let target = folder.path().join("bin");
        for text in ["first", "second"] {
            fs_err::write(&built, text).unwrap();
            fs_err::set_permissions(&built, std::fs::Permissions::from_mode(0o755)).unwrap();
            put(&built, &target).unwrap();
        }
        assert_eq!(fs_err::read_to_string(target.join(COMPLETER)).unwrap(), "second");
        let mode = fs_err::metadata(target.join(PLUGIN))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
