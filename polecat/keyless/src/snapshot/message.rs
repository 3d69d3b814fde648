//! What a snapshot says of itself: its commit message, and one line of the keeper's log.

use std::fmt::Write as _;

use gastown_api::git::Sha;
use gastown_api::work_order::WorkOrder;
use serde::{Deserialize, Serialize};

use super::Refs;
use super::denied_paths::Held;
use super::quoted::{quote, unquote};
use polecat_common::console::escape;

/// The most lines of each list that only people read.
const MAX_LINES: usize = 300;

/// The most lines of the list of deletions: nothing but the message knows of them.
const MAX_DELETED: usize = 10_000;

/// What stands before the commit of the work branch, before the name of the folder of held files, and before the
/// [`Record`] as JSON.
const BRANCH: &str = "Branch: ";
const HELD: &str = "Held in: ";
const RECORD: &str = "Record: ";

/// The heading of the list of paths that only seem to be there.
pub const DELETED: &str =
    "Deleted in the work tree, and here as in the base, since no push may change these paths";

/// What a later attempt reads of the message. An agent can push any message to its own WIP ref: a wrong one only leads
/// its own successor astray.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// What else it needs; none: the snapshot is an older program's.
    pub record: Option<Record>,
    /// The work branch on the remote at the time, else the base.
    pub branch: Option<Sha>,
    /// The folder of held files.
    pub held: Option<String>,
    /// Paths that were deleted in the work tree.
    pub deleted: Vec<Vec<u8>>,
    /// How many more were; the message does not name them.
    pub deleted_more: u64,
}

/// What the trees of a snapshot do not say themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// The commit that was checked out; none: the branch had no commit yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_out: Option<Sha>,
    /// Quoted paths of which the tree says nothing: they were not read, or never checked out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// Whether a path that is missing may be there all the same: it may be one of `unread` that was too many to name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deletions_unknown: bool,
    /// Other work trees with uncommitted changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub work_trees: Vec<SavedTree>,
}

/// Another work tree, as it is saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SavedTree {
    /// Where it was.
    pub path: String,
    /// Where its changed files are, below the folder of held files.
    pub folder: String,
    /// The commit that was checked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Sha>,
    /// The full name of the branch that was checked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that the changes are counted from; none: the empty tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Sha>,
    /// Quoted paths that were deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<String>,
}

impl Record {
    /// Of what was read; paths that are too many to name make every deletion doubtful.
    #[must_use]
    pub fn of<'a>(
        checked_out: Option<Sha>,
        unread: impl Iterator<Item = &'a Vec<u8>>,
        deletions_unknown: bool,
        work_trees: Vec<SavedTree>,
    ) -> Self {
        let mut unread = unread.map(|path| quote(path));
        Self {
            checked_out,
            unread: unread.by_ref().take(MAX_DELETED).collect(),
            deletions_unknown: deletions_unknown || unread.next().is_some(),
            work_trees,
        }
    }
}

/// What there is to say.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The order.
    pub order: &'a WorkOrder,
    /// What the changes are counted against.
    pub base: &'a Sha,
    /// The work branch on the remote, else the base.
    pub branch: &'a Sha,
    /// The folder of held files.
    pub folder: &'a str,
    /// Files and bytes that were read.
    pub read: (u64, u64),
    /// Paths that differ from the base.
    pub changed: u64,
    /// What is held.
    pub held: &'a Held,
    /// Paths that were not read, each with the reason.
    pub skipped: &'a [(Vec<u8>, String)],
    /// How many more there were.
    pub skipped_more: u64,
    /// Special files, each with its kind.
    pub special: &'a [(Vec<u8>, String)],
    /// Refs with commits never pushed.
    pub unpushed: &'a Refs,
    /// What went wrong.
    pub notes: &'a [String],
    /// What a later attempt needs besides.
    pub record: Record,
}

/// One line for the log.
#[must_use]
pub fn summary(facts: &Facts<'_>) -> String {
    let (files, bytes) = facts.read;
    format!(
        "{files} files, {bytes} bytes, {} changed against the base, {} held, {} refs with commits never pushed, {} skipped",
        facts.changed,
        facts.held.moved.len() + facts.held.restored.len(),
        facts.unpushed.len(),
        facts.skipped.len() as u64 + facts.skipped_more,
    )
}

