//! Work that no push of the work branch takes along: commits on other branches, and what stands in work trees that are
//! linked to the clone, as Claude Code's `EnterWorktree` makes them. The keeper saves it; here it is named.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Context, Delivery};
use polecat_common::console::escape;
use polecat_common::git::RunGit;

/// How many other branches, and how many other work trees, are named.
const MAX_NAMED: usize = 5;

impl Context<'_> {
    /// Names in `delivery` what is not delivered.
    pub(super) fn name_undelivered(&self, deadline: Instant, delivery: &mut Delivery) {
        match self.other_branches(deadline) {
            Ok(left) => delivery.left.extend(left),
            Err(error) => return delivery.note("the agent's other branches could not be read", &error),
        }
        let trees = match self.other_work_trees(deadline) {
            Ok(trees) => trees,
            Err(error) => return delivery.note("the agent's other work trees could not be listed", &error),
        };
        let (named, more) = trees.split_at(trees.len().min(MAX_NAMED));
        for tree in named {
            let shown = self.shown(tree);
            match self.in_work_tree(deadline, tree, &shown) {
                Ok(left) => delivery.left.extend(left),
                Err(error) => delivery.note(&format!("the work tree {shown} could not be read"), &error),
            }
        }
        if !more.is_empty() {
            let words = format!("{} more work trees were not looked at here", more.len());
            delivery.left.push(words);
        }
    }

    /// Commits of the clone's branches, and of its HEAD where that is on none.
    fn other_branches(&self, deadline: Instant) -> Result<Vec<String>, RunGit> {
        let git = self.git(deadline);
        let work = self.order.role.git.work_branch.full();
        let mut branches = vec!["HEAD".to_owned()];
        git.records(
            &["for-each-ref", "--format=%(refname)", "refs/heads"],
            b'\n',
            |name| {
                if branches.len() <= MAX_NAMED {
                    branches.push(String::from_utf8_lossy(name).into_owned());
                }
            },
        )?;
        let work_exists =
            branches.contains(&work) || git.asks(&["rev-parse", "--quiet", "--verify", &work])?;
        let mut left = Vec::new();
        for branch in branches.iter().filter(|branch| **branch != work) {
            let mut count = vec!["rev-list", "--count", branch, "--not", "--remotes"];
            if work_exists {
                count.push(&work);
            }
            if branch == "HEAD" {
                count.push("--branches");
            }
            let name = branch.strip_prefix("refs/heads/").unwrap_or(branch);
            left.extend(self.commits(&git.text(&count)?, &escape(name)));
        }
        Ok(left)
    }

    /// The linked work trees whose folder is there, of which the clone itself is the first.
    fn other_work_trees(&self, deadline: Instant) -> Result<Vec<PathBuf>, RunGit> {
        let mut trees: Vec<PathBuf> = Vec::new();
        let list = ["worktree", "list", "--porcelain", "-z"];
        self.git(deadline).records(&list, 0, |line| {
            if let Some(path) = line.strip_prefix(b"worktree ") {
                trees.push(String::from_utf8_lossy(path).into_owned().into());
            }
        })?;
        let mut others: Vec<_> = trees.into_iter().skip(1).filter(|tree| tree.is_dir()).collect();
        others.sort();
        Ok(others)
    }

    /// Changes without a commit, and commits without a branch.
    fn in_work_tree(&self, deadline: Instant, tree: &Path, shown: &str) -> Result<Vec<String>, RunGit> {
        let git = self.git_at(tree, deadline);
        let mut paths = 0_u64;
        let status = ["status", "--porcelain", "-z", "--no-renames"];
        git.records(&status, 0, |_| paths = paths.saturating_add(1))?;
        let mut left = Vec::new();
        if paths > 0 {
            left.push(format!(
                "uncommitted changes in the work tree {shown} ({paths} in all) were not delivered"
            ));
        }
        let unnamed = ["rev-list", "--count", "HEAD", "--not", "--remotes", "--branches"];
        left.extend(self.commits(
            &git.text(&unnamed)?,
            &format!("no branch, in the work tree {shown},"),
        ));
        Ok(left)
    }

    /// Says that `count` commits are not delivered, unless it is none.
    fn commits(&self, count: &str, place: &str) -> Option<String> {
        let work = &self.order.role.git.work_branch;
        match count {
            "0" => None,
            "1" => Some(format!("1 commit on {place} was not delivered: only {work} is")),
            _ => Some(format!(
                "{count} commits on {place} were not delivered: only {work} is"
            )),
        }
    }

    /// Below the clone, or as it is.
    fn shown(&self, tree: &Path) -> String {
        let below = tree.strip_prefix(self.repository).unwrap_or(tree);
        escape(&below.to_string_lossy())
    }
}
