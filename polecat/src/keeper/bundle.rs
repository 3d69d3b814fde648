//! Commits of the agent's repository that never reached the broker, as one `git bundle` file. Git reads the agent's
//! repository here, with the agent's configuration: in this container that gains nothing, it must only not hang.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gastown_api::git::Sha;

use crate::git::{Git, RunGit};

/// What one command may take of the time that is left: the agent may have made its repository such that git hangs.
const SHARE: u32 = 6;

/// The most refs of the agent's repository that are looked at.
const MAX_REFS: usize = 500;

/// The agent's repository, read until a deadline.
#[derive(Debug)]
pub struct AgentRepository {
    git: Git,
    known: Vec<Sha>,
}

impl AgentRepository {
    /// The repository of `work_tree`; commits that are part of `known` ones need not be saved.
    #[must_use]
    pub fn open(work_tree: &Path, from: &Path, known: &[Sha], deadline: Instant) -> Self {
        let git = Git::at(from)
            .repository(work_tree.join(".git"))
            .config("core.hooksPath=/dev/null")
            .config("core.fsmonitor=false")
            .config("core.bigFileThreshold=1m")
            .config("pack.threads=1")
            .config("pack.windowMemory=32m")
            // A promisor remote could name any program as its transport.
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .limit((deadline.saturating_duration_since(Instant::now()) / SHARE).max(Duration::from_secs(1)));
        let has = |commit: &&Sha| {
            git.run(&["cat-file", "-e", &format!("{commit}^{{commit}}")])
                .is_ok()
        };
        let known = known.iter().filter(has).cloned().collect();
        Self { git, known }
    }

    /// Branches, the stash and a detached `HEAD`, as far as they have commits that nobody else has.
    pub fn unpushed(&self) -> Result<BTreeMap<String, Sha>, RunGit> {
        let mut refs = BTreeMap::new();
        let list = [
            "for-each-ref",
            "--format=%(objectname) %(refname)",
            "refs/heads",
            "refs/stash",
        ];
        self.git.records(&list, b'\n', |line| {
            if let (Some((name, id)), true) = (parse(line), refs.len() < MAX_REFS) {
                refs.insert(name, id);
            }
        })?;
        let head = self
            .git
            .text(&["rev-parse", "--quiet", "--verify", "HEAD^{commit}"]);
        // A repository without a commit has no HEAD to save.
        if let Some(head) = head.ok().and_then(|text| text.parse::<Sha>().ok())
            && !refs.values().any(|id| *id == head)
        {
            refs.insert("HEAD".to_owned(), head);
        }
        let mut unpushed = BTreeMap::new();
        for (name, id) in refs {
            let mut list = vec!["rev-list".to_owned(), "--max-count=1".to_owned(), id.to_string()];
            list.extend(self.excluded());
            if !self.git.text(&list)?.is_empty() {
                unpushed.insert(name, id);
            }
        }
        Ok(unpushed)
    }

    /// Writes the bundle of `refs` to `target`.
    pub fn write(&self, refs: &BTreeMap<String, Sha>, target: &Path) -> Result<(), RunGit> {
        let target: PathBuf = target.to_owned();
        let mut create = vec!["bundle".to_owned(), "create".to_owned(), "--quiet".to_owned()];
        create.push(target.to_string_lossy().into_owned());
        create.extend(refs.keys().cloned());
        create.extend(self.excluded());
        self.git.run(&create).map(|_| ())
    }

    fn excluded(&self) -> impl Iterator<Item = String> + '_ {
        self.known.iter().map(|id| format!("^{id}"))
    }
}

fn parse(line: &[u8]) -> Option<(String, Sha)> {
    let (id, name) = str::from_utf8(line).ok()?.split_once(' ')?;
    Some((name.to_owned(), id.parse().ok()?))
}
