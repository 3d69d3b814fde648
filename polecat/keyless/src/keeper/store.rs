//! The keeper's own bare repository: what it knows of the broker's branches, and the snapshots it made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gastown_api::git::{ParseGitName, Sha};
use gastown_api::work_order::WorkOrder;
use serde::{Deserialize, Serialize};

use polecat_common::git::{Git, RunGit, patiently};

/// Where the base is kept: the work branch moves on, the base must not.
const BASE_REF: &str = "refs/gastown/base";

/// Why the keeper's repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UseStore {
    /// Git failed.
    #[error("failed to use the keeper's repository")]
    Run {
        /// What git said.
        #[from]
        source: RunGit,
    },
    /// Git's answer is no object id.
    #[error("failed to read an object id of the keeper's repository")]
    ReadId {
        /// What is wrong with it.
        #[from]
        source: ParseGitName,
    },
    /// Nothing was ever fetched.
    #[error("failed to find the base: the broker has served neither {work:?} nor {base:?} so far")]
    FindBase {
        /// The work branch.
        work: String,
        /// The base branch.
        base: String,
    },
    /// A file of the keeper cannot be read or written.
    #[error("failed to use {path:?}")]
    UseFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The keeper's repository.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    url: String,
    work: String,
    base: String,
    given_base: Option<Sha>,
    wip: String,
    author: [(&'static str, String); 4],
}

/// What the broker's repository holds that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tips {
    /// The tip of the work branch.
    pub work: Option<Sha>,
    /// The tip of this pod's WIP ref, where the broker shows it.
    pub wip: Option<Sha>,
}

/// The last snapshot that was pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Its commit.
    pub commit: Sha,
    /// The tree of the work tree that it stands for, before anything was held.
    pub tree: String,
    /// What it holds besides: commits never pushed, as `object id ref`, and other work trees, as `tree path`.
    pub beside: Vec<String>,
}

impl Store {
    /// Opens the repository below `folder`, making it first if it is not there.
    pub fn open(folder: &Path, url: &str, order: &WorkOrder, pod_uid: &str) -> Result<Self, UseStore> {
        let store = Self {
            folder: folder.to_owned(),
            url: url.to_owned(),
            work: order.role.git.work_branch.to_string(),
            base: order.role.git.base_branch.to_string(),
            given_base: order.role.git.base.clone(),
            wip: wip_ref(&order.owner, pod_uid),
            author: crate::workspace::identity(order),
        };
        let path = store.path();
        fs::create_dir_all(&path).map_err(|source| UseStore::UseFile {
            path: path.clone(),
            source,
        })?;
        Git::at(&path).run(&["init", "--quiet", "--bare", "--template=", "."])?;
        Ok(store)
    }

