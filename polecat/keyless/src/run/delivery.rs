//! Delivers the agent's work when it has ended: pushes the work branch to the broker, then commits what the agent left
//! uncommitted and pushes that too. The second push cannot spoil the first: unless the broker takes it, the clone stays
//! as the agent left it, for the keeper to save.
//!
//! The repository is the agent's: its configuration may name programs that git runs. They run in the container where
//! the agent itself ran and find as little here as it did; they must only not hold the end up.

mod leftovers;
mod undelivered;

use std::path::Path;
use std::time::{Duration, Instant};

use gastown_api::git::Sha;
use gastown_api::work_order::WorkOrder;

use crate::workspace::identity;
use polecat_common::console::{escape, say};
use polecat_common::git::{Git, RunGit, patiently};

/// How long the broker may take to say what it has, after a push that failed.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// What delivery works with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The order.
    pub order: &'a WorkOrder,
    /// The clone.
    pub repository: &'a Path,
    /// The broker's repository.
    pub url: &'a str,
    /// How long all of it may take.
    pub within: Duration,
    /// Has the broker read the remote again.
    pub reread: &'a dyn Fn(),
}

/// What became of the work.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The local tip of the work branch.
    pub local_head: Option<Sha>,
    /// Whether the broker holds that tip as the work branch.
    pub pushed: bool,
    /// Whether something stayed behind that had to be pushed.
    pub failed: bool,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Work that is not on the work branch, one sentence for each kind.
    pub left: Vec<String>,
}

/// What is to be done about the work branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Push,
    /// The broker has it.
    Delivered,
    /// The agent committed nothing.
    Nothing,
}

/// The refs of the broker that matter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remote {
    work: Option<Sha>,
    base: Option<Sha>,
}

impl Context<'_> {
    /// Pushes and saves; whatever fails is noted, since the keeper's snapshot comes after.
    pub fn deliver(&self, agent_ended_well: bool) -> Delivery {
        let deadline = Instant::now() + self.within;
        let mut delivery = Delivery::default();
        self.push_head(deadline, &mut delivery);
        if agent_ended_well && !delivery.failed {
            self.deliver_leftovers(deadline, &mut delivery);
        }
        self.name_undelivered(deadline, &mut delivery);
        for note in delivery.notes.iter().chain(&delivery.left) {
            say(&format!("polecat run: {note}"));
        }
        delivery
    }

    fn git(&self, deadline: Instant) -> Git {
        self.git_at(self.repository, deadline)
    }

    fn git_at(&self, folder: &Path, deadline: Instant) -> Git {
        let mut git = Git::at(folder)
            // The agent's configuration may have git look at another folder, or at none.
            .env("GIT_WORK_TREE", ".")
            .config("core.hooksPath=/dev/null")
            .config("core.fsmonitor=false")
            .config("commit.gpgSign=false")
            .config("gc.auto=0")
            .config("maintenance.auto=false")
            .limit(
                deadline
                    .saturating_duration_since(Instant::now())
                    .max(Duration::from_secs(1)),
            );
        for (variable, value) in identity(self.order) {
            git = git.env(variable, &value);
        }
        git
    }

    /// Pushes the branch as the agent left it.
    fn push_head(&self, deadline: Instant, delivery: &mut Delivery) {
        let git = self.git(deadline);
        let work = self.order.role.git.work_branch.full();
        match git.text(&["rev-parse", "--quiet", "--verify", &format!("{work}^{{commit}}")]) {
            Ok(text) => delivery.local_head = text.parse().ok(),
            Err(error) => delivery.note("the work branch is gone from the clone", &error),
        }
        let Some(head) = delivery.local_head.clone() else {
            return;
        };
        let remote = self
            .remote(&git, deadline)
            .inspect_err(|error| delivery.note("the broker's branches could not be read", error));
        let step = match &remote {
            Ok(remote) => self.step(&git, &head, remote),
            // What the broker has is unknown; a push that changes nothing does no harm.
            Err(_) => self.step(&git, &head, &Remote::default()),
        };
        match step {
            Step::Nothing => {}
            Step::Delivered => delivery.pushed = true,
            Step::Push => match self.push_patiently(&git, &head, &work, deadline) {
                Ok(()) => {
                    say(&format!("polecat run: pushed {head} to {work}"));
                    delivery.pushed = true;
                }
                Err(error) => {
                    delivery.failed = true;
                    delivery.note("the push failed", &error);
                }
            },
        }
    }

    fn remote(&self, git: &Git, deadline: Instant) -> Result<Remote, RunGit> {
        let (work, base) = (
            self.order.role.git.work_branch.full(),
            self.order.role.git.base_branch.full(),
        );
        let listing = patiently(deadline, || {
            git.text(&["ls-remote", "--quiet", self.url, &work, &base])
        })?;
        let tip = |name: &str| {
            let mut lines = listing.lines().filter_map(|line| line.split_once('\t'));
            lines
                .find(|(_, found)| *found == name)
                .and_then(|(sha, _)| sha.parse().ok())
        };
        Ok(Remote {
            work: tip(&work),
            base: tip(&base),
        })
    }

    fn step(&self, git: &Git, head: &Sha, remote: &Remote) -> Step {
        let head_is_part_of = |other: &Sha| is_part_of(git, head, other);
        let base = self.order.role.git.base.as_ref();
        if let Some(work) = &remote.work {
            return if work == head || head_is_part_of(work) {
                Step::Delivered
            } else {
                Step::Push
            };
        }
        let tracked = format!("refs/remotes/origin/{}", self.order.role.git.base_branch);
        let tracked = git.text(&["rev-parse", "--quiet", "--verify", &tracked]).ok();
        let tracked: Option<Sha> = tracked.and_then(|text| text.parse().ok());
        let known = [remote.base.as_ref(), tracked.as_ref(), base];
        if known.into_iter().flatten().any(head_is_part_of) {
            Step::Nothing
        } else {
            Step::Push
        }
    }

    fn push_patiently(&self, git: &Git, head: &Sha, work: &str, deadline: Instant) -> Result<(), RunGit> {
        let refspec = format!("{head}:{work}");
        let push = [
            "push",
            "--quiet",
            "--no-verify",
            "--no-signed",
            "--recurse-submodules=no",
            self.url,
            &refspec,
        ];
        match patiently(deadline, || git.run(&push)) {
            Ok(_) => Ok(()),
            // What the push said, or that it said nothing in time, is no evidence: the remote is.
            Err(_) if self.is_on_remote(git, head) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the remote, read again, has `commit` on the work branch.
    fn is_on_remote(&self, git: &Git, commit: &Sha) -> bool {
        (self.reread)();
        let deadline = Instant::now() + ASK_AGAIN;
        let remote = self.remote(&git.clone().limit(ASK_AGAIN), deadline);
        remote.is_ok_and(|remote| {
            let work = remote.work.as_ref();
            work.is_some_and(|work| work == commit || is_part_of(git, commit, work))
        })
    }
}

impl Delivery {
    /// What is said of a delivery whose end nobody saw.
    pub fn cut_short(why: &str) -> Self {
        Self {
            failed: true,
            notes: vec![format!("the delivery did not end: {why}")],
            ..Self::default()
        }
    }

    fn note(&mut self, what: &str, error: &RunGit) {
        self.notes.push(format!("{what}: {}", escape(&error.words())));
    }
}

/// An object that the clone does not have is no descendant of anything here.
fn is_part_of(git: &Git, commit: &Sha, other: &Sha) -> bool {
    git.asks(&["merge-base", "--is-ancestor", commit.as_str(), other.as_str()])
        .unwrap_or(false)
}

#[cfg(test)]
mod tests;
