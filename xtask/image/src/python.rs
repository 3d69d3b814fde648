//! Packages of the Python Package Index, each pinned by hash, in folders of the machine's cache.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use crate::process::Command;
use crate::{progress, workspace};

/// The folder with the packages that `requirements`, a path below the checkout's root, pins; installs them if it is not there.
///
/// Its programs are in `bin`; a Python that imports its modules needs it as `PYTHONPATH`.
pub fn ensure(requirements: &str) -> Result<PathBuf> {
    let requirements = workspace::root().join(requirements);
    let digest = Sha256::digest(fs_err::read(&requirements)?);
    let cache = workspace::cache()?;
    let folder = cache.join(&format!("python-{digest:x}")[..23]);
    let _alone = workspace::lock(&cache.join("python.lock"))?;
    if !folder.exists() {
        install(&requirements, &cache, &folder)?;
    }
    Ok(folder)
}

/// Installs into a temporary folder that is renamed when whole.
fn install(requirements: &Path, cache: &Path, folder: &Path) -> Result<()> {
    let half = tempfile::Builder::new()
        .prefix("half-python-")
        .tempdir_in(cache)?;
    progress::step(
        format!("install the packages of {}", requirements.display()),
        || {
            Command::new("python3")
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    "--require-hashes",
                    "--target",
                ])
                .arg(half.path())
                .arg("--requirement")
                .arg(requirements)
                .output()
                .map(drop)
        },
    )?;
    Ok(fs_err::rename(half.keep(), folder)?)
}