    /// The folder of the repository.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join("repo.git")
    }

    /// The keeper's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of this pod's WIP ref.
    #[must_use]
    pub fn wip(&self) -> &str {
        &self.wip
    }

    /// Git on this repository, until `deadline`.
    #[must_use]
    pub fn git(&self, deadline: Instant) -> Git {
        let mut git = Git::at(&self.folder)
            .repository(self.path())
            .config("core.hooksPath=/dev/null")
            .config("core.excludesFile=/dev/null")
            // Files above it are streamed instead of being held in memory.
            .config("core.bigFileThreshold=1m")
            .config("pack.threads=1")
            // A snapshot is pushed once: time counts for more than its size.
            .config("pack.compression=1")
            .config("pack.windowMemory=32m")
            .config("pack.deltaCacheSize=8m")
            .config("gc.auto=0")
            .config("maintenance.auto=false")
            .limit(
                deadline
                    .saturating_duration_since(Instant::now())
                    .max(Duration::from_secs(1)),
            );
        for (name, value) in &self.author {
            git = git.env(name, value);
        }
        git
    }

    /// Fetches the broker's branches; the first time, settles the base.
    pub fn refresh(&self, deadline: Instant) -> Result<Tips, UseStore> {
        let git = self.git(deadline);
        let everything = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--prune",
            &self.url,
            "+refs/heads/*:refs/broker/*",
        ];
        patiently(deadline, || git.run(&everything))?;
        self.base(deadline)?;
        let listing = git.text(&["ls-remote", "--quiet", &self.url, &self.wip])?;
        let wip = listing.split_once('\t').and_then(|(sha, _)| sha.parse().ok());
        Ok(Tips {
            work: self.known_work(deadline)?,
            wip,
        })
    }

    /// The work branch as it was last fetched.
    pub fn known_work(&self, deadline: Instant) -> Result<Option<Sha>, UseStore> {
        self.commit(&format!("refs/broker/{}", self.work), deadline)
    }

    /// The base branch as it was last fetched.
    pub fn base_branch(&self, deadline: Instant) -> Result<Option<Sha>, UseStore> {
        self.commit(&format!("refs/broker/{}", self.base), deadline)
    }

    /// The base of the polecat: as ordered, else what the broker served first.
    pub fn base(&self, deadline: Instant) -> Result<Sha, UseStore> {
        if let Some(base) = self.commit(BASE_REF, deadline)? {
            return Ok(base);
        }
        let given = self.given_base.as_ref().map(Sha::to_string);
        let candidates = [
            given,
            Some(format!("refs/broker/{}", self.work)),
            Some(format!("refs/broker/{}", self.base)),
        ];
        for candidate in candidates.into_iter().flatten() {
            if let Some(base) = self.commit(&candidate, deadline)? {
                self.git(deadline).run(&["update-ref", BASE_REF, base.as_str()])?;
                return Ok(base);
            }
        }
        Err(UseStore::FindBase {
            work: self.work.clone(),
            base: self.base.clone(),
        })
    }

    /// The commit that `revision` names, if it is here.
    pub fn commit(&self, revision: &str, deadline: Instant) -> Result<Option<Sha>, UseStore> {
        self.resolve(&format!("{revision}^{{commit}}"), deadline)
    }

    /// The tree of a commit.
    pub fn tree(&self, commit: &Sha, deadline: Instant) -> Result<String, UseStore> {
        Ok(self
            .git(deadline)
            .text(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")])?)
    }

    /// The tree without any file.
    pub fn empty_tree(&self, deadline: Instant) -> Result<String, UseStore> {
        let id = self.git(deadline).feed(&["mktree"], b"")?;
        Ok(String::from_utf8_lossy(&id).trim().to_owned())
    }

    fn resolve(&self, revision: &str, deadline: Instant) -> Result<Option<Sha>, UseStore> {
        match self
            .git(deadline)
            .text(&["rev-parse", "--quiet", "--verify", revision])
        {
            Ok(id) => Ok(Some(id.parse()?)),
            Err(RunGit::Fail { code: Some(1), .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Pushes a snapshot to this pod's WIP ref.
    pub fn push(&self, commit: &Sha, deadline: Instant) -> Result<(), UseStore> {
        let git = self.git(deadline);
        let refspec = format!("{commit}:{}", self.wip);
        let push = [
            "push",
            "--quiet",
            "--no-verify",
            "--no-signed",
            &self.url,
            &refspec,
        ];
        patiently(deadline, || git.run(&push))?;
        Ok(())
    }

    /// The last snapshot that was pushed.
    pub fn last(&self) -> Result<Option<Last>, UseStore> {
        let path = self.folder.join("last.json");
        match fs::read(&path) {
            // The keeper writes it whole; what it cannot read is of another version, and the next snapshot replaces it.
            Ok(json) => Ok(serde_json::from_slice(&json).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(UseStore::UseFile { path, source }),
        }
    }

    /// Remembers the last snapshot.
    pub fn remember(&self, last: &Last) -> Result<(), UseStore> {
        let path = self.folder.join("last.json");
        let partial = self.folder.join("last.partial");
        serde_json::to_vec(last)
            .map_err(io::Error::from)
            .and_then(|json| fs::write(&partial, json))
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(|source| UseStore::UseFile { path, source })
    }
}

/// `refs/gastown/wip/<polecat>/<first 8 of the pod's UID>`: starts no CI and stands in no list of branches.
#[must_use]
pub fn wip_ref(polecat: &str, pod_uid: &str) -> String {
    let short: String = pod_uid.chars().take(8).collect();
    format!("refs/gastown/wip/{polecat}/{short}")
}
