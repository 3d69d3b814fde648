//! The agent's settings, skills, hooks and commands: what of the credentials secret the agent may see. Only the broker
//! mounts that secret, so it hands `git-init` an archive of what passes: paths by list, no links, nothing that looks
//! like a key.

mod archive;
pub(crate) mod parsers;
mod redact;

use std::collections::BTreeMap;
use std::path::Path;

use gastown_api::key_like;

/// The most files, bytes of a file, and bytes in all: a secret is at most 1 MiB, but may inflate a thousandfold.
const MAX_FILES: usize = 512;
const MAX_FILE: u64 = 1024 * 1024;
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Why a key of the secret cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadSettings {
    /// It is there, and cannot be read.
    #[error("key {key:?} of the credentials secret cannot be read; the pod must mount the secret readable")]
    ReadKey {
        /// The key.
        key: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not JSON.
    #[error(
        "key \"settings.json\" of the credentials secret is no JSON object; write what Claude Code reads"
    )]
    ParseSettings,
    /// It is damaged.
    #[error(
        "key \"claude-home.tar.gz\" of the credentials secret cannot be read; make it with `tar czf` in the folder ~/.claude"
    )]
    Unpack(#[source] std::io::Error),
    /// It is too large.
    #[error("key \"claude-home.tar.gz\" of the credentials secret holds more than {limit}; leave files out")]
    Exceed {
        /// Of what.
        limit: String,
    },
    /// The archive for the agent cannot be written.
    #[error("failed to write the archive of the agent's settings")]
    Pack(#[source] std::io::Error),
}

/// A file for the agent's folder `.claude`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    executable: bool,
    bytes: Vec<u8>,
}

/// What passed, by path below `.claude`, and what did not, with the reason.
#[derive(Debug, Default, PartialEq, Eq)]
struct Collected {
    files: BTreeMap<String, Entry>,
    left_out: Vec<String>,
}

/// A tar archive of all that may be seen of the secret mounted at `secret`; nothing where it has no such keys.
pub fn pack(secret: &Path) -> Result<Option<Vec<u8>>, ReadSettings> {
    let collected = collect(secret)?;
    for words in &collected.left_out {
        tracing::warn!(%words, "a part of the agent's settings is left out");
    }
    if collected.files.is_empty() {
        return Ok(None);
    }
    archive::write(&collected.files)
        .map(Some)
        .map_err(ReadSettings::Pack)
}

/// Keys that stand for one file win over the same file of the archive.
fn collect(secret: &Path) -> Result<Collected, ReadSettings> {
    let mut collected = match read(secret, "claude-home.tar.gz")? {
        Some(bytes) => archive::read(&bytes)?,
        None => Collected::default(),
    };
    for name in ["settings.json", "CLAUDE.md"] {
        if let Some(bytes) = read(secret, name)? {
            let executable = false;
            collected
                .files
                .insert(name.to_owned(), Entry { executable, bytes });
        }
    }
    if let Some(settings) = collected.files.get_mut("settings.json") {
        let (bytes, removed) = redact::settings(&settings.bytes).ok_or(ReadSettings::ParseSettings)?;
        settings.bytes = bytes;
        let said = |field: String| {
            format!("settings.json: {field} is or may be a key, or would lead past the broker")
        };
        collected.left_out.extend(removed.into_iter().map(said));
    }
    let files = &mut collected.files;
    let found: Vec<_> = files
        .extract_if(.., |_, entry| key_like::found_in(&entry.bytes))
        .collect();
    for (path, _) in found {
        let words = format!("{path}: it contains what looks like a key");
        collected.left_out.push(words);
    }
    Ok(collected)
}

/// None: the secret has no such key.
fn read(secret: &Path, key: &'static str) -> Result<Option<Vec<u8>>, ReadSettings> {
    match std::fs::read(secret.join(key)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadSettings::ReadKey { key, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn a_secret_without_settings_has_no_archive_and_credentials_are_never_in_one() {
        let bare = secret(&[("ANTHROPIC_API_KEY", b"k"), (".credentials.json", b"{}")]);
        assert_eq!(pack(bare.path()).unwrap(), None);
        let full = secret(&[(".credentials.json", b"{}"), ("CLAUDE.md", b"Be brief.")]);
        let names: Vec<_> = collect(full.path()).unwrap().files.into_keys().collect();
        assert_eq!(names, ["CLAUDE.md"]);
    }

    #[test]
    fn a_key_that_is_there_and_cannot_be_read_is_no_missing_one() {
        for name in ["claude-home.tar.gz", "settings.json", "CLAUDE.md"] {
            let folder = secret(&[]);
            std::fs::create_dir(folder.path().join(name)).unwrap();
            let error = pack(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }

    #[test]
    fn settings_lose_their_keys_and_files_with_keys_are_left_out() {
        let settings = br#"{"model":"opus","apiKeyHelper":"/bin/key","env":{"A":"b"}}"#;
        let token = format!("Use sk-ant-api03-{}", "a".repeat(30));
        let folder = secret(&[("settings.json", settings), ("CLAUDE.md", token.as_bytes())]);
        let collected = collect(folder.path()).unwrap();
        let names: Vec<_> = collected.files.keys().collect();
        assert_eq!(names, ["settings.json"]);
        assert_eq!(
            collected.files["settings.json"].bytes,
            br#"{"env":{"A":"b"},"model":"opus"}"#
        );
        assert_eq!(collected.left_out.len(), 2, "{:?}", collected.left_out);
        let damaged = secret(&[("settings.json", b"[]")]);
        assert!(matches!(
            collect(damaged.path()),
            Err(ReadSettings::ParseSettings)
        ));
    }
}
