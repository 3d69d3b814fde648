//! Large files, and more files than one push may have, must not keep the others from being saved: they follow in pushes of
//! their own, each a commit on the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use super::context::{Context, TakeSnapshot};
use super::open::version;
use super::save::{Outcome, Work};
use super::store::UseStore;
use crate::snapshot::denied_paths::{Change, Diff, Edit};
use polecat_common::console::{cut, explain, say};
use polecat_common::git::RunGit;

/// Large files of so many bytes together are read and pushed with all others.
const ALONE_FROM: u64 = 32 * 1024 * 1024;

/// The most bytes of the large files of a round, so that what is saved grows while there is time.
const ROUND: u64 = 256 * 1024 * 1024;

/// The most bytes of the reason why files could not be pushed; it stands beside each.
const MAX_WHY: usize = 200;

/// When the large files of a snapshot are saved, by their paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    /// Together with all that is not large: they are few.
    pub at_once: Vec<Vec<u8>>,
    /// Afterwards, each group in a push of its own.
    pub later: Vec<Vec<Vec<u8>>>,
}

impl Rounds {
    /// Those files first of which no snapshot or branch has a version of the same size, and the smaller ones first.
    #[must_use]
    pub fn of(mut put_off: Vec<(Vec<u8>, u64)>, sizes: &BTreeMap<Vec<u8>, u64>, most: u64) -> Self {
        let may_be_saved = |path: &Vec<u8>, size: u64| sizes.get(path) == Some(&size);
        put_off.sort_by_cached_key(|(path, size)| (may_be_saved(path, *size), *size, path.clone()));
        if put_off.iter().map(|(_, size)| size).sum::<u64>() <= ALONE_FROM.min(most) {
            return Self {
                at_once: put_off.into_iter().map(|(path, _)| path).collect(),
                later: Vec::new(),
            };
        }
        Self {
            at_once: Vec::new(),
            later: grouped(put_off, most.min(ROUND)),
        }
    }

    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.at_once.iter().chain(self.later.iter().flatten())
    }
}

/// A tree that has a part of the changes.
#[derive(Debug)]
pub struct Step {
    /// Its id.
    pub tree: String,
    /// The paths that are in it as they were before.
    pub lacks: Vec<Vec<u8>>,
}

/// The items in groups of at most `most` bytes, in their order; an item that is larger alone has a group of its own.
fn grouped<T>(items: Vec<(T, u64)>, most: u64) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut left = 0;
    for (item, size) in items {
        match groups.last_mut() {
            Some(group) if size <= left => group.push(item),
            _ => {
                groups.push(vec![item]);
                left = most;
            }
        }
        left = left.saturating_sub(size);
    }
    groups
}

