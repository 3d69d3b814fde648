//! What an agent that ended well left uncommitted: committed for it, and pushed after its own commits.
//!
//! The commit is made in an index of its own and becomes the branch only once the broker has taken it. A host that
//! refuses it (a core dump that is too large, a secret, a hook) so refuses nothing that the agent meant to deliver.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gastown_api::git::Sha;

use super::{Context, Delivery};
use polecat_common::console::{escape, say};
use polecat_common::git::{Git, RunGit, work_tree_elsewhere};

/// How many paths are named.
const MAX_NAMED: usize = 3;

/// Why the leftovers cannot be committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitLeftovers {
    /// Git failed.
    #[error("{}", .0.words())]
    Run(#[from] RunGit),
    /// The agent's index cannot be copied.
    #[error("failed to copy the index {path:?}: {source}")]
    CopyIndex {
        /// The index.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Git's answer is no object id.
    #[error("failed to read the id of the commit")]
    ReadId(#[from] gastown_api::git::ParseGitName),
}

/// A commit of the leftovers that no ref names yet.
struct Leftovers {
    commit: Sha,
    /// The first paths, and how many there are.
    paths: String,
    /// The index that it was made of.
    index: PathBuf,
}

/// What there is to do about leftovers.
enum Found {
    Nothing,
    /// They stay as they are, for this reason.
    Stay(String),
    Commit(Leftovers),
}

impl Context<'_> {
    /// Commits and pushes them; what is not delivered is named, and stays in the work tree for the keeper.
    pub(super) fn deliver_leftovers(&self, deadline: Instant, delivery: &mut Delivery) {
        let git = self.git(deadline);
        let found = self.commit_leftovers(&git, delivery);
        match found {
            Ok(Found::Nothing) => {}
            Ok(Found::Stay(why)) => delivery.left.push(why),
            Ok(Found::Commit(leftovers)) => {
                self.push_leftovers(&git, &leftovers, deadline, delivery);
                // It stands in the index's place now, or is of no use.
                let _moved_already = fs::remove_file(&leftovers.index);
            }
            Err(error) => delivery.left.push(format!(
                "the agent's uncommitted changes could not be committed: {}",
                escape(&error.to_string())
            )),
        }
    }

    fn push_leftovers(&self, git: &Git, leftovers: &Leftovers, deadline: Instant, delivery: &mut Delivery) {
        let work = self.order.role.git.work_branch.full();
        let Leftovers { commit, paths, index } = leftovers;
        if let Err(error) = self.push_patiently(git, commit, &work, deadline) {
            // Where the agent's own commits are on the branch, the attempt stands on these.
            delivery.failed = !delivery.pushed;
            delivery.left.push(format!(
                "uncommitted changes ({paths}) were not delivered: {}",
                escape(&error.words())
            ));
            return;
        }
        say(&format!("polecat run: pushed {commit} to {work}"));
        delivery.pushed = true;
        delivery
            .notes
            .push("the agent's uncommitted changes were committed".to_owned());
        if let Err(error) = self.adopt(git, commit, index, delivery.local_head.as_ref()) {
            say(&format!(
                "polecat run: the clone stays behind the branch: {error}"
            ));
        }
        delivery.local_head = Some(commit.clone());
    }

    /// The clone follows the branch. Nothing depends on it: the remote has the commit.
    fn adopt(
        &self,
        git: &Git,
        commit: &Sha,
        index: &Path,
        before: Option<&Sha>,
    ) -> Result<(), CommitLeftovers> {
        let work = self.order.role.git.work_branch.full();
        let mut update = vec!["update-ref", &work, commit.as_str()];
        update.extend(before.map(Sha::as_str));
        git.run(&update)?;
        let path = self.index(git)?;
        fs::rename(index, &path).map_err(|source| CommitLeftovers::CopyIndex { path, source })
    }

    fn commit_leftovers(&self, git: &Git, delivery: &mut Delivery) -> Result<Found, CommitLeftovers> {
        let changes = [
            "status",
            "--porcelain",
            "--untracked-files=all",
            "-z",
            "--ignore-submodules=dirty",
        ];
        let changes = records(&git.run(&changes)?);
        if changes.is_empty() {
            return Ok(Found::Nothing);
        }
        let nested: Vec<_> = changes
            .iter()
            .filter_map(|line| nested_repository(line))
            .collect();
        if !nested.is_empty() {
            delivery.left.push(format!(
                "repositories and work trees inside of the clone ({}) were left out",
                named(&nested)
            ));
        }
        if let Some(why) = self.unfinished(git)? {
            return Ok(Found::Stay(format!(
                "uncommitted changes were left as they are: {why}"
            )));
        }
        let index = self.index(git)?;
        if fs::symlink_metadata(&index).is_err() {
            // Nobody knows whether a file that is missing was ever checked out.
            return Ok(Found::Stay(
                "uncommitted changes were left as they are: the clone has no index".to_owned(),
            ));
        }
        let index = copied(index)?;
        let git = git.clone().env("GIT_INDEX_FILE", &index);
        let denied = self.order.role.git.denied_paths.iter();
        let denied: Vec<_> = denied.map(|path| path.trim_end_matches('/')).collect();
        git.run(&self.what_to_add(&git, &nested, &denied)?)?;
        let kept_back = changed(&git, &denied)?;
        if !kept_back.is_empty() {
            delivery.left.push(format!(
                "uncommitted changes ({}) were left out: their paths may not be pushed",
                named(&kept_back)
            ));
        }
        let cached = [
            "diff",
            "--cached",
            "--name-only",
            "-z",
            "--ignore-submodules=dirty",
        ];
        let paths = records(&git.run(&cached)?);
        if paths.is_empty() {
            return Ok(Found::Nothing);
        }
        let tree = git.text(&["write-tree"])?;
        let message = format!("chore: save what {} left uncommitted", self.order.owner);
        let bead = self.order.role.bead.as_ref().map(|bead| format!("Bead: {bead}"));
        let mut commit = vec!["commit-tree", &tree, "-p", "HEAD", "-m", &message];
        if let Some(bead) = &bead {
            commit.extend(["-m", bead]);
        }
        Ok(Found::Commit(Leftovers {
            commit: git.text(&commit)?.parse()?,
            paths: named(&paths),
            index,
        }))
    }

    /// The command that stages all but `nested` repositories and `denied` paths.
    fn what_to_add(&self, git: &Git, nested: &[String], denied: &[&str]) -> Result<Vec<String>, RunGit> {
        let git_dir = PathBuf::from(git.text(&["rev-parse", "--absolute-git-dir"])?);
        // An index of another folder's files knows of none here that they are deleted.
        let all = match work_tree_elsewhere(git, &git_dir, self.repository)? {
            Some(_) => "--ignore-removal",
            None => "--all",
        };
        // Also what is new outside of a sparse checkout.
        let mut add: Vec<_> = ["add", all, "--sparse", "--", ":/"].map(str::to_owned).into();
        // Git would add the commit of each as that of a submodule, or fail where there is none.
        add.extend(nested.iter().map(|path| format!(":(exclude,top,literal){path}")));
        // The broker takes letters of either case for the same path.
        add.extend(
            denied
                .iter()
                .map(|path| format!(":(exclude,top,icase,literal){path}")),
        );
        Ok(add)
    }

    fn index(&self, git: &Git) -> Result<PathBuf, RunGit> {
        let path = git.text(&["rev-parse", "--git-path", "index"])?;
        Ok(self.repository.join(path))
    }

    /// Why a commit now would not be what the agent meant.
    fn unfinished(&self, git: &Git) -> Result<Option<String>, RunGit> {
        for (name, what) in [
            ("MERGE_HEAD", "a merge"),
            ("CHERRY_PICK_HEAD", "a cherry-pick"),
            ("REVERT_HEAD", "a revert"),
            ("REBASE_HEAD", "a rebase"),
        ] {
            if git.asks(&["rev-parse", "--quiet", "--verify", name])? {
                return Ok(Some(format!("{what} is unfinished")));
            }
        }
        let work = self.order.role.git.work_branch.full();
        let current = match git.text(&["symbolic-ref", "--quiet", "HEAD"]) {
            Ok(branch) => branch,
            Err(RunGit::Fail { code: Some(1), .. }) => {
                return Ok(Some("no branch is checked out".to_owned()));
            }
            Err(error) => return Err(error),
        };
        Ok((current != work).then(|| format!("{} is checked out", escape(&current))))
    }
}

/// The path of an untracked folder that is a repository, or a work tree, of its own: git names each untracked file, and of
/// these only the folder.
fn nested_repository(line: &str) -> Option<String> {
    let path = line.strip_prefix("?? ")?.strip_suffix('/')?;
    Some(path.to_owned())
}

/// The changed paths below `folders`, as the index has them.
fn changed(git: &Git, folders: &[&str]) -> Result<Vec<String>, RunGit> {
    if folders.is_empty() {
        return Ok(Vec::new());
    }
    let mut status = vec![
        "status".to_owned(),
        "--porcelain".to_owned(),
        "--no-renames".to_owned(),
        "--untracked-files=all".to_owned(),
        "-z".to_owned(),
        "--ignore-submodules=dirty".to_owned(),
        "--".to_owned(),
    ];
    status.extend(folders.iter().map(|path| format!(":(top,icase,literal){path}")));
    // Two letters and a space stand before each path.
    let lines = records(&git.run(&status)?);
    Ok(lines
        .iter()
        .filter_map(|line| line.get(3..).map(str::to_owned))
        .collect())
}

/// A copy beside the index `path`, so that what is known of the files need not be found again. A pipe in its place must
/// not hold the end up.
fn copied(path: PathBuf) -> Result<PathBuf, CommitLeftovers> {
    let copy = path.with_extension("leftovers");
    let copy_index = || {
        match fs::remove_file(&copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => fs::copy(&path, &copy).map(drop),
            Ok(_) => Err(io::Error::other("it is no file")),
            // It went just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    };
    let outcome = copy_index();
    outcome
        .map(|()| copy)
        .map_err(|source| CommitLeftovers::CopyIndex { path, source })
}

fn records(output: &[u8]) -> Vec<String> {
    let records = output
        .split(|byte| *byte == 0)
        .filter(|record| !record.is_empty());
    records
        .map(|record| escape(&String::from_utf8_lossy(record)))
        .collect()
}

/// The first paths, and how many more there are.
fn named(paths: &[String]) -> String {
    let first: Vec<_> = paths
        .iter()
        .take(MAX_NAMED)
        .map(|path| polecat_common::console::cut(path, 60))
        .collect();
    let more = paths.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", first.join(", "))
}