/// The commit message.
#[must_use]
pub fn compose(facts: &Facts<'_>) -> String {
    let order = facts.order;
    let mut text = format!(
        "wip: what {} left in attempt {}\n\nBase: {}\n{BRANCH}{}\n{HELD}{}\nWork tree: {}\n{RECORD}{}\n",
        order.owner,
        order.attempt,
        facts.base,
        facts.branch,
        facts.folder,
        summary(facts),
        serde_json::to_string(&facts.record).unwrap_or_default(),
    );
    let folder = facts.folder;
    section(
        &mut text,
        &format!("Held below {folder}/, since no push may change these paths"),
        facts.held.moved.iter().map(|path| quote(path)),
    );
    bounded(
        &mut text,
        DELETED,
        MAX_DELETED,
        facts.held.restored.iter().map(|path| quote(path)),
    );
    section(
        &mut text,
        &format!("Commits never pushed, in {folder}/unpushed.bundle (read it with `git fetch`)"),
        facts
            .unpushed
            .iter()
            .map(|(name, id)| format!("{id} {}", quote(name))),
    );
    section(
        &mut text,
        "Skipped; where the branch has such a path, it stands here as there",
        facts
            .skipped
            .iter()
            .map(|(path, why)| format!("{}: {}", quote(path), escape(why))),
    );
    section(
        &mut text,
        "Special files, which have no content",
        facts
            .special
            .iter()
            .map(|(path, why)| format!("{}: {}", quote(path), escape(why))),
    );
    section(
        &mut text,
        &format!("Other work trees with uncommitted changes, below {folder}/"),
        facts
            .record
            .work_trees
            .iter()
            .map(|tree| format!("{}: {}", tree.folder, escape(&tree.path))),
    );
    section(&mut text, "Notes", facts.notes.iter().map(|note| escape(note)));
    text
}

/// Reads back what [`compose`] wrote.
#[must_use]
pub fn read(message: &str) -> Recorded {
    let mut recorded = Recorded::default();
    let mut in_deleted = false;
    for line in message.lines() {
        if let Some(branch) = line.strip_prefix(BRANCH) {
            recorded.branch = recorded.branch.or_else(|| branch.parse().ok());
        } else if let Some(folder) = line.strip_prefix(HELD) {
            recorded.held = recorded.held.or_else(|| Some(folder.to_owned()));
        } else if let Some(json) = line.strip_prefix(RECORD) {
            recorded.record = recorded.record.or_else(|| serde_json::from_str(json).ok());
        } else if in_deleted && line.starts_with("  ") {
            recorded.deleted.extend(unquote(line.trim()));
            recorded.deleted_more += more(line).unwrap_or(0);
        } else {
            in_deleted = line.strip_suffix(':') == Some(DELETED);
        }
    }
    recorded
}

/// The commit message of a snapshot of which everything was delivered.
#[must_use]
pub fn concluded(order: &WorkOrder) -> String {
    format!(
        "wip: {} delivered everything in attempt {}\n",
        order.owner, order.attempt
    )
}

fn section(text: &mut String, heading: &str, lines: impl ExactSizeIterator<Item = String>) {
    bounded(text, heading, MAX_LINES, lines);
}

fn bounded(text: &mut String, heading: &str, most: usize, lines: impl ExactSizeIterator<Item = String>) {
    let count = lines.len();
    if count == 0 {
        return;
    }
    let _strings_take_everything = writeln!(text, "\n{heading}:");
    for line in lines.take(most) {
        let _strings_take_everything = writeln!(text, "  {line}");
    }
    if count > most {
        let _strings_take_everything = writeln!(text, "  and {} more", count - most);
    }
}

/// The count of a list's last line.
fn more(line: &str) -> Option<u64> {
    let count = line.strip_prefix("  and ")?.strip_suffix(" more")?;
    count.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_attempt_reads_what_was_written() {
        let order = crate::testing::order();
        let (base, branch): (Sha, Sha) = ("a".repeat(40).parse().unwrap(), "b".repeat(40).parse().unwrap());
        let odd = b"odd \xff\n\"\\\x01:name".to_vec();
        let held = Held {
            restored: vec![b".gitlab-ci.yml".to_vec(), odd.clone()],
            moved: vec![b"moved".to_vec()],
            ..Held::default()
        };
        let unpushed = Refs::from([(b"refs/heads/x".to_vec(), branch.clone())]);
        let facts = Facts {
            order: &order,
            base: &base,
            branch: &branch,
            folder: "gastown-held-1",
            read: (1, 2),
            changed: 3,
            held: &held,
            skipped: &[],
            skipped_more: 0,
            special: &[],
            unpushed: &unpushed,
            notes: &["Branch: nonsense".to_owned()],
            record: Record::of(
                Some(base.clone()),
                [b"big \xff".to_vec()].iter(),
                false,
                vec![SavedTree::default()],
            ),
        };
        let recorded = Recorded {
            record: Some(facts.record.clone()),
            branch: Some(branch.clone()),
            held: Some("gastown-held-1".to_owned()),
            deleted: vec![b".gitlab-ci.yml".to_vec(), odd],
            deleted_more: 0,
        };
        assert_eq!(read(&compose(&facts)), recorded);
        let many = Held {
            restored: (0..=MAX_DELETED)
                .map(|number| number.to_string().into_bytes())
                .collect(),
            ..Held::default()
        };
        let recorded = read(&compose(&Facts { held: &many, ..facts }));
        assert_eq!(recorded.deleted[..], many.restored[..MAX_DELETED]);
        assert_eq!(recorded.deleted_more, 1);
        assert_eq!(read("anything\n\nBranch: x\n"), Recorded::default());
    }
}
