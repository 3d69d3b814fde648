//! `cargo xtask install`: the kubectl plugin, where kubectl finds it, and its manual, where `man` does.

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
    match pages_of(&folder) {
        Some(place) => {
            put_pages(&workspace::root().join("docs/man"), &place)?;
            println!("installed its manual in {}: try `man {PLUGIN}`", place.display());
        }
        None => println!("the manual is not installed: `man` looks only beside folders called bin"),
    }
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

/// Where `man` looks for the pages of the programs in `folder` (manpath(5)).
fn pages_of(folder: &Path) -> Option<PathBuf> {
    (folder.file_name()? == "bin").then(|| folder.with_file_name("share").join("man/man1"))
}

/// Copies the manual, and removes pages of commands that are no more.
fn put_pages(manual: &Path, place: &Path) -> Result<()> {
    fs_err::create_dir_all(place)?;
    let is_page = |name: &str| Path::new(name).extension().is_some_and(|section| section == "1");
    let is_ours = |name: &str| name.starts_with(PLUGIN) && is_page(name);
    for (folder, copy) in [(place, false), (manual, true)] {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_ours(&name.to_string_lossy()) {
                continue;
            }
            if copy {
                fs_err::copy(entry.path(), place.join(name))?;
            } else {
                fs_err::remove_file(entry.path())?;
            }
        }
    }
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

    #[test]
    fn the_manual_is_put_where_man_looks_for_the_programs_of_a_folder() {
        let place = |folder: &str| pages_of(Path::new(folder));
        assert_eq!(
            place("/usr/local/bin").as_deref(),
            Some(Path::new("/usr/local/share/man/man1"))
        );
        assert_eq!(place("/opt/tools"), None);
        let prefix = tempfile::tempdir().unwrap();
        let pages = pages_of(&prefix.path().join("bin")).unwrap();
        fs_err::create_dir_all(&pages).unwrap();
        for old in ["kubectl-gt-gone.1", "kubectl.1"] {
            fs_err::write(pages.join(old), "").unwrap();
        }
        put_pages(&workspace::root().join("docs/man"), &pages).unwrap();
        assert!(pages.join("kubectl-gt-sling.1").exists() && pages.join("kubectl.1").exists());
        assert!(!pages.join("kubectl-gt-gone.1").exists());
    }
}
