//! Makes the other work trees of an earlier attempt again, with their uncommitted changes.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::resume::{RESUMED_REF, Resumed, Snapshot};
use crate::snapshot::denied_paths::entry;
use crate::snapshot::denied_paths::{Edit, origin};
use crate::snapshot::message::SavedTree;
use crate::snapshot::quoted::unquote;
use polecat_common::console::{escape, explain};
use polecat_common::git::{Git, RunGit};

/// Why a work tree could not be made again.
#[derive(Debug, thiserror::Error)]
enum RestoreTree {
    /// Git failed.
    #[error(transparent)]
    Run(#[from] RunGit),
    /// The volume cannot be used.
    #[error("failed to use {path:?}")]
    UseFile {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else is there.
    #[error("something else is at {path:?}")]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// It leads out of the clone, or is no path at all.
    #[error("{path:?} is no path for a work tree")]
    RefusePath {
        /// The path.
        path: PathBuf,
    },
    /// Its commit was not saved, or is one of a submodule.
    #[error("the commit that was checked out there is not in this clone")]
    FindHead,
}

impl Snapshot<'_> {
    /// Makes each work tree again; what cannot be made is named, with where its files are.
    pub(super) fn restore_work_trees(&self, trees: &[SavedTree], resumed: &mut Resumed) {
        for tree in trees {
            let shown = escape(&tree.path);
            match self.restore_work_tree(tree) {
                Ok(()) => resumed.work_trees.push(shown),
                Err(error) => resumed.left_out.push(format!(
                    "the work tree {shown}: {}; its changed files are in `git show {RESUMED_REF}:{}/{}`",
                    escape(&explain(&error)),
                    self.held,
                    tree.folder
                )),
            }
        }
    }

    fn restore_work_tree(&self, saved: &SavedTree) -> Result<(), RestoreTree> {
        let head = saved.head.as_ref().ok_or(RestoreTree::FindHead)?;
        if !self.exists(head.as_str())? {
            return Err(RestoreTree::FindHead);
        }
        let place = self.place_of(&saved.path)?;
        let tree = self.saved_tree(saved)?;
        let shown = place.to_string_lossy();
        let mut add = vec!["worktree", "add", "--quiet", "--no-checkout"];
        let branch = saved
            .branch
            .as_deref()
            .and_then(|name| name.strip_prefix("refs/heads/"));
        let branch = branch.filter(|name| self.is_at(name, head.as_str()));
        match branch {
            Some(branch) => add.extend([&*shown, branch]),
            None => add.extend(["--detach", &*shown, head.as_str()]),
        }
        self.git.run(&add)?;
        let git = Git::at(&place);
        git.run(&["read-tree", "--reset", "-u", &tree])?;
        git.run(&["read-tree", head.as_str()])?;
        // It says no where files differ from the commit, which is what they are to do.
        git.asks(&["update-index", "-q", "--refresh"])?;
        self.point_to_final_place(&place)
    }

    /// Whether a branch that is not checked out here is at `commit`.
    fn is_at(&self, branch: &str, commit: &str) -> bool {
        let full = format!("refs/heads/{branch}");
        let tip = self.git.text(&["rev-parse", "--quiet", "--verify", &full]);
        full != self.work && tip.is_ok_and(|tip| tip == commit)
    }

    /// Inside the clone a path is relative to it.
    fn place_of(&self, path: &str) -> Result<PathBuf, RestoreTree> {
        let path = Path::new(path);
        let plain = |part: std::path::Component<'_>| {
            matches!(part, std::path::Component::Normal(name) if name != ".git")
                || part == std::path::Component::RootDir
        };
        if path.as_os_str().is_empty() || !path.components().all(plain) {
            return Err(RestoreTree::RefusePath {
                path: path.to_owned(),
            });
        }
        let place = self.folder.join(path);
        let is_free = match fs::symlink_metadata(&place) {
            Ok(there) => there.is_dir() && self.was_added_as_module(path),
            Err(_) => true,
        };
        if !is_free || place == self.final_folder() {
            return Err(RestoreTree::Taken { path: place });
        }
        Ok(place)
    }

    /// Whether `path` is the empty folder that git makes of a work tree that was committed as if it were a submodule.
    /// One that `.gitmodules` names is a submodule, for `git submodule` to fill.
    fn was_added_as_module(&self, path: &Path) -> bool {
        let is_empty = fs::read_dir(self.folder.join(path)).is_ok_and(|mut entries| entries.next().is_none());
        let list = [
            "config",
            "-z",
            "--file",
            ".gitmodules",
            "--get-regexp",
            r"^submodule\..*\.path$",
        ];
        let modules = self
            .git
            .clone()
            .within(self.folder)
            .run(&list)
            .unwrap_or_default();
        let is_named = modules
            .split(|byte| *byte == 0)
            .filter_map(|entry| entry.splitn(2, |byte| *byte == b'\n').nth(1))
            .any(|named| named == path.as_os_str().as_bytes());
        is_empty && !is_named
    }

    /// Where the clone will be once it is complete.
    fn final_folder(&self) -> PathBuf {
        self.folder.with_file_name("repo")
    }

    /// The tree as it was: what it was compared with, changed as it was.
    fn saved_tree(&self, saved: &SavedTree) -> Result<String, RunGit> {
        let folder = format!("{RESUMED_REF}:{}/{}", self.held, saved.folder);
        let mut edits: Vec<_> = saved
            .deleted
            .iter()
            .filter_map(|path| unquote(path))
            .map(Edit::Remove)
            .collect();
        if self.git.asks(&["rev-parse", "--quiet", "--verify", &folder])? {
            let list = ["ls-tree", "-r", "-z", "--full-tree", &folder];
            self.git.records(&list, 0, |record| {
                edits.extend(entry(record).map(|(blob, path)| Edit::Put(blob, origin(&path))));
            })?;
        }
        let against = saved.against.as_ref().map(ToString::to_string);
        self.edited(against.as_deref(), &edits)
    }

    /// The clone is renamed when it is complete; git keeps absolute paths both ways.
    fn point_to_final_place(&self, place: &Path) -> Result<(), RestoreTree> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| RestoreTree::UseFile {
                path: path.to_owned(),
                source,
            })
        };
        let write = |path: &Path, text: String| {
            fs::write(path, text).map_err(|source| RestoreTree::UseFile {
                path: path.to_owned(),
                source,
            })
        };
        let (now, then) = (self.folder.to_string_lossy(), self.final_folder());
        let moved = |text: &str| text.replace(&format!("{now}/"), &format!("{}/", then.to_string_lossy()));
        let pointer = place.join(".git");
        let text = read(&pointer)?;
        let git_dir = text.trim_end().strip_prefix("gitdir: ").unwrap_or_default();
        let back = Path::new(git_dir).join("gitdir");
        let text_back = moved(&read(&back)?);
        write(&back, text_back)?;
        write(&pointer, moved(&text))
    }
}
