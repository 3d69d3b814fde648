//! Starts an attempt from what an earlier one left: the snapshot's tree as uncommitted changes, byte for byte, what was
//! held at its place again, and the commits that were never pushed on their branches.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gastown_api::git::{ParseGitName, Sha};
use gastown_api::pod::RESUME_REF;
use gastown_api::work_order::WorkOrder;
use serde::{Deserialize, Serialize};

use crate::snapshot::denied_paths::entry;
use crate::snapshot::denied_paths::{Blob, Change, Diff, Edit, index_info, origin};
use crate::snapshot::message::{self, Recorded};
use crate::snapshot::{BUNDLE, HELD_FOLDER};
use polecat_common::console::escape;
use polecat_common::git::{Git, RunGit};

/// Where the snapshot stays in the clone, so that the agent can look at it.
pub(super) const RESUMED_REF: &str = "refs/gastown/resumed";

/// What was done, for the prompt of a run that finds the clone made.
const REPORT: &str = "gastown-resumed.json";

/// Everything in the tree is written as it is: no line endings, identifiers, filters or encodings are changed. Git reads
/// it before any `.gitattributes`.
const RAW: &str = "* -text -eol -ident -filter !working-tree-encoding\n";

/// The most paths that are named.
const MAX_NAMED: usize = 50;

/// Why the earlier work cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum ResumeWork {
    /// Git failed.
    #[error("failed to restore the snapshot {name:?}; delete this ref of the remote to start without it")]
    Run {
        /// The snapshot.
        name: String,
        /// What git said.
        source: RunGit,
    },
    /// Git's answer is no object id.
    #[error("failed to read an object id of the snapshot")]
    ReadId {
        /// What is wrong with it.
        #[from]
        source: ParseGitName,
    },
    /// The volume cannot be written.
    #[error("failed to write {path:?}")]
    WriteWorkspace {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The snapshot's name on the remote.
    pub name: String,
    /// Whether the remote still had it.
    pub found: bool,
    /// Branches with commits that were never pushed.
    pub branches: Vec<String>,
    /// Work trees besides the clone's own that are there again.
    #[serde(default)]
    pub work_trees: Vec<String>,
    /// What is not as the snapshot has it, in words.
    pub left_out: Vec<String>,
}

impl Resumed {
    /// What an earlier run of this container did in `clone`.
    pub fn of_clone(clone: &Path) -> Option<Self> {
        let json = fs::read(clone.join(".git").join(REPORT)).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// Restores the order's snapshot into the clone `folder`, whose work branch is made and not checked out. None: the
/// broker has no such snapshot, so nothing was checked out.
pub fn restore(
    order: &WorkOrder,
    url: &str,
    git: &Git,
    folder: &Path,
) -> Result<Option<Resumed>, ResumeWork> {
    let Some(resume) = &order.role.git.resume else {
        return Ok(None);
    };
    let name = resume.name.clone();
    let fail = |source| ResumeWork::Run {
        name: name.clone(),
        source,
    };
    let mut resumed = Resumed {
        name: name.clone(),
        ..Resumed::default()
    };
    let listing = git
        .text(&["ls-remote", "--quiet", url, RESUME_REF])
        .map_err(fail)?;
    if listing.is_empty() {
        write_report(folder, &resumed)?;
        return Ok(None);
    }
    resumed.found = true;
    let refspec = format!("+{RESUME_REF}:{RESUMED_REF}");
    let fetch = [
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        url,
        &refspec,
    ];
    git.run(&fetch).map_err(fail)?;
    let words = git
        .text(&["log", "-1", "--format=%B", RESUMED_REF])
        .map_err(fail)?;
    let recorded = message::read(&words);
    let snapshot = Snapshot {
        git,
        folder,
        work: order.role.git.work_branch.full(),
        held: recorded.held.clone().unwrap_or_else(|| HELD_FOLDER.to_owned()),
        recorded,
    };
    let branch = snapshot
        .unbundle(&mut resumed)?
        .or(snapshot.branch_then().map_err(fail)?);
    let tree = snapshot.tree(branch.as_ref(), &mut resumed).map_err(fail)?;
    snapshot.check_out(&tree, fail, || {
        let record = snapshot.recorded.record.as_ref();
        snapshot.restore_work_trees(record.map_or(&[], |record| &record.work_trees), &mut resumed);
    })?;
    write_report(folder, &resumed)?;
    Ok(Some(resumed))
}

fn write_report(folder: &Path, resumed: &Resumed) -> Result<(), ResumeWork> {
    let path = folder.join(".git").join(REPORT);
    serde_json::to_vec(resumed)
        .map_err(io::Error::from)
        .and_then(|json| fs::write(&path, json))
        .map_err(|source| ResumeWork::WriteWorkspace { path, source })
}

pub(super) struct Snapshot<'a> {
    pub(super) git: &'a Git,
    pub(super) folder: &'a Path,
    /// The full name of the work branch.
    pub(super) work: String,
    /// The folder of held files.
    pub(super) held: String,
    pub(super) recorded: Recorded,
}

impl Snapshot<'_> {
    /// The work branch as the snapshot saw it. A commit that is gone from the remote, or was never named, is replaced by
    /// the last one that both have.
    fn branch_then(&self) -> Result<Option<Sha>, RunGit> {
        if let Some(branch) = &self.recorded.branch
            && self.exists(branch.as_str())?
        {
            return Ok(Some(branch.clone()));
        }
        let common = self.git.text(&["merge-base", &self.work, RESUMED_REF]);
        Ok(common.ok().and_then(|text| text.parse().ok()))
    }

