//! Which files are left out: those that the ignore rules of the base tree name, unless a commit tracks them. The
//! agent's own `.gitignore`, `info/exclude` and configuration do not count: with them it could hide work.
//!
//! Git itself judges (`git check-ignore`), in a private folder that holds nothing but the base's `.gitignore` files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Bound;
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::time::Instant;

use gastown_api::git::Sha;

use super::path_of;
use super::store::Store;
use crate::snapshot::name::is_forbidden;
use polecat_common::console::{explain, say};
use polecat_common::git::{Child, Git, RunGit};

/// How many paths are asked about at once, and how many bytes these may have: both sides write before they read, and
/// a pipe holds 64 KiB.
const MAX_BATCH: usize = 64;
const MAX_BATCH_BYTES: usize = 16 * 1024;

/// What stands before each path that is asked about: a file may be named like a magic pathspec, such as `:(top)`.
const HERE: &[u8] = b"./";

/// Why the ignore rules cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyRules {
    /// Git failed.
    #[error("failed to apply the ignore rules of the base")]
    Run {
        /// What git said.
        #[from]
        source: RunGit,
    },
    /// The private folder cannot be written.
    #[error("failed to write {path:?}")]
    WriteRules {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Git answered something else than asked.
    #[error("failed to read an answer of `git check-ignore`: {answer:?}")]
    ReadAnswer {
        /// What it said.
        answer: String,
    },
}

/// The rules of one base.
#[derive(Debug)]
pub struct Rules {
    git: Git,
    check_ignore: CheckIgnore,
    tracked: BTreeSet<Vec<u8>>,
}

/// A `git check-ignore` that is asked batch by batch.
#[derive(Debug)]
struct CheckIgnore {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Rules {
    /// The rules of `base`; files that `base` or `work` track are not ignored.
    pub fn of(store: &Store, base: &Sha, work: Option<&Sha>, deadline: Instant) -> Result<Self, ApplyRules> {
        let folder = private_folder(store, base, deadline)?;
        let git = store.git(deadline).env("GIT_WORK_TREE", &folder).within(&folder);
        let mut rules = Self {
            check_ignore: CheckIgnore::start(&git)?,
            git,
            tracked: BTreeSet::new(),
        };
        for commit in [Some(base), work].into_iter().flatten() {
            rules.add_tracked(store, commit, deadline)?;
        }
        Ok(rules)
    }

    fn add_tracked(&mut self, store: &Store, commit: &Sha, deadline: Instant) -> Result<(), ApplyRules> {
        let mut batch: Vec<Vec<u8>> = Vec::new();
        let mut outcome = Ok(());
        let list = ["ls-tree", "-r", "-z", "--name-only", commit.as_str()];
        store.git(deadline).records(&list, 0, |path| {
            batch.push(path.to_vec());
            if outcome.is_ok() && batch.len() >= MAX_BATCH {
                outcome = self.keep_ignored(std::mem::take(&mut batch));
            }
        })?;
        outcome?;
        self.keep_ignored(batch)
    }

    fn keep_ignored(&mut self, paths: Vec<Vec<u8>>) -> Result<(), ApplyRules> {
        let ignored = self.ignored(&paths)?;
        let named = paths.into_iter().zip(ignored).filter(|(_, ignored)| *ignored);
        self.tracked.extend(named.map(|(path, _)| path));
        Ok(())
    }

    /// For each path whether it is left out; a folder ends with `/`.
    pub fn leaves_out(&mut self, paths: &[Vec<u8>]) -> Result<Vec<bool>, ApplyRules> {
        let ignored = self.ignored(paths)?;
        let left_out = paths.iter().zip(ignored);
        Ok(left_out
            .map(|(path, ignored)| ignored && !self.holds_tracked(path))
            .collect())
    }

    fn holds_tracked(&self, path: &[u8]) -> bool {
        let mut from = self
            .tracked
            .range::<[u8], _>((Bound::Included(path), Bound::Unbounded));
        from.next()
            .is_some_and(|first| first == path || (path.ends_with(b"/") && first.starts_with(path)))
    }

    fn ignored(&mut self, paths: &[Vec<u8>]) -> Result<Vec<bool>, ApplyRules> {
        let mut answers = Vec::with_capacity(paths.len());
        let mut rest = paths;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take(MAX_BATCH).take_while(|path| {
                bytes += path.len() + 1;
                bytes <= MAX_BATCH_BYTES
            });
            let (batch, after) = rest.split_at(fitting.count().max(1));
            answers.extend(self.ask(batch)?);
            rest = after;
        }
        Ok(answers)
    }

