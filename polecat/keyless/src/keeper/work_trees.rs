//! Finds the work trees that the agent may have changed: the clone, linked work trees of it (`git worktree add`, which
//! agents use for subagents, often in a folder that the base ignores), and copies of the clone beside it, such as one
//! that was moved away.
//!
//! All of it is the agent's, so nothing here is trusted: a wrong answer costs the agent its own work at worst. Paths
//! outside of the pod's volumes are never followed, since the keeper's container has other files there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::path_of;
use crate::workspace::PARTIAL;
use polecat_common::console::escape;

/// How many folders below a volume's root a repository is looked for: `/workspace/a/b/c/.git`.
const MAX_DEPTH: usize = 3;

/// The most entries that are looked at in search of repositories.
const MAX_ENTRIES: usize = 200_000;

/// The most work trees besides the clone; each costs a walk.
const MAX_OTHERS: usize = 50;

/// The most bytes of a `.git` file, or of one that names a work tree: a path and a word before it.
const MAX_POINTER: u64 = 8 * 1024;

/// A work tree, and the git directory that tracks it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkTree {
    /// Its folder.
    pub path: PathBuf,
    /// Its git directory: that of a linked work tree is below `worktrees/` of the repository's.
    pub git_dir: PathBuf,
    /// The repository's git directory: the same for all work trees linked to it.
    pub common_dir: PathBuf,
}

/// The work trees of a pod.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WorkTrees {
    /// The clone; where there is none at its place, a copy of it that has been moved.
    pub clone: Option<WorkTree>,
    /// All others.
    pub others: Vec<WorkTree>,
    /// What could not be looked at, in words.
    pub notes: Vec<String>,
}

/// Where to look.
#[derive(Debug)]
pub struct Search<'a> {
    /// Where `git-init` put the clone.
    pub clone: &'a Path,
    /// The roots of the volumes that the agent can write.
    pub volumes: &'a [PathBuf],
    /// When to stop looking.
    pub deadline: Instant,
}

