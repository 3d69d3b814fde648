//! What of a snapshot stands at another place than in the work tree: changes of paths that no push may touch are held
//! below `gastown-held/`, and what could not be read keeps what the branch has. Pure functions over a diff.

use std::collections::BTreeSet;

use super::name::is_modules;

/// The mode of a submodule's entry.
pub const GITLINK: &str = "160000";

/// One line of `git diff-tree -r -z --raw`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Mode and object id before; none: it was not there.
    pub before: Option<Blob>,
    /// Mode and object id after; none: it is gone.
    pub after: Option<Blob>,
    /// The path.
    pub path: Vec<u8>,
}

/// An entry of a tree that is no tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The mode in octal.
    pub mode: String,
    /// The object id.
    pub id: String,
}

/// One change of an index, as `git update-index --index-info` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Nothing is to stand at the path.
    Remove(Vec<u8>),
    /// This is to stand at the path.
    Put(Blob, Vec<u8>),
}

/// What is held and why the snapshot says so.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The edits that hold it.
    pub edits: Vec<Edit>,
    /// The paths that stand below the folder of held files.
    pub moved: Vec<Vec<u8>>,
    /// The paths whose deletion could not be kept.
    pub restored: Vec<Vec<u8>>,
}

/// Collects the two records of each change.
#[derive(Debug, Default)]
pub struct Diff {
    head: Option<(Option<Blob>, Option<Blob>)>,
    /// The changes so far.
    pub changes: Vec<Change>,
    /// How many changes there were in all.
    pub count: u64,
}

impl Diff {
    /// Takes the next record; `keep` says which changes are of interest.
    pub fn record(&mut self, record: &[u8], keep: impl Fn(&Change) -> bool) {
        let Some((before, after)) = self.head.take() else {
            self.head = parse_head(record);
            return;
        };
        self.count += 1;
        let path = record.to_vec();
        let change = Change { before, after, path };
        if keep(&change) {
            self.changes.push(change);
        }
    }
}

/// `:<mode> <mode> <id> <id> <letter>`; zeros stand for nothing.
fn parse_head(record: &[u8]) -> Option<(Option<Blob>, Option<Blob>)> {
    let text = str::from_utf8(record).ok()?.strip_prefix(':')?;
    let fields: Vec<_> = text.split(' ').collect();
    let [mode_before, mode_after, id_before, id_after, _] = fields[..] else {
        return None;
    };
    let blob = |mode: &str, id: &str| {
        let there = mode.bytes().any(|byte| byte != b'0');
        there.then(|| Blob {
            mode: mode.to_owned(),
            id: id.to_owned(),
        })
    };
    Some((blob(mode_before, id_before), blob(mode_after, id_after)))
}

/// Mode, id and path of a line of `ls-tree -r -z`.
#[must_use]
pub fn entry(record: &[u8]) -> Option<(Blob, Vec<u8>)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let mut fields = str::from_utf8(&record[..tab]).ok()?.split(' ');
    let (mode, _, id) = (fields.next()?, fields.next()?, fields.next()?);
    let blob = Blob {
        mode: mode.to_owned(),
        id: id.to_owned(),
    };
    Some((blob, record[tab + 1..].to_vec()))
}

/// Whether a change is of a path that no push may touch, or of one that a host reads as configuration.
#[must_use]
pub fn is_held(change: &Change, denied: &[String], long_attributes: &BTreeSet<&[u8]>) -> bool {
    let modules = change.after.is_some() && change.path.split(|byte| *byte == b'/').any(is_modules);
    modules
        || long_attributes.contains(&change.path[..])
        || denied.iter().any(|rule| touches(&change.path, rule.as_bytes()))
}

/// Whether `path` is at, below or above the denied `rule`: a file at the place of one of its folders replaces it.
fn touches(path: &[u8], rule: &[u8]) -> bool {
    let rule = rule.strip_suffix(b"/").unwrap_or(rule);
    is_at_or_below(path, rule) || is_at_or_below(rule, path)
}

fn is_at_or_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Moves held changes below `folder` and puts back what the base has.
#[must_use]
pub fn hold(changes: &[Change], folder: &str) -> Held {
    let mut held = Held::default();
    // First all removals: a file may stand where the base has a folder.
    for change in changes.iter().filter(|change| change.after.is_some()) {
        held.edits.push(Edit::Remove(change.path.clone()));
    }
    for change in changes {
        if let Some(before) = &change.before {
            held.edits.push(Edit::Put(before.clone(), change.path.clone()));
        }
        match &change.after {
            Some(after) => {
                held.edits
                    .push(Edit::Put(after.clone(), held_path(folder, &change.path)));
                held.moved.push(change.path.clone());
            }
            None => held.restored.push(change.path.clone()),
        }
    }
    held
}

/// Where a file is held below `folder`. Names that git reads as its own get a suffix: a host checks them at any depth.
#[must_use]
pub fn held_path(folder: &str, path: &[u8]) -> Vec<u8> {
    let mut held = folder.as_bytes().to_vec();
    for name in path.split(|byte| *byte == b'/') {
        held.push(b'/');
        held.extend_from_slice(name);
        if is_modules(name) || super::name::is_attributes(name) {
            held.extend_from_slice(b".held");
        }
    }
    held
}

/// Where a file of the folder of held files came from; `held` is its path in that folder.
#[must_use]
pub fn origin(held: &[u8]) -> Vec<u8> {
    let names = held.split(|byte| *byte == b'/').map(|name| {
        let plain = name.strip_suffix(b".held");
        let renamed = plain.filter(|plain| is_modules(plain) || super::name::is_attributes(plain));
        renamed.unwrap_or(name)
    });
    names.collect::<Vec<_>>().join(&b'/')
}