    pub(super) fn exists(&self, revision: impl Into<OsString>) -> Result<bool, RunGit> {
        let mut commit = revision.into();
        commit.push("^{commit}");
        // An id that no object has is a fatal error to git; a name that no ref has is a plain no.
        match self.git.asks(&[
            "rev-parse".as_ref(),
            "--quiet".as_ref(),
            "--verify".as_ref(),
            commit.as_os_str(),
        ]) {
            Err(RunGit::Fail { .. }) => Ok(false),
            answer => answer,
        }
    }

    /// What the work tree is to hold: the work branch, with what the snapshot changed against the branch as it was then.
    /// Where the branch has changed the same path since, it is newer.
    fn tree(&self, branch_then: Option<&Sha>, resumed: &mut Resumed) -> Result<String, RunGit> {
        let then = branch_then.map_or(self.work.as_str(), Sha::as_str);
        let held = format!("{}/", self.held).into_bytes();
        let evidence = self.evidence(then)?;
        let mut edits = Vec::new();
        let newer: BTreeMap<_, _> = self
            .diff(then, &self.work)?
            .into_iter()
            .map(|change| (change.path, change.after))
            .collect();
        let mut left = Vec::new();
        for change in self.diff(then, RESUMED_REF)? {
            if change.path.starts_with(&held) || !evidence.is_work(&change) {
                continue;
            }
            match newer.get(&change.path) {
                Some(now) if *now != change.after => left.push(change.path),
                _ => edits.push(edit(change)),
            }
        }
        edits.extend(
            self.held_files()?
                .into_iter()
                .filter(|(blob, path)| evidence.is_held_work(Some(blob), path))
                .map(|(blob, path)| Edit::Put(blob, path)),
        );
        let deleted = self.recorded.deleted.iter();
        edits.extend(
            deleted
                .filter(|path| evidence.is_held_work(None, path))
                .cloned()
                .map(Edit::Remove),
        );
        let named = left.iter().take(MAX_NAMED);
        resumed.left_out.extend(named.map(|path| {
            let path = escape(&String::from_utf8_lossy(path));
            format!("{path}: the branch has a newer version; `git show {RESUMED_REF}:PATH` shows the old one")
        }));
        if left.len() > MAX_NAMED {
            resumed
                .left_out
                .push(format!("{} more such paths", left.len() - MAX_NAMED));
        }
        if self.recorded.deleted_more > 0 {
            let more = self.recorded.deleted_more;
            resumed
                .left_out
                .push(format!("{more} deletions of paths that no push may change"));
        }
        self.edited(Some(&self.work), &edits)
    }

    /// The tree `from`, or an empty one, with `edits`.
    pub(super) fn edited(&self, from: Option<&str>, edits: &[Edit]) -> Result<String, RunGit> {
        let index = self.folder.join(".git/resumed-index");
        let git = self.git.clone().env("GIT_INDEX_FILE", &index);
        git.run(&["read-tree", from.unwrap_or("--empty")])?;
        git.feed(
            &["update-index", "--add", "--replace", "-z", "--index-info"],
            &index_info(edits),
        )?;
        let tree = git.text(&["write-tree"])?;
        let _made_anew_each_time = fs::remove_file(&index);
        Ok(tree)
    }

    pub(super) fn diff(&self, from: &str, to: &str) -> Result<Vec<Change>, RunGit> {
        let arguments = [
            "diff-tree",
            "-r",
            "-z",
            "--raw",
            "--no-renames",
            "--full-index",
            from,
            to,
        ];
        let mut diff = Diff::default();
        self.git
            .records(&arguments, 0, |record| diff.record(record, |_| true))?;
        Ok(diff.changes)
    }

    /// What is held goes back to where it came from.
    fn held_files(&self) -> Result<Vec<(Blob, Vec<u8>)>, RunGit> {
        let folder = format!("{RESUMED_REF}:{}", self.held);
        if !self
            .git
            .asks(&["rev-parse", "--quiet", "--verify", &folder])
            .unwrap_or(false)
        {
            return Ok(Vec::new());
        }
        let record = self.recorded.record.as_ref();
        let others: Vec<_> = record
            .iter()
            .flat_map(|record| &record.work_trees)
            .map(|tree| format!("{}/", tree.folder).into_bytes())
            .collect();
        let mut files = Vec::new();
        self.git
            .records(&["ls-tree", "-r", "-z", "--full-tree", &folder], 0, |record| {
                files.extend(entry(record).filter(|(_, path)| {
                    path != BUNDLE.as_bytes() && !others.iter().any(|folder| path.starts_with(folder))
                }));
            })?;
        Ok(files
            .into_iter()
            .map(|(blob, path)| (blob, origin(&path)))
            .collect())
    }

    /// Writes the tree into the empty work tree, and makes the index that of the branch: what differs is uncommitted.
    /// `others` makes other work trees, byte for byte as well.
    fn check_out(
        &self,
        tree: &str,
        fail: impl Fn(RunGit) -> ResumeWork,
        others: impl FnOnce(),
    ) -> Result<(), ResumeWork> {
        let path = self.folder.join(".git/info/attributes");
        let write = |source| ResumeWork::WriteWorkspace {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(self.folder.join(".git/info"))
            .and_then(|()| fs::write(&path, RAW))
            .map_err(write)?;
        self.git
            .run(&["read-tree", "--reset", "-u", tree])
            .map_err(&fail)?;
        others();
        fs::remove_file(&path).map_err(write)?;
        self.git.run(&["read-tree", &self.work]).map_err(&fail)?;
        // It says no where files differ from the branch, which is what they are to do.
        self.git
            .asks(&["update-index", "-q", "--refresh"])
            .map_err(&fail)?;
        Ok(())
    }
}

fn edit(change: Change) -> Edit {
    match change.after {
        Some(after) => Edit::Put(after, change.path),
        None => Edit::Remove(change.path),
    }
}
