//! An own walk of the work tree. The agent may still be changing it, and may mean ill: nothing is opened but folders and
//! regular files, each below its own folder's descriptor, no symbolic link is followed, and no FIFO waited for.

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::import::{Import, ImportTree};
use super::open::{RegularFile, has_long_line, kind_name, open_below};
use super::rules::{ApplyRules, Rules};
use crate::snapshot::name::{is_attributes, is_forbidden};

/// How many entries of a folder are looked at together.
const BATCH: usize = 128;

/// The most bytes of a path: git warns of longer ones, and hosts that check strictly refuse them.
const MAX_PATH: usize = 4000;

/// The most folders below each other; each takes a descriptor.
const MAX_DEPTH: usize = 200;

/// The most files of a snapshot, and the most bytes it reads.
const MAX_FILES: u64 = 1_000_000;
const MAX_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// The most paths whose being skipped is remembered.
const MAX_SKIPPED: usize = 10_000;

/// Why the work tree could not be walked.
#[derive(Debug, thiserror::Error)]
pub enum WalkTree {
    /// It is not there.
    #[error("failed to open the work tree {path:?}")]
    OpenRoot {
        /// Where it should be.
        path: std::path::PathBuf,
        /// What the system said.
        source: Errno,
    },
    /// The import broke.
    #[error(transparent)]
    Import(#[from] ImportTree),
    /// The rules broke.
    #[error(transparent)]
    Rules(#[from] ApplyRules),
}

/// What the walk saw besides what it imported.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What is not in the tree as it is on disk, and why.
    pub skipped: Vec<(Vec<u8>, String)>,
    /// How many more there were.
    pub skipped_more: u64,
    /// FIFOs, sockets and devices, which have no content to save.
    pub special: Vec<(Vec<u8>, String)>,
    /// Folders without anything to import: a submodule that was not filled looks like this.
    pub empty: Vec<Vec<u8>>,
    /// Attribute files that a strict host would refuse.
    pub long_attributes: Vec<Vec<u8>>,
    /// Files that were put off, and their sizes.
    pub put_off: Vec<(Vec<u8>, u64)>,
}

/// A walk under way.
pub struct Walk<'a> {
    /// Which files are left out.
    pub rules: &'a mut Rules,
    /// Where the others go.
    pub import: &'a mut Import,
    /// Larger files are skipped.
    pub max_file: u64,
    /// Larger files are put off: their number and size must not keep the others from being saved.
    pub max_prompt: u64,
    /// Paths that are passed over with all below them, since they are read on their own.
    pub apart: &'a BTreeSet<Vec<u8>>,
    /// What is not reached by then is skipped.
    pub deadline: Instant,
    /// What was seen so far.
    pub seen: Seen,
}

struct Level {
    folder: Dir,
    /// Empty, or with a `/` at its end.
    path: Vec<u8>,
    pending: Vec<Vec<u8>>,
    content_before: u64,
    at_end: bool,
}

struct Entry {
    name: Vec<u8>,
    path: Vec<u8>,
    kind: FileType,
}

