//! The clone: full history, the work branch checked out, the polecat's identity in its configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use gastown_api::git::{BranchName, ParseGitName, Sha};
use gastown_api::reason::Reason;
use gastown_api::work_order::WorkOrder;

use super::resume::{self, ResumeWork};
use crate::workspace::PARTIAL;
use polecat_common::console::{explain, say};
use polecat_common::git::{Git, RunGit};

/// A loopback clone of the largest repositories takes minutes; one that takes longer hangs.
const CLONE_WITHIN: Duration = Duration::from_hours(1);

/// How often a clone is tried: the broker's container may be restarted in the middle of one.
const TRIES: u32 = 3;

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// Local state that agents and tools leave behind, which nobody commits: each by its whole name, since all else below
/// `.claude/` (commands, agents, skills, settings) is work. Git reads it as `info/exclude`, so tracked files of these
/// names are not concerned.
const EXCLUDED: &str = "\
__pycache__/
/.claude/settings.local.json
/.claude/worktrees/
/.claude/*.lock
/.runtime/
CLAUDE.local.md
";

/// Why there is no clone.
#[derive(Debug, thiserror::Error)]
pub enum PrepareRepository {
    /// Git could not clone.
    #[error("failed to clone from the broker")]
    Clone {
        /// What git said.
        source: RunGit,
    },
    /// Git could not set up the clone.
    #[error("failed to set up the clone")]
    SetUp {
        /// What git said.
        #[from]
        source: RunGit,
    },
    /// The branch to start from is not there.
    #[error("failed to find branch \"{branch}\"; {}", Reason::BranchNotFound.remedy())]
    FindBranch {
        /// Its name.
        branch: BranchName,
    },
    /// What the first attempt found is gone from the repository.
    #[error(
        "failed to find the base {base} of the first attempt; its commit is no longer on branch \"{branch}\""
    )]
    FindBase {
        /// The commit.
        base: Sha,
        /// The base branch.
        branch: BranchName,
    },
    /// Git's answer is no object id.
    #[error("failed to read the head of the clone")]
    ReadHead {
        /// What is wrong with it.
        #[from]
        source: ParseGitName,
    },
    /// What an earlier attempt left could not be restored.
    #[error(transparent)]
    Resume(#[from] ResumeWork),
    /// The volume cannot be written.
    #[error("failed to write {path:?}")]
    WriteWorkspace {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The clone as it was left.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The commit that is checked out.
    pub head: Sha,
    /// Whether an earlier run of this container had made it.
    pub kept: bool,
}

/// Makes `workspace`/repo from `url`. The folder appears complete or not at all.
pub fn prepare(order: &WorkOrder, url: &str, workspace: &Path) -> Result<Prepared, PrepareRepository> {
    let target = workspace.join("repo");
    if target.join(".git").exists() {
        let head = Git::at(&target)
            .text(&["rev-parse", "--verify", "HEAD^{commit}"])?
            .parse()?;
        return Ok(Prepared { head, kept: true });
    }
    let partial = workspace.join(PARTIAL);
    clone(url, &partial)?;
    let git = Git::at(&partial).limit(CLONE_WITHIN);
    configure(order, &git, &partial)?;
    make_branch(order, &git)?;
    if resume::restore(order, url, &git, &partial)?.is_none() {
        git.run(&["reset", "--quiet", "--hard"])?;
    }
    let head = git.text(&["rev-parse", "--verify", "HEAD^{commit}"])?.parse()?;
    remove(&target)?;
    fs::rename(&partial, &target)
        .map_err(|source| PrepareRepository::WriteWorkspace { path: target, source })?;
    Ok(Prepared { head, kept: false })
}

fn clone(url: &str, partial: &Path) -> Result<(), PrepareRepository> {
    let parent = partial.parent().unwrap_or(partial);
    let git = Git::at(parent).limit(CLONE_WITHIN);
    let name = partial.as_os_str();
    let mut tries = 0;
    loop {
        remove(partial)?;
        tries += 1;
        let arguments = [
            "clone",
            "--quiet",
            "--no-checkout",
            "--template=",
            "--origin=origin",
            "--",
            url,
        ];
        let arguments = arguments.iter().map(AsRef::as_ref).chain([name]);
        match git.run(&arguments.collect::<Vec<_>>()) {
            Ok(_) => return Ok(()),
            Err(source) if tries == TRIES => return Err(PrepareRepository::Clone { source }),
            Err(error) => {
                say(&format!(
                    "polecat clone: trying again in {} s: {}",
                    PAUSE.as_secs(),
                    explain(&error)
                ));
                thread::sleep(PAUSE);
            }
        }
    }
}

fn configure(order: &WorkOrder, git: &Git, partial: &Path) -> Result<(), PrepareRepository> {
    let author = order.author();
    for (key, value) in [
        ("user.name", author.name.as_str()),
        ("user.email", &author.email),
        // So that a bare `git push` goes where it may.
        ("push.default", "current"),
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
        ("advice.detachedHead", "false"),
    ] {
        git.run(&["config", key, value])?;
    }
    if let Some(committer) = &order.role.git.committer {
        git.run(&["config", "committer.name", &committer.name])?;
        git.run(&["config", "committer.email", &committer.email])?;
    }
    let info = partial.join(".git/info");
    let path = info.join("exclude");
    fs::create_dir_all(&info)
        .and_then(|()| fs::write(&path, EXCLUDED))
        .map_err(|source| PrepareRepository::WriteWorkspace { path, source })
}

/// Makes the work branch and stands on it, with an empty work tree.
fn make_branch(order: &WorkOrder, git: &Git) -> Result<(), PrepareRepository> {
    let work = order.role.git.work_branch.as_str();
    let tracked = format!("refs/remotes/origin/{work}");
    let exists = |revision: &str| {
        git.asks(&[
            "rev-parse",
            "--quiet",
            "--verify",
            &format!("{revision}^{{commit}}"),
        ])
    };
    let resumed = exists(&tracked)?;
    let start = if resumed { tracked } else { base(order, exists)? };
    let full = order.role.git.work_branch.full();
    let start = git.text(&["rev-parse", "--verify", &format!("{start}^{{commit}}")])?;
    git.run(&["update-ref", &full, &start])?;
    git.run(&["symbolic-ref", "HEAD", &full])?;
    if resumed {
        git.run(&[
            "branch",
            "--quiet",
            &format!("--set-upstream-to=origin/{work}"),
            work,
        ])?;
    }
    Ok(())
}

/// A later attempt starts where the first one did, else a base branch that moved meanwhile would count as work.
fn base(
    order: &WorkOrder,
    exists: impl Fn(&str) -> Result<bool, RunGit>,
) -> Result<String, PrepareRepository> {
    let branch = order.role.git.base_branch.clone();
    if let Some(base) = order.role.git.base.clone() {
        return if exists(base.as_str())? {
            Ok(base.to_string())
        } else {
            Err(PrepareRepository::FindBase { base, branch })
        };
    }
    let tracked = format!("refs/remotes/origin/{branch}");
    if exists(&tracked)? {
        Ok(tracked)
    } else {
        Err(PrepareRepository::FindBranch { branch })
    }
}

/// Removes a folder of an interrupted run; symbolic links are removed, not followed.
fn remove(path: &Path) -> Result<(), PrepareRepository> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|source| PrepareRepository::WriteWorkspace {
        path: path.to_owned(),
        source,
    })
}
