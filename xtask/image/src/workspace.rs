//! Where the checkout and the machine-wide cache are.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::progress;

/// The root of this checkout.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_path_buf()
}

/// What the project's `Cargo.toml` says of all its packages under this key, such as `version`.
pub fn package(key: &str) -> Result<String> {
    let manifest = fs_err::read_to_string(root().join("Cargo.toml"))?;
    let manifest: toml::Table = toml::from_str(&manifest).context("Cargo.toml is wrong")?;
    let package = manifest.get("workspace").and_then(|all| all.get("package"));
    let value = package
        .and_then(|package| package.get(key))
        .and_then(toml::Value::as_str);
    value
        .map(str::to_owned)
        .with_context(|| format!("Cargo.toml has no workspace.package.{key}"))
}

/// Where cargo puts what it compiles for this checkout.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Files that outlive a checkout and are keyed by version: built tools, node images, downloads.
///
/// `$XDG_CACHE_HOME/gastown-operator`, by default `~/.cache/gastown-operator`.
pub fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(base) if !base.is_empty() => PathBuf::from(base),
        _ => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    let cache = base.join("gastown-operator");
    fs_err::create_dir_all(&cache)?;
    Ok(cache)
}

/// Holds the lock `path` until the returned file is dropped or this process ends, however it ends.
pub fn lock(path: &Path) -> Result<fs_err::File> {
    let file = fs_err::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    if file.file().try_lock().is_err() {
        progress::say(format!("waiting for another run that holds {}", path.display()));
        file.file()
            .lock()
            .with_context(|| format!("failed to lock {path:?}"))?;
    }
    Ok(file)
}

/// Replaces the file `path` by one with `content`, so that a reader sees the old or the new, never a part.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file's path has a folder")?;
    fs_err::create_dir_all(folder)?;
    let mut file =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("failed to write in {folder:?}"))?;
    file.write_all(content)
        .with_context(|| format!("failed to write {path:?}"))?;
    file.persist(path)
        .with_context(|| format!("failed to replace {path:?}"))?;
    Ok(())
}
