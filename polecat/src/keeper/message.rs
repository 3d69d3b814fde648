//! What a snapshot says of itself: its commit message, and one line of the keeper's log.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gastown_api::git::Sha;
use gastown_api::work_order::WorkOrder;

use super::hold::Held;
use super::import::quote;
use super::walk::Seen;
use crate::console::escape;

/// The most lines of each list.
const MAX_LINES: usize = 300;

/// What there is to say.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The order.
    pub order: &'a WorkOrder,
    /// What the changes are counted against.
    pub base: &'a Sha,
    /// The folder of held files.
    pub folder: &'a str,
    /// Files and bytes that were read.
    pub read: (u64, u64),
    /// Paths that differ from the base.
    pub changed: u64,
    /// What is held.
    pub held: &'a Held,
    /// What the walk saw.
    pub seen: &'a Seen,
    /// Refs with commits never pushed.
    pub unpushed: &'a BTreeMap<String, Sha>,
    /// What went wrong.
    pub notes: &'a [String],
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
        facts.seen.skipped.len() as u64 + facts.seen.skipped_more,
    )
}

/// The commit message.
#[must_use]
pub fn compose(facts: &Facts<'_>) -> String {
    let order = facts.order;
    let mut text = format!(
        "wip: what {} left in attempt {}\n\nBase: {}\nWork tree: {}\n",
        order.polecat,
        order.attempt,
        facts.base,
        summary(facts),
    );
    let folder = facts.folder;
    section(
        &mut text,
        &format!("Held below {folder}/, since no push may change these paths"),
        facts.held.moved.iter().map(|path| quote(path)),
    );
    section(
        &mut text,
        "Deleted in the work tree, and here as in the base, since no push may change these paths",
        facts.held.restored.iter().map(|path| quote(path)),
    );
    section(
        &mut text,
        &format!("Commits never pushed, in {folder}/unpushed.bundle (read it with `git fetch`)"),
        facts
            .unpushed
            .iter()
            .map(|(name, id)| format!("{id} {}", escape(name))),
    );
    section(
        &mut text,
        "Skipped; where the branch has such a path, it stands here as there",
        facts
            .seen
            .skipped
            .iter()
            .map(|(path, why)| format!("{}: {}", quote(path), escape(why))),
    );
    section(&mut text, "Notes", facts.notes.iter().map(|note| escape(note)));
    text
}

fn section(text: &mut String, heading: &str, lines: impl ExactSizeIterator<Item = String>) {
    let count = lines.len();
    if count == 0 {
        return;
    }
    let _strings_take_everything = writeln!(text, "\n{heading}:");
    for line in lines.take(MAX_LINES) {
        let _strings_take_everything = writeln!(text, "  {line}");
    }
    if count > MAX_LINES {
        let _strings_take_everything = writeln!(text, "  and {} more", count - MAX_LINES);
    }
}
