//! Commits of the agent's repository that never reached the broker, as one `git bundle` file. Git reads the agent's
//! repository here, with the agent's configuration: in this container that gains nothing, it must only not hang.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use gastown_api::git::Sha;

use super::import::quote;
use crate::console::explain;
use crate::git::{Git, RunGit};

/// What one command may take of the time that is left: the agent may have made its repository such that git hangs.
const SHARE: u32 = 6;

/// The most refs of a bundle, those of the newest commits: a later attempt places each on its own.
pub const MAX_REFS: usize = 2000;

/// Refs by name. Names are bytes, as those of files are.
pub type Refs = BTreeMap<Vec<u8>, Sha>;

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

    /// Branches, the stash and a detached `HEAD`, as far as they have commits that nobody else has. What of them is left
    /// out goes to `notes`.
    pub fn unpushed(&self, notes: &mut Vec<String>) -> Refs {
        let unread = |error| {
            format!(
                "not all of the agent's repository could be read: {}",
                explain(&error)
            )
        };
        // A ref to an object that is not there is passed over by what follows.
        let sound = [
            "for-each-ref",
            "--format=%(objecttype)",
            "refs/heads",
            "refs/stash",
        ];
        notes.extend(self.git.run(&sound).err().map(unread));
        let (refs, more) = self.list().unwrap_or_else(|error| {
            notes.push(unread(error));
            Default::default()
        });
        if more > 0 {
            notes.push(format!(
                "of {more} more refs the commits never pushed are not saved: a snapshot holds those of {MAX_REFS}"
            ));
        }
        refs
    }

    /// The refs with such commits, and how many there are besides.
    fn list(&self) -> Result<(Refs, u64), RunGit> {
        let mut list = vec![
            "for-each-ref".to_owned(),
            "--sort=-committerdate".to_owned(),
            "--format=%(objectname) %(refname)".to_owned(),
        ];
        list.extend(self.known.iter().map(|id| format!("--no-merged={id}")));
        list.extend(["refs/heads".to_owned(), "refs/stash".to_owned()]);
        let (mut refs, mut more) = (Refs::new(), 0);
        self.git.records(&list, b'\n', |line| {
            let Some((name, id)) = parse(line) else {
                return;
            };
            if refs.len() < MAX_REFS {
                refs.insert(name, id);
            } else {
                more += 1;
            }
        })?;
        let head = self
            .git
            .text(&["rev-parse", "--quiet", "--verify", "HEAD^{commit}"]);
        // A repository without a commit has no HEAD to save.
        if let Some(head) = head.ok().and_then(|text| text.parse::<Sha>().ok())
            && !refs.values().any(|id| *id == head)
        {
            let mut list = vec![
                "rev-list".to_owned(),
                "--max-count=1".to_owned(),
                head.to_string(),
            ];
            list.extend(self.excluded());
            if !self.git.text(&list)?.is_empty() {
                refs.insert(b"HEAD".to_vec(), head);
            }
        }
        Ok((refs, more))
    }

    /// Writes the bundle of `refs` to `target`.
    pub fn write(&self, refs: &Refs, target: &Path) -> Result<(), RunGit> {
        let target = target.to_string_lossy();
        let mut revisions = Vec::new();
        for revision in refs
            .keys()
            .cloned()
            .chain(self.excluded().map(String::into_bytes))
        {
            revisions.extend(revision);
            revisions.push(b'\n');
        }
        // All the names together may be longer than a command line.
        let create = ["bundle", "create", "--quiet", &target, "--stdin"];
        self.git.feed(&create, &revisions).map(drop)
    }

    fn excluded(&self) -> impl Iterator<Item = String> + '_ {
        self.known.iter().map(|id| format!("^{id}"))
    }
}

/// The refs in words, to compare and to remember.
pub fn list(refs: &Refs) -> Vec<String> {
    refs.iter()
        .map(|(name, id)| format!("{id} {}", quote(name)))
        .collect()
}

fn parse(line: &[u8]) -> Option<(Vec<u8>, Sha)> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let id = str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((line[space + 1..].to_vec(), id))
}
