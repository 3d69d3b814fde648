//! Commits of the agent's repositories that never reached the broker, as one `git bundle` file. Git reads these
//! repositories with the agent's configuration: in this container that gains nothing, it must only not hang.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gastown_api::git::Sha;

use super::reflog;
use crate::snapshot::quoted::quote;
use crate::snapshot::{COPIES, DETACHED, OLDER_STASHES, Refs};
use polecat_common::console::explain;
use polecat_common::git::{Git, RunGit};

/// How much of the time that is left one command may take: the agent may have made its repository such that git hangs.
const SHARE: u32 = 6;

/// The most refs of a bundle, those of the newest commits: a later attempt places each on its own.
pub const MAX_REFS: usize = 2000;

/// The most commits left without a branch that are looked at, the newest first.
const MAX_LEFT: usize = 200;

/// The most commits of heads and reflogs that are looked for, of each log the newest: all their ids, and git's answers, must
/// fit into a pipe (64 KiB).
const MAX_NAMED: usize = 1000;

/// Refs that hold nothing of the agent's: what was fetched, and our own.
const NOT_THE_AGENTS: [&[u8]; 2] = [b"refs/remotes/", b"refs/gastown/"];

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum WriteBundle {
    /// Git failed.
    #[error(transparent)]
    Run(#[from] RunGit),
    /// The keeper's volume cannot be written.
    #[error("failed to write {path:?}")]
    UseFile {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A repository of the agent, read until a deadline.
#[derive(Debug)]
pub struct AgentRepository {
    git: Git,
    git_dir: PathBuf,
    known: Vec<Sha>,
    is_copy: bool,
}

impl AgentRepository {
    /// The repository at `git_dir`; commits that are part of `known` ones need not be saved.
    #[must_use]
    pub fn open(git_dir: &Path, from: &Path, known: &[Sha], deadline: Instant) -> Self {
        let git = Self::git(git_dir, from, deadline);
        let has = |commit: &&Sha| {
            git.run(&["cat-file", "-e", &format!("{commit}^{{commit}}")])
                .is_ok()
        };
        let mut known: Vec<_> = known.iter().filter(has).cloned().collect();
        let is_copy = !known.is_empty();
        if !is_copy {
            known = fetched(&git);
        }
        Self {
            git,
            git_dir: git_dir.to_owned(),
            known,
            is_copy,
        }
    }

    /// Git on a repository of the agent.
    pub fn git(git_dir: &Path, from: &Path, deadline: Instant) -> Git {
        let left = deadline.saturating_duration_since(Instant::now());
        Git::at(from)
            .repository(git_dir)
            .config("core.hooksPath=/dev/null")
            .config("core.fsmonitor=false")
            .config("core.bigFileThreshold=1m")
            .config("pack.threads=1")
            .config("pack.windowMemory=32m")
            // A promisor remote could name any program as its transport.
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .limit((left / SHARE).max(Duration::from_secs(1)))
    }

    /// Refs, stash entries and detached heads, as far as they have commits that nobody else has. What of them is left
    /// out goes to `notes`.
    pub fn unpushed(&self, notes: &mut Vec<String>) -> Refs {
        let unread = |error| unread(&error);
        // A ref to an object that is not there is passed over by what follows.
        let sound = ["for-each-ref", "--format=%(objecttype)"];
        notes.extend(self.git.run(&sound).err().map(unread));
        let named = self.named(notes);
        match self.missing(&named) {
            Ok(0) => {}
            Ok(missing) => notes.push(format!(
                "not all of the agent's repository could be read: {missing} of the commits that its heads and reflogs name \
                 are not there"
            )),
            Err(error) => notes.push(unread(error)),
        }
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

    /// The newest commits that are checked out, stashed or left by a checkout: git passes over those that are not there, and
    /// over a log that it cannot read, in silence.
    fn named(&self, notes: &mut Vec<String>) -> BTreeSet<Sha> {
        let mut entries = |name: &str| {
            reflog::entries(&self.git_dir, name).unwrap_or_else(|error| {
                notes.push(unread(&error));
                Vec::new()
            })
        };
        let stashes = entries("refs/stash").into_iter();
        let mut named: Vec<_> = stashes.filter_map(|entry| entry.after).collect();
        for head in self.heads() {
            let left = entries(&head).into_iter().filter(|entry| is_checkout(&entry.how));
            named.extend(left.filter_map(|entry| entry.before));
            let checked_out = self.git.text(&["rev-parse", "--quiet", "--verify", &head]);
            named.extend(checked_out.ok().and_then(|id| id.parse().ok()));
        }
        named.into_iter().rev().take(MAX_NAMED).collect()
    }

    /// How many of these commits are not there.
    fn missing(&self, asked: &BTreeSet<Sha>) -> Result<usize, RunGit> {
        if asked.is_empty() {
            return Ok(0);
        }
        let lines: Vec<&str> = asked.iter().flat_map(|id| [id.as_str(), "\n"]).collect();
        let kinds = self.git.feed(
            &["cat-file", "--batch-check=%(objecttype)"],
            lines.concat().as_bytes(),
        )?;
        let there = kinds
            .split(|byte| *byte == b'\n')
            .filter(|kind| *kind == b"commit");
        Ok(asked.len() - there.count())
    }

    /// The heads of the clone and its linked work trees, as git names them.
    fn heads(&self) -> impl Iterator<Item = String> + use<> {
        let linked = fs::read_dir(self.git_dir.join("worktrees"))
            .into_iter()
            .flatten()
            .flatten();
        let linked = linked.map(|entry| format!("worktrees/{}/HEAD", entry.file_name().to_string_lossy()));
        std::iter::once("HEAD".to_owned()).chain(linked.take(MAX_REFS))
    }

    /// The refs with such commits, and how many there are besides.
    fn list(&self) -> Result<(Refs, u64), RunGit> {
        let mut list = vec![
            "for-each-ref".to_owned(),
            "--sort=-committerdate".to_owned(),
            "--format=%(objectname) %(refname)".to_owned(),
        ];
        list.extend(self.known.iter().map(|id| format!("--no-merged={id}")));
        let (mut refs, mut more) = (Refs::new(), 0);
        self.git.records(&list, b'\n', |line| {
            let Some((name, id)) = parse(line) else {
                return;
            };
            if NOT_THE_AGENTS.iter().any(|prefix| name.starts_with(prefix)) {
                return;
            }
            if refs.len() < MAX_REFS {
                refs.insert(name, id);
            } else {
                more += 1;
            }
        })?;
        if refs.contains_key(&b"refs/stash"[..]) {
            self.add_older_stashes(&mut refs)?;
        }
        self.add_detached(&mut refs)?;
        Ok((refs, more))
    }

    /// The newest entry is `refs/stash` itself; the others are in its reflog alone.
    fn add_older_stashes(&self, refs: &mut Refs) -> Result<(), RunGit> {
        let entries = self.git.text(&["rev-list", "--walk-reflogs", "refs/stash"])?;
        for (number, id) in entries.lines().enumerate().skip(1).take(MAX_REFS) {
            if let Ok(id) = id.parse() {
                refs.insert(format!("{OLDER_STASHES}{number}").into_bytes(), id);
            }
        }
        Ok(())
    }

    /// Commits that no ref names: those checked out in the clone and its linked work trees, and those made without a
    /// branch and left by checking out another. The names of linked work trees may be no part of a ref, so they are
    /// numbered.
    fn add_detached(&self, refs: &mut Refs) -> Result<(), RunGit> {
        for head in self.heads() {
            // One without a commit has nothing to save.
            let checked_out = self.commit(&head);
            for commit in checked_out.into_iter().chain(self.left(&head)) {
                if !refs.values().any(|id| *id == commit) && !self.is_part(&commit, refs)? {
                    refs.insert(format!("{DETACHED}{}", refs.len()).into_bytes(), commit);
                }
            }
        }
        Ok(())
    }

    /// The commits that `head` left by a checkout, from its reflog: what `commit --amend`, `rebase` and `reset` replace is
    /// dropped on purpose, and is not among them.
    fn left(&self, head: &str) -> Vec<Sha> {
        let log = ["log", "--walk-reflogs", "--format=%H %gs", head];
        // A head that never moved has no reflog.
        let log = self.git.text(&log).unwrap_or_default();
        let entries: Vec<_> = log.lines().filter_map(|line| line.split_once(' ')).collect();
        let left = entries.windows(2).filter_map(|pair| match pair {
            [(_, how), (before, _)] if is_checkout(how) => before.parse().ok(),
            _ => None,
        });
        let mut seen = BTreeSet::new();
        left.filter(|id: &Sha| seen.insert(id.clone()))
            .take(MAX_LEFT)
            .collect()
    }

    /// Whether a commit is part of what the remote has, or of `refs`. Branches are not named to git: one that is broken
    /// would make it fail.
    fn is_part(&self, commit: &Sha, refs: &Refs) -> Result<bool, RunGit> {
        let mut list = vec![
            "rev-list".to_owned(),
            "--max-count=1".to_owned(),
            commit.to_string(),
            "--not".to_owned(),
        ];
        list.extend(self.known.iter().chain(refs.values()).map(Sha::to_string));
        Ok(self.git.text(&list)?.is_empty())
    }

    fn commit(&self, revision: &str) -> Option<Sha> {
        let commit = format!("{revision}^{{commit}}");
        let text = self
            .git
            .text(&["rev-parse", "--quiet", "--verify", &commit])
            .ok()?;
        text.parse().ok()
    }

    /// The commit that is checked out; none before the first commit of a branch.
    pub fn head(&self) -> Option<Sha> {
        self.commit("HEAD")
    }

    /// The full name of the branch that is checked out.
    pub fn branch(&self) -> Option<String> {
        self.git.text(&["symbolic-ref", "--quiet", "HEAD"]).ok()
    }

    /// The id of the tree of `commit`.
    pub fn tree(&self, commit: &Sha) -> Option<String> {
        let tree = format!("{commit}^{{tree}}");
        self.git.text(&["rev-parse", "--quiet", "--verify", &tree]).ok()
    }

    /// The newest commit that `commit` shares with what the remote has.
    pub fn shared(&self, commit: &Sha) -> Option<Sha> {
        let mut ask = vec!["merge-base".to_owned(), commit.to_string()];
        ask.extend(self.known.iter().map(Sha::to_string));
        if self.known.is_empty() {
            return None;
        }
        self.git.text(&ask).ok()?.lines().next()?.parse().ok()
    }

    /// Git on this repository.
    pub fn command(&self) -> &Git {
        &self.git
    }
}

/// A bundle of the refs of several repositories.
#[derive(Debug)]
pub struct Bundle<'a> {
    /// The repositories, each with the refs to take from it.
    pub parts: Vec<(&'a AgentRepository, Refs)>,
}

impl Bundle<'_> {
    /// The refs under the names that they have in the bundle: those of the first repository keep theirs.
    #[must_use]
    pub fn refs(&self) -> Refs {
        let named = |number: usize, name: &[u8]| {
            if number == 0 {
                return name.to_vec();
            }
            let plain = name.strip_prefix(b"refs/").unwrap_or(name);
            [format!("{COPIES}{number}/").as_bytes(), plain].concat()
        };
        let parts = self.parts.iter().enumerate();
        parts
            .flat_map(|(number, (_, refs))| {
                refs.iter()
                    .map(move |(name, id)| (named(number, name), id.clone()))
            })
            .collect()
    }

    /// Writes the bundle to `target`. A bundle names refs of one repository, so a scratch repository in `folder` borrows
    /// the objects of all and has these refs; nothing is written into the agent's.
    pub fn write(&self, folder: &Path, target: &Path, deadline: Instant) -> Result<(), WriteBundle> {
        let scratch = folder.join("scratch.git");
        let fail = |source| WriteBundle::UseFile {
            path: scratch.clone(),
            source,
        };
        remove(&scratch)
            .and_then(|()| fs::create_dir_all(&scratch))
            .map_err(fail)?;
        Git::at(&scratch).run(&["init", "--quiet", "--bare", "--template=", "."])?;
        let git = AgentRepository::git(&scratch, folder, deadline);
        let mut alternates = Vec::new();
        for (repository, _) in &self.parts {
            alternates.extend_from_slice(repository.git_dir.join("objects").as_os_str().as_bytes());
            alternates.push(b'\n');
        }
        fs::create_dir_all(scratch.join("objects/info"))
            .and_then(|()| fs::write(scratch.join("objects/info/alternates"), alternates))
            .map_err(fail)?;
        let mut commands = Vec::new();
        for (name, id) in self.refs() {
            commands.extend_from_slice(b"create ");
            commands.extend_from_slice(&name);
            commands.extend_from_slice(format!("\0{id}\0").as_bytes());
        }
        git.feed(&["update-ref", "-z", "--stdin"], &commands)?;
        // A later attempt has the commits of the remote, but none of another repository, such as a submodule's: git takes
        // nothing of a bundle that builds on a commit which is not there.
        let copies = self.parts.iter().filter(|(repository, _)| repository.is_copy);
        let known: BTreeSet<_> = copies.flat_map(|(repository, _)| &repository.known).collect();
        let mut create = vec!["bundle".to_owned(), "create".to_owned(), "--quiet".to_owned()];
        create.extend([target.to_string_lossy().into_owned(), "--all".to_owned()]);
        create.extend(known.into_iter().map(|id| format!("^{id}")));
        git.run(&create)?;
        remove(&scratch).map_err(fail)
    }
}

fn unread(error: &dyn std::error::Error) -> String {
    format!(
        "not all of the agent's repository could be read: {}",
        explain(error)
    )
}

/// Whether an entry of a reflog tells of a checkout (git, builtin/checkout.c).
fn is_checkout(how: &str) -> bool {
    how.starts_with("checkout: moving from")
}

/// What a submodule was cloned from is elsewhere, so only its own remote branches say what need not be saved.
fn fetched(git: &Git) -> Vec<Sha> {
    let list = [
        "for-each-ref",
        "--format=%(objectname)",
        "--count=100",
        "refs/remotes",
    ];
    let tips = git.text(&list).unwrap_or_default();
    tips.lines().filter_map(|line| line.parse().ok()).collect()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
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
