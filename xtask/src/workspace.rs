//! Where the checkout and the machine-wide cache are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The root of this checkout.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
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