impl Context<'_> {
    /// First everything but large files, then these, as long as there is time.
    pub(super) fn save_in_rounds(&self, work: &mut Work<'_>) -> Result<Outcome, TakeSnapshot> {
        let put_off = std::mem::take(&mut work.read.seen.put_off);
        let last = work.known.last.as_ref();
        let last = last.map_or_else(|| work.known.branch().to_string(), |last| last.tree.clone());
        let put_off = self.take_over_saved(work, put_off)?;
        let rounds = self.rounds(put_off, &last)?;
        work.read.tree = self.keep_put_off(&last, &work.read.tree, &rounds)?;
        self.add_late(&work.clone.path, &mut work.read, &rounds.at_once)?;
        work.pending = rounds.later.iter().flatten().cloned().collect();
        self.report_pending(work);
        let mut outcome = self.save_within_budget(work, &last)?;
        for paths in rounds.later {
            self.report_pending(work);
            work.pending.drain(..paths.len());
            let before = work.read.tree.clone();
            let added = self.add_late(&work.clone.path, &mut work.read, &paths);
            match added.and_then(|()| self.save_within_budget(work, &before)) {
                Ok(saved) => outcome = saved,
                Err(error) => {
                    let why = cut(&words_of(&error), MAX_WHY);
                    say(&format!("polecat keeper: failed to save the large files: {why}"));
                    let unsaved = paths.into_iter().chain(std::mem::take(&mut work.pending));
                    let skipped = &mut work.read.seen.skipped;
                    skipped.extend(unsaved.map(|path| (path, why.clone())));
                    break;
                }
            }
        }
        outcome.lacking(work.left_out());
        Ok(outcome)
    }

    /// Saves the tree that was read, in as many pushes as its new bytes need; `before` is what is on the remote already.
    fn save_within_budget(&self, work: &mut Work<'_>, before: &str) -> Result<Outcome, TakeSnapshot> {
        let (tree, pending) = (work.read.tree.clone(), work.pending.clone());
        for step in self.steps(before, &tree, work.read.bytes)? {
            work.read.tree = step.tree;
            work.pending.extend(step.lacks);
            self.save(work)?;
            work.pending.truncate(pending.len());
        }
        work.read.tree = tree;
        let saved = self.save(work)?;
        if let Some(end) = self.end {
            end.remember(work.read.whole.drain(..));
        }
        Ok(saved)
    }

    /// Puts those files into the tree that an earlier snapshot of this end saved and that are as they were; gives the
    /// others.
    fn take_over_saved(
        &self,
        work: &mut Work<'_>,
        mut put_off: Vec<(Vec<u8>, u64)>,
    ) -> Result<Vec<(Vec<u8>, u64)>, TakeSnapshot> {
        let Some(end) = self.end else {
            return Ok(put_off);
        };
        let root = &work.clone.path;
        let mut saved = Vec::new();
        put_off.retain(|(path, _)| {
            let blob = version(root, path).and_then(|version| end.saved(&version));
            let is_new = blob.is_none();
            saved.extend(blob.map(|blob| Edit::Put(blob, path.clone())));
            is_new
        });
        work.read.files += saved.len() as u64;
        work.read.tree = self.edit(&work.read.tree, &saved)?;
        Ok(put_off)
    }

    /// Before a push that may outlast the pod: what is lacking if nothing comes after it.
    fn report_pending(&self, work: &Work<'_>) {
        if let Some(end) = self.end.filter(|_| !work.pending.is_empty()) {
            end.report(Some(&work.left_out().report()));
        }
    }

    /// The rounds for the files that the walk put off; `last` is the tree that was saved last.
    pub(super) fn rounds(&self, put_off: Vec<(Vec<u8>, u64)>, last: &str) -> Result<Rounds, TakeSnapshot> {
        let mut sizes = BTreeMap::new();
        if put_off.iter().map(|(_, size)| size).sum::<u64>() > ALONE_FROM {
            let wanted: BTreeSet<_> = put_off.iter().map(|(path, _)| &path[..]).collect();
            let tree = ["ls-tree", "-r", "-z", "--long", last];
            self.store.git(self.deadline).records(&tree, 0, |record| {
                sizes.extend(long_entry(record).filter(|(path, _)| wanted.contains(&path[..])));
            })?;
        }
        Ok(Rounds::of(put_off, &sizes, self.push_bytes))
    }

    /// `tree` with the versions that `last` has of the files that are put off: until they are read again, these are what
    /// is known of them.
    pub(super) fn keep_put_off(
        &self,
        last: &str,
        tree: &str,
        rounds: &Rounds,
    ) -> Result<String, TakeSnapshot> {
        let paths: BTreeSet<_> = rounds.paths().map(|path| &path[..]).collect();
        if paths.is_empty() {
            return Ok(tree.to_owned());
        }
        let mut diff = Diff::default();
        self.diff_tree(last, tree, &mut diff, |change| paths.contains(&change.path[..]))?;
        let kept = diff.changes.into_iter();
        let kept: Vec<_> = kept
            .filter_map(|change| Some(Edit::Put(change.before?, change.path)))
            .collect();
        self.edit(tree, &kept)
    }

    /// The trees on the way from `before` to `tree`, so that from each to the next are no more new bytes than one push may
    /// have. Of the `bytes` that were read some may be new.
    pub(super) fn steps(&self, before: &str, tree: &str, bytes: u64) -> Result<Vec<Step>, TakeSnapshot> {
        if bytes <= self.push_bytes {
            return Ok(Vec::new());
        }
        let mut diff = Diff::default();
        self.diff_tree(before, tree, &mut diff, |_| true)?;
        let mut sized = self.sizes(diff.changes)?;
        sized.sort_by_key(|(_, size)| *size);
        let mut groups = grouped(sized, self.push_bytes).into_iter();
        let mut steps = Vec::new();
        let mut at = before.to_owned();
        while let Some(group) = groups.next() {
            let rest = groups.as_slice().iter().flatten();
            let lacks: Vec<_> = rest.map(|change| change.path.clone()).collect();
            if lacks.is_empty() {
                break;
            }
            let edits: Vec<_> = group
                .into_iter()
                .map(|change| match change.after {
                    Some(after) => Edit::Put(after, change.path),
                    None => Edit::Remove(change.path),
                })
                .collect();
            at = self.edit(&at, &edits)?;
            steps.push(Step {
                tree: at.clone(),
                lacks,
            });
        }
        Ok(steps)
    }

    /// The changes with the bytes that their new content takes in the keeper's repository, and about as many in a push.
    fn sizes(&self, changes: Vec<Change>) -> Result<Vec<(Change, u64)>, TakeSnapshot> {
        let path = self.store.folder().join("sizes");
        let fail = |source| UseStore::UseFile {
            path: path.clone(),
            source,
        };
        let mut ids = io::BufWriter::new(std::fs::File::create(&path).map_err(fail)?);
        for change in &changes {
            let id = change.after.as_ref().map_or("", |blob| &blob.id);
            writeln!(ids, "{id}").map_err(fail)?;
        }
        ids.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .map_err(fail)?;
        let input = std::fs::File::open(&path).map_err(fail)?;
        let ask = ["cat-file", "--batch-check=%(objectsize:disk)"];
        let git = self.store.git(self.deadline);
        let mut child = git.start(&ask, Stdio::from(input), Stdio::piped())?;
        let mut sized = Vec::with_capacity(changes.len());
        if let Some(stdout) = child.stdout() {
            let mut lines = BufReader::new(stdout).lines();
            for change in changes {
                let line = child.blame(lines.next().transpose())?.unwrap_or_default();
                // "missing" is what git says of a deletion, and of a submodule.
                sized.push((change, line.parse().unwrap_or(0)));
            }
        }
        child.finish()?;
        let _made_anew_each_time = std::fs::remove_file(&path);
        Ok(sized)
    }
}

