//! The agent's home: the prompt, and the settings without which Claude Code would stop and ask.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gastown_api::pod::REPO_DIR;
use serde_json::json;

use crate::workspace::PROMPT_FILE;

/// Why the home folder cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[error("failed to write {path:?}")]
pub struct WriteHome {
    path: PathBuf,
    source: io::Error,
}

/// Writes what is not there yet; the prompt always.
pub fn write(home: &Path, prompt: &str) -> Result<(), WriteHome> {
    let prompt_file = home.join(PROMPT_FILE);
    let folder = prompt_file.parent().unwrap_or(home);
    fs::create_dir_all(folder).map_err(|source| WriteHome {
        path: folder.to_owned(),
        source,
    })?;
    put(prompt_file, prompt)?;
    let settings = home.join(".claude.json");
    if settings.exists() {
        return Ok(());
    }
    put(settings, &claude_settings().to_string())
}

/// Onboarding done and the clone trusted, as after a first interactive start.
fn claude_settings() -> serde_json::Value {
    json!({
        "hasCompletedOnboarding": true,
        "bypassPermissionsModeAccepted": true,
        "projects": { REPO_DIR: { "hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true } },
    })
}

/// A killed run leaves no half of a file that the next one trusts.
fn put(path: PathBuf, text: &str) -> Result<(), WriteHome> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text)
        .and_then(|()| fs::rename(&partial, &path))
        .map_err(|source| WriteHome { path, source })
}
