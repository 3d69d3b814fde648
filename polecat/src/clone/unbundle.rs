//! Commits that an earlier attempt never pushed: its snapshot holds them as one `git bundle` file.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Stdio;

use gastown_api::git::Sha;

use super::resume::{RESUMED_REF, ResumeWork, Resumed, Snapshot};
use crate::console::{escape, explain};
use crate::git::RunGit;
use crate::keeper::snapshot::BUNDLE;

/// Where branches go that cannot be moved on to commits that were never pushed.
const ASIDE: &str = "gastown-unpushed";

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
        for (name, id) in heads {
            match self.place(&name, &id) {
                Ok(placed) => {
                    resumed.branches.push(placed);
                    if name == self.work {
                        work = Some(id);
                    }
                }
                Err(error) => {
                    let words = format!("{}: {}", escape(&name), escape(&explain(&error)));
                    resumed.left_out.push(words);
                }
            }
        }
        Ok(work)
    }

    fn take_bundle(&self, blob: &str, path: &Path) -> Result<Vec<(String, Sha)>, TakeBundle> {
        let file = File::create(path).map_err(TakeBundle::Write)?;
        let cat = ["cat-file", "blob", blob];
        self.git.start(&cat, Stdio::null(), Stdio::from(file))?.finish()?;
        let path = path.to_string_lossy();
        let listing = self.git.text(&["bundle", "list-heads", &path])?;
        let heads = listing.lines().filter_map(|line| {
            let (id, name) = line.split_once(' ')?;
            Some((name.to_owned(), id.parse().ok()?))
        });
        let heads: Vec<(String, Sha)> = heads.collect();
        let mut fetch = vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", &path];
        let refspecs: Vec<String> = heads
            .iter()
            .enumerate()
            .map(|(number, (name, _))| format!("+{name}:refs/gastown/unpushed/{number}"))
            .collect();
        fetch.extend(refspecs.iter().map(String::as_str));
        self.git.clone().config("fetch.fsckObjects=true").run(&fetch)?;
        Ok(heads)
    }

    /// Gives the name under which the commits are found.
    fn place(&self, name: &str, id: &Sha) -> Result<String, RunGit> {
        if name == "refs/stash" {
            self.git.run(&["stash", "store", "-m", "restored", id.as_str()])?;
            return Ok("the stash".to_owned());
        }
        let short = name.strip_prefix("refs/heads/");
        if let Some(short) = short {
            let free = !self.exists(name)?;
            if free
                || self
                    .git
                    .asks(&["merge-base", "--is-ancestor", name, id.as_str()])?
            {
                self.git.run(&["update-ref", name, id.as_str()])?;
                return Ok(short.to_owned());
            }
        }
        let aside = format!("{ASIDE}/{}", short.unwrap_or(name));
        self.git
            .run(&["update-ref", &format!("refs/heads/{aside}"), id.as_str()])?;
        Ok(aside)
    }
}
