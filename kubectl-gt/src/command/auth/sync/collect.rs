//! Chooses what of Claude Code's folder is uploaded: a list of what is, never of what is not.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::archive::{self, File};
use crate::error::CommandError;
use crate::secret::Data;
use gastown_api::model_secret::{CREDENTIALS, HOME, MEMORY, SETTINGS};

/// Files that become keys of the secret.
const FILES: [&str; 3] = [CREDENTIALS, SETTINGS, MEMORY];
/// Folders that become the archive.
pub const FOLDERS: [&str; 4] = ["skills", "hooks", "commands", "agents"];
/// What is no part of a skill, wherever it is.
const RUBBISH: [&str; 5] = [".git", "node_modules", ".DS_Store", "__pycache__", ".venv"];
/// No file of a skill is larger: the secret would not hold it.
const MAX_FILE: u64 = 1024 * 1024;
/// A folder that is deeper or has more is no collection of skills.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 2000;

/// What was found.
#[derive(Debug, Default)]
pub struct Collected {
    /// The keys of their own.
    pub keys: BTreeMap<&'static str, Vec<u8>>,
    /// What goes into the archive, by path.
    pub files: Vec<File>,
    /// What is not uploaded.
    pub left_out: Vec<LeftOut>,
}

/// Something that is not uploaded.
#[derive(Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path in the folder.
    pub path: String,
    /// Why.
    pub why: String,
}

/// Looks at `folder`. What cannot be read is left out and named; only a folder that cannot be listed is an error.
pub fn collect(folder: &Path) -> Result<Collected, CommandError> {
    let mut found = Collected::default();
    let entries = fs::read_dir(folder).map_err(|source| CommandError::ReadFile {
        path: folder.to_string_lossy().into_owned(),
        source,
    })?;
    for name in found.names(".", entries.map(|entry| entry.map(|entry| entry.file_name()))) {
        let name = name.to_string_lossy().into_owned();
        let path = folder.join(&name);
        if let Some(key) = FILES.into_iter().find(|file| *file == name) {
            if let Some(file) = found.read(&path, &name, fs::metadata(&path), false) {
                found.keys.insert(key, file.bytes);
            }
        } else if FOLDERS.contains(&name.as_str()) {
            found.walk(&path, &name, &mut Vec::new(), false);
        } else {
            found.leave(&name, what_it_is(&name));
        }
    }
    Ok(found)
}

/// Why an entry of the folder is not among what is uploaded.
fn what_it_is(name: &str) -> &'static str {
    match name {
        "projects" | "history.jsonl" | "transcripts" | "file-history" | "paste-cache" | "shell-snapshots" => {
            "transcripts and history never leave this machine"
        }
        "todos" | "plans" | "tasks" | "session-env" | "statsig" | "debug" | "ide" | "cache" | "telemetry" => {
            "state of this machine"
        }
        "plugins" => "plugins are not synced; copy what the agent needs to skills, hooks or commands",
        _ => "not part of what is synced",
    }
}

impl Collected {
    /// The keys of the secret.
    pub fn data(&self) -> Result<Data, CommandError> {
        let own = |(key, value): (&&str, &Vec<u8>)| ((*key).to_owned(), value.clone());
        let mut data: Data = self.keys.iter().map(own).collect();
        if !self.files.is_empty() {
            let archive = archive::pack(&self.files).map_err(|source| CommandError::ReadFile {
                path: HOME.to_owned(),
                source,
            })?;
            data.insert(HOME.to_owned(), archive);
        }
        Ok(data)
    }

    fn leave(&mut self, path: &str, why: impl Into<String>) {
        self.left_out.push(LeftOut {
            path: path.to_owned(),
            why: why.into(),
        });
    }

    /// The entries of a folder in order. One that cannot be listed has no name to be left out by: its folder has.
    fn names(&mut self, folder: &str, entries: impl Iterator<Item = io::Result<OsString>>) -> Vec<OsString> {
        let mut names = Vec::new();
        for entry in entries {
            match entry {
                Ok(name) => names.push(name),
                Err(error) => self.leave(folder, format!("an entry of it cannot be listed: {error}")),
            }
        }
        names.sort();
        names
    }

    /// `above` are the real folders on the way here: one that comes again is a loop of links.
    fn walk(&mut self, folder: &Path, relative: &str, above: &mut Vec<PathBuf>, linked: bool) {
        let real = match fs::canonicalize(folder) {
            Ok(real) => real,
            Err(error) => return self.leave(relative, format!("cannot be followed: {error}")),
        };
        if above.contains(&real) {
            return self.leave(relative, "a link that leads back to where it stands");
        }
        if above.len() >= MAX_DEPTH {
            return self.leave(relative, format!("deeper than {MAX_DEPTH} folders"));
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.leave(relative, format!("cannot be read: {error}")),
        };
        above.push(real);
        for name in self.names(
            relative,
            entries.map(|entry| entry.map(|entry| entry.file_name())),
        ) {
            let Some(name) = name.to_str() else {
                self.leave(
                    &format!("{relative}/{}", name.to_string_lossy()),
                    "its name is no UTF-8",
                );
                continue;
            };
            self.entry(&folder.join(name), &format!("{relative}/{name}"), above, linked);
        }
        above.pop();
    }