/// Path and size of a line of `ls-tree -r -z --long`.
fn long_entry(record: &[u8]) -> Option<(Vec<u8>, u64)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let size = str::from_utf8(&record[..tab])
        .ok()?
        .split_ascii_whitespace()
        .nth(3)?;
    Some((record[tab + 1..].to_vec(), size.parse().ok()?))
}

/// What git said, where it was git that failed: its command says nothing to a reader of a status.
fn words_of(error: &TakeSnapshot) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(run) = current.downcast_ref::<RunGit>() {
            return run.words();
        }
        cause = current.source();
    }
    explain(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_off(sizes: &[u64]) -> Vec<(Vec<u8>, u64)> {
        let name = |size: &u64| (size.to_string().into_bytes(), *size);
        sizes.iter().map(name).collect()
    }

    fn names(group: &[Vec<u8>]) -> String {
        group
            .iter()
            .map(|path| String::from_utf8_lossy(path))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn few_large_files_are_saved_with_all_others() {
        assert_eq!(Rounds::of(Vec::new(), &BTreeMap::new(), 1000), Rounds::default());
        let rounds = Rounds::of(put_off(&[2, 1]), &BTreeMap::new(), 1000);
        assert_eq!((names(&rounds.at_once).as_str(), rounds.later.len()), ("1 2", 0));
    }

    #[test]
    fn many_large_files_follow_in_rounds_the_new_and_small_ones_first() {
        let sizes = BTreeMap::from([(b"600".to_vec(), 600), (b"500".to_vec(), 7)]);
        let rounds = Rounds::of(put_off(&[900, 500, 600, 300, 800, 2000]), &sizes, 1000);
        let later: Vec<_> = rounds.later.iter().map(|group| names(group)).collect();
        assert_eq!(later, ["300 500", "800", "900", "2000", "600"]);
        assert!(rounds.at_once.is_empty());
        let rounds = Rounds::of(put_off(&[ALONE_FROM, 1]), &BTreeMap::new(), u64::MAX);
        assert_eq!(
            rounds.later.len(),
            1,
            "one round, and all that is not large before it"
        );
    }
}