/// Puts back what changes deleted.
#[must_use]
pub fn put_back(changes: Vec<Change>) -> Vec<Edit> {
    let edits = changes
        .into_iter()
        .filter_map(|change| Some(Edit::Put(change.before?, change.path)));
    edits.collect()
}

/// Whether no tree can have both `path` and all of `paths`: one is a folder of another.
#[must_use]
pub fn stands_in_place_of(path: &[u8], paths: &BTreeSet<Vec<u8>>) -> bool {
    let below = [path, b"/"].concat();
    let mut from = paths.range(below.clone()..);
    from.next().is_some_and(|first| first.starts_with(&below))
        || ancestors(path).any(|folder| folder != path && paths.contains(folder))
}

/// The path itself, each folder above it, and the root as an empty path.
pub fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = (0..path.len()).filter(|at| path[*at] == b'/');
    let cuts = slashes.chain([path.len(), 0]);
    cuts.map(|at| &path[..at])
}

/// The edits as `git update-index -z --index-info` reads them.
#[must_use]
pub fn index_info(edits: &[Edit]) -> Vec<u8> {
    let put = edits.iter().find_map(|edit| match edit {
        Edit::Put(blob, _) => Some(blob.id.len()),
        Edit::Remove(_) => None,
    });
    let nothing = "0".repeat(put.unwrap_or(40));
    let mut lines = Vec::new();
    for edit in edits {
        let (head, path) = match edit {
            Edit::Remove(path) => (format!("0 {nothing}\t"), path),
            Edit::Put(blob, path) => (format!("{} {}\t", blob.mode, blob.id), path),
        };
        lines.extend_from_slice(head.as_bytes());
        lines.extend_from_slice(path);
        lines.push(0);
    }
    lines
}

#[cfg(test)]
pub mod fixture {
    //! Changes of plain files.

    use super::{Blob, Change};

    /// A plain file of that content.
    pub fn blob(id: &str) -> Blob {
        Blob {
            mode: "100644".to_owned(),
            id: id.to_owned(),
        }
    }

    /// A change of a plain file.
    pub fn change(before: Option<&str>, after: Option<&str>, path: &str) -> Change {
        Change {
            before: before.map(blob),
            after: after.map(blob),
            path: path.as_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::change;
    use super::*;

    fn held(path: &str) -> bool {
        let denied = [".github/workflows/".to_owned(), ".gitlab-ci.yml".to_owned()];
        is_held(&change(None, Some("a"), path), &denied, &BTreeSet::new())
    }

    #[test]
    fn denied_paths_and_what_would_replace_them_are_held() {
        for path in [
            ".github/workflows/ci.yml",
            ".github/workflows",
            ".github",
            ".gitlab-ci.yml",
            ".gitlab-ci.yml/x",
            "a/.gitmodules",
        ] {
            assert!(held(path), "{path}");
        }
        for path in [
            ".github/CODEOWNERS",
            ".github/workflowsx",
            "a/.gitlab-ci.yml",
            "gitlab-ci.yml",
            ".git",
            "x",
        ] {
            assert!(!held(path), "{path}");
        }
    }

    #[test]
    fn a_deleted_modules_file_is_an_honest_change() {
        assert!(!is_held(
            &change(Some("a"), None, ".gitmodules"),
            &[],
            &BTreeSet::new()
        ));
    }

    #[test]
    fn held_changes_move_and_the_base_comes_back() {
        let changes = [
            change(Some("a"), Some("b"), ".gitmodules"),
            change(Some("c"), None, "x"),
            change(None, Some("d"), "y"),
        ];
        let held = hold(&changes, "gastown-held");
        let lines = String::from_utf8(index_info(&held.edits)).unwrap();
        let zero = "0";
        let expected = [
            format!("0 {zero}\t.gitmodules"),
            format!("0 {zero}\ty"),
            "100644 a\t.gitmodules".to_owned(),
            "100644 b\tgastown-held/.gitmodules.held".to_owned(),
            "100644 c\tx".to_owned(),
            "100644 d\tgastown-held/y".to_owned(),
        ];
        assert_eq!(lines.split_terminator('\0').collect::<Vec<_>>(), expected);
        assert_eq!(held.restored, [b"x".to_vec()]);
    }

    #[test]
    fn what_is_held_finds_its_way_back() {
        for path in [
            ".github/workflows/ci.yml",
            ".gitmodules",
            "a/.gitattributes",
            "x.held",
            "GITMOD~1",
        ] {
            let held = held_path("f", path.as_bytes());
            assert_eq!(origin(held.strip_prefix(b"f/").unwrap()), path.as_bytes());
        }
    }

    #[test]
    fn a_diff_is_read_in_pairs_and_garbage_passed_over() {
        let zero = "0".repeat(40);
        let one = "1".repeat(40);
        let mut diff = Diff::default();
        for record in [
            format!(":000000 100755 {zero} {one} A"),
            "a".to_owned(),
            "garbage".to_owned(),
            format!(":100644 000000 {one} {zero} D"),
            "b".to_owned(),
        ] {
            diff.record(record.as_bytes(), |_| true);
        }
        assert_eq!(diff.count, 2);
        assert_eq!(diff.changes[0].after.as_ref().unwrap().mode, "100755");
        assert_eq!(diff.changes[0].before, None);
        assert_eq!(diff.changes[1].after, None);
    }
}