    fn entry(&mut self, path: &Path, relative: &str, above: &mut Vec<PathBuf>, linked: bool) {
        let name = relative.rsplit('/').next().unwrap_or(relative);
        if RUBBISH.contains(&name) {
            return self.leave(relative, "no part of a skill");
        }
        if looks_secret(name) {
            return self.leave(relative, "looks like a secret; agents hold no keys");
        }
        let linked = linked || fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.walk(path, relative, above, linked),
            metadata => {
                if self.files.len() >= MAX_FILES {
                    return self.leave(relative, format!("more than {MAX_FILES} files"));
                }
                if let Some(file) = self.read(path, relative, metadata, linked) {
                    self.files.push(file);
                }
            }
        }
    }

    fn read(
        &mut self,
        path: &Path,
        relative: &str,
        metadata: io::Result<Metadata>,
        linked: bool,
    ) -> Option<File> {
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                self.leave(relative, format!("cannot be followed: {error}"));
                return None;
            }
        };
        if !metadata.is_file() {
            self.leave(relative, "neither a file nor a folder");
            return None;
        }
        if metadata.len() > MAX_FILE {
            self.leave(relative, "larger than a Secret may be (1 MiB)");
            return None;
        }
        match fs::read(path) {
            Ok(bytes) => Some(File {
                path: relative.to_owned(),
                bytes,
                executable: is_executable(&metadata),
                linked,
            }),
            Err(error) => {
                self.leave(relative, format!("cannot be read: {error}"));
                None
            }
        }
    }
}

/// Names of files that hold keys by custom.
fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = [".pem", ".key", ".p12", ".pfx"]
        .iter()
        .any(|end| name.ends_with(end));
    let example = name.ends_with(".example") || name.ends_with(".sample") || name.ends_with(".template");
    ends || name == ".env"
        || (name.starts_with(".env.") && !example)
        || name.starts_with("id_rsa")
        || name.starts_with("id_ed25519")
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// A folder as Claude Code leaves it: nested skills, a transcript of 3 MiB, a loop of links, an unreadable file.
    fn real_tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            ".credentials.json",
            br#"{"claudeAiOauth":{"accessToken":"x","expiresAt":1}}"#,
        );
        write("settings.json", b"{}");
        write("CLAUDE.md", b"be kind");
        write("skills/review/SKILL.md", b"---\nname: review\n---\n");
        write("skills/review/deep/er/notes.md", b"notes");
        write("skills/review/node_modules/x/index.js", b"x");
        write("skills/review/.env", b"KEY=1");
        write("skills/big/model.bin", &vec![0; 1024 * 1024 + 1]);
        write("hooks/check.sh", b"#!/bin/sh\n");
        write("elsewhere/shared/SKILL.md", b"shared");
        write("projects/-home-me/session.jsonl", &vec![b'x'; 3 * 1024 * 1024]);
        write("history.jsonl", b"secret thoughts");
        let at = |path: &str| folder.path().join(path);
        fs::set_permissions(at("hooks/check.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink(at("skills"), at("skills/review/loop")).unwrap();
        symlink(at("elsewhere/shared"), at("skills/shared")).unwrap();
        symlink(at("gone"), at("skills/dangling")).unwrap();
        folder
    }

    #[test]
    fn what_is_chosen_is_uploaded_and_everything_else_is_named() {
        let folder = real_tree();
        let found = collect(folder.path()).unwrap();
        let keys: Vec<_> = found.keys.keys().copied().collect();
        assert_eq!(keys, [".credentials.json", "CLAUDE.md", "settings.json"]);
        let files: Vec<_> = found
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.executable, file.linked))
            .collect();
        assert_eq!(
            files,
            [
                ("hooks/check.sh", true, false),
                ("skills/review/SKILL.md", false, false),
                ("skills/review/deep/er/notes.md", false, false),
                ("skills/shared/SKILL.md", false, true),
            ]
        );
        let left: Vec<_> = found.left_out.iter().map(|left| left.path.as_str()).collect();
        assert_eq!(
            left,
            [
                "elsewhere",
                "history.jsonl",
                "projects",
                "skills/big/model.bin",
                "skills/dangling",
                "skills/review/.env",
                "skills/review/loop",
                "skills/review/node_modules",
            ]
        );
    }

    #[test]
    fn an_entry_that_cannot_be_listed_is_told_at_its_folder() {
        let mut found = Collected::default();
        let entries = [
            Ok("b".into()),
            Err(io::Error::other("a bad disk")),
            Ok("a".into()),
        ];
        assert_eq!(found.names("skills", entries.into_iter()), ["a", "b"]);
        let left = LeftOut {
            path: "skills".to_owned(),
            why: "an entry of it cannot be listed: a bad disk".to_owned(),
        };
        assert_eq!(found.left_out, [left]);
    }

    #[test]
    fn an_unreadable_file_is_left_out_and_named() {
        let folder = real_tree();
        let secret = folder.path().join("skills/review/locked.md");
        fs::write(&secret, "x").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        let found = collect(folder.path()).unwrap();
        // Root reads everything; then there is nothing to leave out.
        let readable = fs::read(&secret).is_ok();
        let named = found
            .left_out
            .iter()
            .any(|left| left.path == "skills/review/locked.md" && left.why.contains("cannot be read"));
        assert_eq!(named, !readable);
    }

    #[test]
    fn the_archive_has_the_chosen_paths_and_is_the_same_each_time() {
        let folder = real_tree();
        let first = collect(folder.path()).unwrap().data().unwrap();
        let again = collect(folder.path()).unwrap().data().unwrap();
        assert_eq!(first[HOME], again[HOME]);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(first[HOME].as_slice()));
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = Vec::new();
            entry.read_to_end(&mut text).unwrap();
            names.push((
                entry.path().unwrap().to_string_lossy().into_owned(),
                entry.header().mode().unwrap(),
            ));
        }
        assert_eq!(names[0], ("hooks/check.sh".to_owned(), 0o755));
        assert_eq!(names.len(), 4);
    }
}
