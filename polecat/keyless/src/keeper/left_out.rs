//! What a snapshot lacks, for status and event: how much, and the first of it by name.

use std::path::Path;

use gastown_api::evidence::{SnapshotReport, truncate};

use crate::snapshot::quoted::quote;
use polecat_common::console::escape;

/// How many paths are named; the snapshot's message names more.
const MAX_NAMED: usize = 5;

/// The most bytes of each note.
const MAX_NOTE: usize = 300;

/// What is not saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many paths.
    pub paths: u64,
    /// The first of them, each with why.
    pub named: Vec<String>,
    /// What else could not be saved or looked at.
    pub notes: Vec<String>,
}

impl LeftOut {
    /// Of paths with why they were skipped. Special files have no content that could be lost.
    pub fn of<'a>(
        skipped: impl Iterator<Item = (&'a [u8], &'a str)>,
        skipped_more: u64,
        notes: &[String],
    ) -> Self {
        let mut skipped: Vec<_> = skipped.collect();
        skipped.sort_unstable();
        let named = skipped.iter().take(MAX_NAMED);
        Self {
            paths: skipped_more + skipped.len() as u64,
            named: named
                .map(|(path, why)| format!("{}: {}", quote(path), escape(why)))
                .collect(),
            notes: notes.to_vec(),
        }
    }

    /// Of an attempt whose clone is nowhere to be found.
    #[must_use]
    pub fn no_clone(place: &Path) -> Self {
        Self {
            notes: vec![format!("no clone was found, at {place:?} or elsewhere")],
            ..Self::default()
        }
    }

    /// Whether everything is saved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths == 0 && self.notes.is_empty()
    }

    /// As the keeper's last words.
    #[must_use]
    pub fn report(&self) -> SnapshotReport {
        let cut = |note: &String| {
            let mut note = escape(note);
            truncate(&mut note, MAX_NOTE);
            note
        };
        SnapshotReport {
            left_out: self.paths,
            named: self.named.iter().map(cut).collect(),
            notes: self.notes.iter().take(MAX_NAMED).map(cut).collect(),
        }
    }
}