    /// A git that dies must not cost the snapshot: 2.39 was seen to crash over what it had been asked before, so a new
    /// one is asked for each path.
    fn ask(&mut self, paths: &[Vec<u8>]) -> Result<Vec<bool>, ApplyRules> {
        let error = match self.check_ignore.ask(paths) {
            Ok(answers) => return Ok(answers),
            Err(error) => error,
        };
        say(&format!("polecat keeper: asks again: {}", explain(&error)));
        let mut answers = Vec::with_capacity(paths.len());
        for path in paths {
            self.check_ignore = CheckIgnore::start(&self.git)?;
            answers.extend(self.check_ignore.ask(std::slice::from_ref(path))?);
        }
        Ok(answers)
    }
}

impl CheckIgnore {
    fn start(git: &Git) -> Result<Self, ApplyRules> {
        let ask = [
            "check-ignore",
            "--no-index",
            "--stdin",
            "-z",
            "--verbose",
            "--non-matching",
        ];
        let mut child = git.start(&ask, Stdio::piped(), Stdio::piped())?;
        let (Some(stdin), Some(stdout)) = (child.stdin(), child.stdout()) else {
            return Err(ApplyRules::ReadAnswer {
                answer: String::new(),
            });
        };
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    fn ask(&mut self, paths: &[Vec<u8>]) -> Result<Vec<bool>, ApplyRules> {
        let mut question = Vec::new();
        for path in paths {
            question.extend_from_slice(HERE);
            question.extend_from_slice(path);
            question.push(0);
        }
        let written = self.stdin.write_all(&question).and_then(|()| self.stdin.flush());
        self.child.blame(written)?;
        let mut answers = Vec::with_capacity(paths.len());
        for path in paths {
            // Source, line, pattern, path.
            let mut fields: [Vec<u8>; 4] = Default::default();
            for field in &mut fields {
                let read = self.stdout.read_until(0, field);
                let whole = read.and_then(|_| field.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into()));
                self.child.blame(whole)?;
            }
            let [_, _, pattern, about] = fields;
            if about.strip_prefix(HERE) != Some(&path[..]) {
                return Err(ApplyRules::ReadAnswer {
                    answer: String::from_utf8_lossy(&about).into_owned(),
                });
            }
            answers.push(!pattern.is_empty() && !pattern.starts_with(b"!"));
        }
        Ok(answers)
    }
}

/// A folder with the `.gitignore` files of `base` at their places; it appears complete or not at all.
fn private_folder(store: &Store, base: &Sha, deadline: Instant) -> Result<PathBuf, ApplyRules> {
    let folder = store.folder().join(format!("rules-{base}"));
    if folder.exists() {
        return Ok(folder);
    }
    let partial = store.folder().join("rules-partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|source| written(&partial, source))?;
    }
    fs::create_dir_all(&partial).map_err(|source| written(&partial, source))?;
    let git = store.git(deadline);
    let mut files = Vec::new();
    git.records(&["ls-tree", "-r", "-z", base.as_str()], 0, |record| {
        files.extend(ignore_file(record));
    })?;
    for (id, path) in files {
        let target = partial.join(path_of(&path));
        let content = git.run(&["cat-file", "blob", &id])?;
        let parent = target.parent().unwrap_or(&partial);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&target, content))
            .map_err(|source| written(&target, source))?;
    }
    fs::rename(&partial, &folder).map_err(|source| written(&folder, source))?;
    Ok(folder)
}

fn written(path: &std::path::Path, source: io::Error) -> ApplyRules {
    ApplyRules::WriteRules {
        path: path.to_owned(),
        source,
    }
}

/// Object id and path of a line of `ls-tree -r -z`, if it is a `.gitignore` that git would read: no symbolic link, and
/// no path that leads out of the folder.
fn ignore_file(record: &[u8]) -> Option<(String, Vec<u8>)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let (head, path) = (str::from_utf8(&record[..tab]).ok()?, &record[tab + 1..]);
    let mut fields = head.split(' ');
    let (mode, _, id) = (fields.next()?, fields.next()?, fields.next()?);
    let mut parts = path.split(|byte| *byte == b'/');
    let regular = matches!(mode, "100644" | "100755" | "100664");
    let named = path.rsplit(|byte| *byte == b'/').next() == Some(b".gitignore");
    (regular && named && !parts.any(is_forbidden)).then(|| (id.to_owned(), path.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::testing;

    #[test]
    fn a_git_that_dies_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let url = testing::upstream(folder.path());
        let store = Store::open(&folder.path().join("keeper"), &url, &testing::order(), "x").unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        store.refresh(deadline).unwrap();
        let base = store.base(deadline).unwrap();
        let mut rules = Rules::of(&store, &base, None, deadline).unwrap();
        let paths = [b"README".to_vec()];
        assert_eq!(rules.leaves_out(&paths).unwrap(), [false]);
        let mut other = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        rules.check_ignore.stdin = other.stdin.take().unwrap();
        assert!(other.wait().unwrap().success());
        assert_eq!(rules.leaves_out(&paths).unwrap(), [false]);
    }
}
