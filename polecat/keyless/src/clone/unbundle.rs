//! Commits that an earlier attempt never pushed: its snapshot holds them as one `git bundle` file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;

use gastown_api::git::Sha;

use super::resume::{RESUMED_REF, ResumeWork, Resumed, Snapshot};
use crate::snapshot::BUNDLE;
use crate::snapshot::OLDER_STASHES;
use polecat_common::console::{escape, explain};
use polecat_common::git::RunGit;

/// Where branches go that cannot be moved on to commits that were never pushed.
const ASIDE: &str = "gastown-unpushed";

const STASH: &[u8] = b"refs/stash";

/// Why a bundle could not be taken.
enum TakeBundle {
    Write(io::Error),
    Run(RunGit),
}

impl From<RunGit> for TakeBundle {
    fn from(error: RunGit) -> Self {
        Self::Run(error)
    }
}

impl Snapshot<'_> {
    /// Puts the commits that were never pushed on their branches; gives the tip of the work branch that was among them.
    pub(super) fn unbundle(&self, resumed: &mut Resumed) -> Result<Option<Sha>, ResumeWork> {
        let blob = format!("{RESUMED_REF}:{}/{BUNDLE}", self.held);
        let blob = self.git.text(&["rev-parse", "--quiet", "--verify", &blob]);
        let Ok(blob) = blob else {
            return Ok(None);
        };
        let path = self.folder.join(".git").join(BUNDLE);
        let taken = self.take_bundle(&blob, &path);
        let _made_anew_each_time = fs::remove_file(&path);
        let heads = match taken {
            Ok(heads) => heads,
            Err(TakeBundle::Write(source)) => return Err(ResumeWork::WriteWorkspace { path, source }),
            // The files are restored all the same, and the snapshot stays on the remote.
            Err(TakeBundle::Run(error)) => {
                resumed.left_out.push(format!(
                    "the commits that were never pushed: {}",
                    escape(&explain(&error))
                ));
                return Ok(None);
            }
        };
        let mut work = None;
        for (name, id) in in_order(heads) {
            match self.place(&name, &id) {
                Ok(placed) => {
                    resumed.branches.push(placed);
                    if name == self.work.as_bytes() {
                        work = Some(id);
                    }
                }
                Err(error) => {
                    let words = format!("{}: {}", words_of(&name), escape(&explain(&error)));
                    resumed.left_out.push(words);
                }
            }
        }
        Ok(work)
    }

    fn take_bundle(&self, blob: &str, path: &Path) -> Result<Vec<(Vec<u8>, Sha)>, TakeBundle> {
        let file = File::create(path).map_err(TakeBundle::Write)?;
        let cat = ["cat-file", "blob", blob];
        self.git.start(&cat, Stdio::null(), Stdio::from(file))?.finish()?;
        let path = path.to_string_lossy();
        let listing = self.git.run(&["bundle", "list-heads", &path])?;
        let heads = listing.split(|byte| *byte == b'\n').filter_map(|line| {
            let space = line.iter().position(|byte| *byte == b' ')?;
            let id = str::from_utf8(&line[..space]).ok()?.parse().ok()?;
            Some((line[space + 1..].to_vec(), id))
        });
        let heads: Vec<(Vec<u8>, Sha)> = heads.collect();
        let mut refspecs = Vec::new();
        for (number, (name, _)) in heads.iter().enumerate() {
            refspecs.push(b'+');
            refspecs.extend_from_slice(name);
            refspecs.extend_from_slice(format!(":refs/gastown/unpushed/{number}\n").as_bytes());
        }
        let fetch = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--stdin",
            &path,
        ];
        let git = self.git.clone().config("fetch.fsckObjects=true");
        git.feed(&fetch, &refspecs)?;
        Ok(heads)
    }

    /// Gives the name under which the commits are found.
    fn place(&self, name: &[u8], id: &Sha) -> Result<String, RunGit> {
        if name == STASH || name.starts_with(OLDER_STASHES.as_bytes()) {
            self.git.run(&["stash", "store", "-m", "restored", id.as_str()])?;
            return Ok("the stash".to_owned());
        }
        let full = OsStr::from_bytes(name);
        if name.starts_with(b"refs/tags/") && !self.exists(full)? {
            self.update(full, id.as_str())?;
            return Ok(words_of(name));
        }
        let short = name.strip_prefix(b"refs/heads/");
        if let Some(short) = short {
            let free = !self.exists(full)?;
            let ancestor = [
                "merge-base".as_ref(),
                "--is-ancestor".as_ref(),
                full,
                id.as_str().as_ref(),
            ];
            if free || self.git.asks(&ancestor)? {
                self.update(full, id.as_str())?;
                return Ok(words_of(short));
            }
        }
        let plain = short.or_else(|| name.strip_prefix(b"refs/")).unwrap_or(name);
        let aside = [ASIDE.as_bytes(), b"/", plain].concat();
        let branch = [b"refs/heads/", &aside[..]].concat();
        // A branch names a commit, where the ref may have named a tag.
        self.update(OsStr::from_bytes(&branch), &format!("{id}^{{commit}}"))?;
        Ok(words_of(&aside))
    }

    fn update(&self, name: &OsStr, revision: &str) -> Result<(), RunGit> {
        let update = ["update-ref".as_ref(), name, revision.as_ref()];
        self.git.run(&update).map(drop)
    }
}

/// Stash entries as they were put: the oldest first, the newest last.
fn in_order(mut heads: Vec<(Vec<u8>, Sha)>) -> Vec<(Vec<u8>, Sha)> {
    heads.sort_by_key(|(name, _)| {
        let number = name.strip_prefix(OLDER_STASHES.as_bytes());
        let number: Option<u64> = number.and_then(|text| str::from_utf8(text).ok()?.parse().ok());
        (name == STASH, number.map(std::cmp::Reverse))
    });
    heads
}

fn words_of(name: &[u8]) -> String {
    escape(&String::from_utf8_lossy(name))
}
