//! What the agent's index says of files that are not on disk. Absent is not deleted: a sparse checkout leaves files out
//! (`skip-worktree`), and so does `git update-index --assume-unchanged` where the file was removed. Nor does an index tell what was
//! deleted here where `core.worktree` has git check out into another folder.

use std::collections::BTreeMap;

use super::work_trees::WorkTree;
use polecat_common::console::{escape, explain};
use polecat_common::git::{Git, work_tree_elsewhere};

/// Files that may be absent without having been deleted.
#[derive(Debug, PartialEq, Eq)]
pub enum NotCheckedOut {
    /// These, each with the object that the index has for it.
    Paths(BTreeMap<Vec<u8>, String>),
    /// The index says nothing, so any absent file may be one; with why.
    Unknown(String),
}

impl NotCheckedOut {
    /// Reads the index of `tree`; `git` runs on its git directory.
    pub fn of(tree: &WorkTree, git: &Git) -> Self {
        // Git takes a missing index for an empty one: nothing was ever checked out.
        if std::fs::symlink_metadata(tree.git_dir.join("index")).is_err() {
            return Self::Unknown("it has no index".to_owned());
        }
        match work_tree_elsewhere(git, &tree.git_dir, &tree.path) {
            Ok(None) => {}
            Ok(Some(place)) => {
                let place = escape(&place.to_string_lossy());
                return Self::Unknown(format!("its index is of the folder \"{place}\" (core.worktree)"));
            }
            Err(error) => {
                return Self::Unknown(format!(
                    "its configuration could not be read: {}",
                    explain(&error)
                ));
            }
        }
        let mut paths = BTreeMap::new();
        let list = ["ls-files", "--stage", "-v", "-z"];
        match git.records(&list, 0, |record| paths.extend(entry(record))) {
            Ok(()) => Self::Paths(paths),
            Err(error) => Self::Unknown(format!("its index could not be read: {}", explain(&error))),
        }
    }

    /// Whether `path` may be absent without having been deleted.
    #[must_use]
    pub fn holds(&self, path: &[u8]) -> bool {
        match self {
            Self::Paths(paths) => paths.contains_key(path),
            Self::Unknown(_) => true,
        }
    }
}

/// Path and object of a line `S 100644 <object> 0<tab><path>` whose file need not be on disk: `S` stands for
/// `skip-worktree`, a lower-case letter for `assume-unchanged` (git-ls-files(1)).
fn entry(record: &[u8]) -> Option<(Vec<u8>, String)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let mut fields = str::from_utf8(&record[..tab]).ok()?.split(' ');
    let (tag, _mode, id) = (fields.next()?, fields.next()?, fields.next()?);
    let absent = tag.starts_with(|letter: char| letter == 'S' || letter.is_ascii_lowercase());
    absent.then(|| (record[tab + 1..].to_vec(), id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_that_need_not_be_on_disk_count() {
        let id = "a".repeat(40);
        let line = |tag: &str| entry(format!("{tag} 100644 {id} 0\ta b").as_bytes());
        for tag in ["S", "h", "s", "m"] {
            assert_eq!(line(tag), Some((b"a b".to_vec(), id.clone())), "{tag}");
        }
        for tag in ["H", "M", "R", "C", "K", "?"] {
            assert_eq!(line(tag), None, "{tag}");
        }
        assert_eq!(entry(b"garbage"), None);
    }
}
