//! Absent is not deleted: what a walk did not read, and what was never checked out, only seems to be deleted.

use std::collections::BTreeSet;

use super::index::NotCheckedOut;
use super::walk::Seen;
use crate::snapshot::denied_paths::{Change, GITLINK, ancestors};

/// Tells what only seems to be deleted: what was skipped, put off or is read on its own, submodules whose folder is
/// empty, and files that were never checked out.
#[derive(Debug)]
pub struct Unread<'a> {
    skipped: BTreeSet<&'a [u8]>,
    empty: BTreeSet<&'a [u8]>,
    not_checked_out: &'a NotCheckedOut,
}

impl<'a> Unread<'a> {
    /// Of one walk, which passed over what is below `apart`.
    #[must_use]
    pub fn of(seen: &'a Seen, apart: &'a BTreeSet<Vec<u8>>, not_checked_out: &'a NotCheckedOut) -> Self {
        let skipped = seen.skipped.iter().map(|(path, _)| &path[..]);
        let skipped = skipped.chain(seen.special.iter().map(|(path, _)| &path[..]));
        let put_off = seen.put_off.iter().map(|(path, _)| &path[..]);
        Self {
            skipped: skipped
                .chain(put_off)
                .chain(apart.iter().map(|path| &path[..]))
                .collect(),
            empty: seen.empty.iter().map(|path| &path[..]).collect(),
            not_checked_out,
        }
    }

    /// Whether what `change` deletes has to be put back. Asked for each change as it is read: an agent that deletes a
    /// million files must not cost memory for each.
    #[must_use]
    pub fn holds(&self, change: &Change) -> bool {
        let (Some(before), None) = (&change.before, &change.after) else {
            return false;
        };
        let module = before.mode == GITLINK && self.empty.contains(&change.path[..]);
        module
            || self.not_checked_out.holds(&change.path)
            || ancestors(&change.path).any(|path| self.skipped.contains(path))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::snapshot::denied_paths::fixture::{blob, change};
    use crate::snapshot::denied_paths::{Edit, put_back};

    #[test]
    fn what_was_not_read_is_not_deleted() {
        let mut seen = Seen::default();
        seen.skipped.push((b"big/one".to_vec(), "too large".to_owned()));
        let changes = [
            change(Some("a"), None, "big/one/x"),
            change(Some("b"), None, "big/two"),
            change(Some("c"), Some("d"), "big/one"),
        ];
        let back = |seen: &Seen| {
            let (apart, all) = (BTreeSet::new(), NotCheckedOut::Paths(BTreeMap::new()));
            let unread = Unread::of(seen, &apart, &all);
            put_back(
                changes
                    .iter()
                    .filter(|change| unread.holds(change))
                    .cloned()
                    .collect(),
            )
        };
        assert_eq!(back(&seen), [Edit::Put(blob("a"), b"big/one/x".to_vec())]);
        seen.skipped.push((Vec::new(), "the time was over".to_owned()));
        assert_eq!(back(&seen).len(), 2);
    }
}