impl Walk<'_> {
    /// Walks everything below `root`, its own `.git` left out.
    pub fn run(&mut self, root: &Path) -> Result<(), WalkTree> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(root, flags, Mode::empty()).and_then(|fd| self.level(fd, Vec::new()));
        let mut stack = vec![opened.map_err(|source| WalkTree::OpenRoot {
            path: root.to_owned(),
            source,
        })?];
        while let Some(level) = stack.last_mut() {
            if Instant::now() >= self.deadline {
                for level in stack.drain(..) {
                    self.skip(&level.path, "the time was over");
                }
            } else if let Some(name) = level.pending.pop() {
                let path = [&level.path[..], &name, b"/"].concat();
                let folder = level
                    .folder
                    .fd()
                    .and_then(|fd| open_below(fd, &name, OFlags::DIRECTORY));
                match folder.and_then(|fd| self.level(fd, path.clone())) {
                    Ok(_) if stack.len() >= MAX_DEPTH => self.skip(&path, "it lies too deep"),
                    Ok(level) => stack.push(level),
                    Err(error) => self.skip(&path, &error.to_string()),
                }
            } else if level.at_end {
                if self.content() == level.content_before && !level.path.is_empty() {
                    let path = std::mem::take(&mut level.path);
                    self.note_empty(&path);
                }
                stack.pop();
            } else {
                self.batch(level)?;
            }
        }
        Ok(())
    }

    fn level(&self, fd: OwnedFd, path: Vec<u8>) -> Result<Level, Errno> {
        Ok(Level {
            folder: Dir::new(fd)?,
            path,
            pending: Vec::new(),
            content_before: self.content(),
            at_end: false,
        })
    }

    /// How much was found that is no folder.
    fn content(&self) -> u64 {
        self.import.files + self.seen.put_off.len() as u64
    }

    fn batch(&mut self, level: &mut Level) -> Result<(), WalkTree> {
        let mut entries = Vec::new();
        while entries.len() < BATCH {
            match level.folder.read() {
                None => {
                    level.at_end = true;
                    break;
                }
                Some(Err(error)) => {
                    level.at_end = true;
                    self.skip(&level.path, &error.to_string());
                    break;
                }
                Some(Ok(entry)) => entries.extend(self.entry(level, entry.file_name().to_bytes())),
            }
        }
        let questions: Vec<_> = entries.iter().map(Entry::question).collect();
        let left_out = self.rules.leaves_out(&questions)?;
        for (entry, left_out) in entries.into_iter().zip(left_out) {
            if left_out {
                continue;
            }
            if entry.kind == FileType::Directory {
                level.pending.push(entry.name);
            } else if let Err(reason) = self.take(level, &entry)? {
                self.skip(&entry.path, &reason);
            }
        }
        Ok(())
    }

    /// What an entry is, unless it is to be skipped whatever the rules say.
    fn entry(&mut self, level: &Level, name: &[u8]) -> Option<Entry> {
        let own_git = level.path.is_empty() && name == b".git";
        if matches!(name, b"." | b"..") || own_git {
            return None;
        }
        let path = [&level.path[..], name].concat();
        if self.apart.contains(&path) {
            return None;
        }
        if is_forbidden(name) {
            let why = if name == b".git" {
                "the repository of these files is not saved"
            } else {
                "git forbids the name"
            };
            self.skip(&path, why);
            return None;
        }
        if path.len() > MAX_PATH {
            self.skip(&path, "the path is too long");
            return None;
        }
        let stat = level
            .folder
            .fd()
            .and_then(|fd| rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW));
        match stat {
            Ok(stat) => Some(Entry {
                name: name.to_owned(),
                path,
                kind: FileType::from_raw_mode(stat.st_mode),
            }),
            // It is gone, as if it had never been there.
            Err(Errno::NOENT) => None,
            Err(error) => {
                self.skip(&path, &error.to_string());
                None
            }
        }
    }

    fn take(&mut self, level: &Level, entry: &Entry) -> Result<Result<(), String>, WalkTree> {
        if self.import.files >= MAX_FILES || self.import.bytes >= MAX_BYTES {
            return Ok(Err("the snapshot is full".to_owned()));
        }
        let folder = match level.folder.fd() {
            Ok(folder) => folder,
            Err(error) => return Ok(Err(error.to_string())),
        };
        match entry.kind {
            FileType::RegularFile => self.take_file(folder, entry),
            FileType::Symlink => match rustix::fs::readlinkat(folder, &entry.name[..], Vec::new()) {
                Ok(target) => {
                    self.import.link(&entry.path, target.to_bytes())?;
                    Ok(Ok(()))
                }
                Err(error) => Ok(Err(error.to_string())),
            },
            other => {
                self.pass_over(&entry.path, other);
                Ok(Ok(()))
            }
        }
    }

    fn take_file(&mut self, folder: BorrowedFd<'_>, entry: &Entry) -> Result<Result<(), String>, WalkTree> {
        let opened = open_below(folder, &entry.name, OFlags::NONBLOCK | OFlags::NOCTTY);
        // Between the look and the opening it may have become something else.
        let file = match opened.and_then(RegularFile::of) {
            Ok(Ok(file)) => file,
            Ok(Err(kind)) => {
                self.pass_over(&entry.path, kind);
                return Ok(Ok(()));
            }
            Err(error) => return Ok(Err(error.to_string())),
        };
        if file.size > self.max_file {
            return Ok(Err(format!(
                "its {} bytes are more than {}",
                file.size, self.max_file
            )));
        }
        if file.size > self.max_prompt {
            self.seen.put_off.push((entry.path.clone(), file.size));
            return Ok(Ok(()));
        }
        if is_attributes(&entry.name) && has_long_line(&file.file) {
            self.seen.long_attributes.push(entry.path.clone());
        }
        Ok(file.import(&entry.path, self.import)?)
    }

    fn pass_over(&mut self, path: &[u8], kind: FileType) {
        if self.seen.special.len() < MAX_SKIPPED {
            let words = format!("it is a {}", kind_name(kind));
            self.seen.special.push((path.to_owned(), words));
        }
    }

    fn skip(&mut self, path: &[u8], reason: &str) {
        if self.seen.skipped.len() < MAX_SKIPPED {
            self.seen.skipped.push((without_slash(path), reason.to_owned()));
        } else {
            self.seen.skipped_more += 1;
        }
    }

    fn note_empty(&mut self, path: &[u8]) {
        if self.seen.empty.len() < MAX_SKIPPED {
            self.seen.empty.push(without_slash(path));
        }
    }
}

impl Entry {
    fn question(&self) -> Vec<u8> {
        let mut path = self.path.clone();
        if self.kind == FileType::Directory {
            path.push(b'/');
        }
        path
    }
}

fn without_slash(path: &[u8]) -> Vec<u8> {
    path.strip_suffix(b"/").unwrap_or(path).to_owned()
}