impl Search<'_> {
    /// Finds the work trees; `is_copy` says whether the repository of one has commits that the remote has.
    pub fn run(&self, is_copy: impl Fn(&WorkTree) -> bool) -> WorkTrees {
        let mut found = WorkTrees::default();
        let (mut copies, mut orphans) = (Vec::new(), Vec::new());
        self.look_below(self.volumes, &mut found.notes, |path| {
            if let Some(tree) = self.tree_at(path) {
                copies.push(tree);
            } else if let Some(tree) = self.orphan_at(path) {
                orphans.push(tree);
            } else {
                return false;
            }
            true
        });
        copies.sort();
        copies.retain(|tree| tree.path != self.clone && is_copy(tree));
        found.clone = self.at_its_place();
        if found.clone.is_none() {
            let moved = copies.iter().position(|tree| tree.git_dir == tree.common_dir);
            found.clone = moved.map(|at| copies.remove(at));
        }
        if let Some(clone) = found.clone.as_ref().filter(|clone| !clone.common_dir.exists()) {
            let roots = std::slice::from_ref(&clone.path);
            self.look_below(roots, &mut found.notes, |path| {
                let orphan = self.orphan_at(path);
                let is_one = orphan.is_some();
                orphans.extend(orphan);
                is_one
            });
        }
        let mut others: BTreeSet<_> = copies.into_iter().collect();
        let repositories: BTreeSet<_> = others
            .iter()
            .chain(&found.clone)
            .map(|tree| tree.common_dir.clone())
            .collect();
        for common_dir in repositories {
            others.extend(self.linked(&common_dir, &mut found.notes));
        }
        orphans.retain(|orphan| others.iter().all(|tree| tree.path != orphan.path));
        others.extend(orphans);
        others.retain(|tree| found.clone.as_ref().is_none_or(|clone| clone.path != tree.path));
        if others.len() > MAX_OTHERS {
            found.notes.push(format!(
                "of {} work trees besides the clone, {MAX_OTHERS} are looked at",
                others.len()
            ));
        }
        found.others = others.into_iter().take(MAX_OTHERS).collect();
        found
    }

    /// The clone's folder counts as such whatever became of its `.git`; a symbolic link leads to where the agent works.
    fn at_its_place(&self) -> Option<WorkTree> {
        let path = self.inside(self.clone)?;
        fs::metadata(&path).ok().filter(fs::Metadata::is_dir)?;
        Some(self.tree_at(&path).unwrap_or_else(|| WorkTree {
            git_dir: path.join(".git"),
            common_dir: path.join(".git"),
            path,
        }))
    }

    /// Shows `see` the folders near `roots`; those below one of which it says yes are passed over.
    fn look_below(&self, roots: &[PathBuf], notes: &mut Vec<String>, mut see: impl FnMut(&Path) -> bool) {
        let mut looked_at = 0;
        let mut folders: Vec<_> = roots.iter().map(|root| (root.clone(), 0)).collect();
        while let Some((folder, depth)) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                looked_at += 1;
                if looked_at > MAX_ENTRIES || Instant::now() >= self.deadline {
                    notes.push(
                        "the volumes have too many files to look for work trees in all of them".to_owned(),
                    );
                    return;
                }
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || is_not_searched(&entry.file_name()) {
                    continue;
                }
                let path = entry.path();
                if !see(&path) && depth + 1 < MAX_DEPTH && path != self.clone {
                    folders.push((path, depth + 1));
                }
            }
        }
    }

    /// The work tree at `path` that was linked to the clone, whose git directory is gone: it still points to where that was.
    fn orphan_at(&self, path: &Path) -> Option<WorkTree> {
        let text = read_pointer(&path.join(".git"))?;
        let git_dir = path.join(path_of(text.strip_prefix(b"gitdir: ")?));
        let common_dir = self.clone.join(".git");
        git_dir
            .starts_with(common_dir.join("worktrees"))
            .then(|| WorkTree {
                path: path.to_owned(),
                git_dir,
                common_dir,
            })
    }

    /// The work tree whose root is `path`, if there is one.
    pub fn tree_at(&self, path: &Path) -> Option<WorkTree> {
        let pointer = path.join(".git");
        let kind = fs::symlink_metadata(&pointer).ok()?.file_type();
        let git_dir = if kind.is_file() {
            let text = read_pointer(&pointer)?;
            path.join(path_of(text.strip_prefix(b"gitdir: ")?))
        } else {
            pointer
        };
        let git_dir = self.inside(&git_dir)?;
        let common_dir = match read_pointer(&git_dir.join("commondir")) {
            Some(text) => self.inside(&git_dir.join(path_of(&text)))?,
            None => git_dir.clone(),
        };
        Some(WorkTree {
            path: path.to_owned(),
            git_dir,
            common_dir,
        })
    }

    /// The work trees that are linked to a repository, wherever they are. One whose folder is gone has nothing to save.
    fn linked(&self, common_dir: &Path, notes: &mut Vec<String>) -> Vec<WorkTree> {
        let mut found = Vec::new();
        for entry in fs::read_dir(common_dir.join("worktrees"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let git_dir = entry.path();
            let Some(pointer) = read_pointer(&git_dir.join("gitdir")) else {
                continue;
            };
            let pointer = git_dir.join(path_of(&pointer));
            let Some(folder) = pointer.parent().filter(|folder| folder.exists()) else {
                continue;
            };
            match self.inside(folder) {
                Some(path) => found.push(WorkTree {
                    path,
                    git_dir,
                    common_dir: common_dir.to_owned(),
                }),
                None => notes.push(format!(
                    "the work tree {} lies outside of the pod's volumes",
                    escape(&folder.to_string_lossy())
                )),
            }
        }
        found
    }

    /// Where `path` really is, if that is in a volume.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        let path = fs::canonicalize(path).ok()?;
        let volume = |root: &PathBuf| fs::canonicalize(root).is_ok_and(|root| path.starts_with(root));
        self.volumes.iter().any(volume).then_some(path)
    }
}

/// A clone that is being made is no copy of one.
fn is_not_searched(name: &OsStr) -> bool {
    name == ".git" || name == PARTIAL
}

/// The one line of a small regular file; a FIFO is not waited for.
fn read_pointer(path: &Path) -> Option<Vec<u8>> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(MAX_POINTER)
        .read_to_end(&mut text)
        .ok()?;
    let line = text.split(|byte| *byte == b'\n').next()?;
    (!line.is_empty()).then(|| line.to_owned())
}

/// The path of `inner` below `outer`, as bytes; none: it lies elsewhere.
#[must_use]
pub fn below(outer: &Path, inner: &Path) -> Option<Vec<u8>> {
    let rest = inner.strip_prefix(outer).ok()?.as_os_str().as_bytes();
    (!rest.is_empty()).then(|| rest.to_owned())
}
