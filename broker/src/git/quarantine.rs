//! Where a push waits until the remote has taken it: a folder of objects that the repository does not see.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;

use super::child::{Git, Group, RunGit, read_tail, spawn};
use super::inbound::{Inbound, ReadBody};
use super::policy::Refusal;
use super::receive::error::{Inspected, Receive};
use polecat_common::limits::INDEX;

/// A folder for objects that the repository has not taken; there is one, since one push is taken at a time, and one for each
/// push that waits.
pub struct Quarantine {
    /// git that sees it.
    pub git: Git,
    dir: PathBuf,
}

impl Quarantine {
    /// An empty one.
    pub fn open(git: &Git) -> Result<Self, Receive> {
        let dir = git.repo.with_extension("quarantine");
        let fail = |source| Receive::KeepObjects {
            path: dir.clone(),
            source,
        };
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(fail)?;
        }
        std::fs::create_dir_all(dir.join("pack")).map_err(fail)?;
        let git = Git {
            quarantine: Some(dir.clone()),
            ..git.clone()
        };
        Ok(Self { git, dir })
    }

    /// Makes room for other pushes while this one waits at `place`.
    pub fn set_aside(&mut self, place: usize) -> Result<(), Receive> {
        let to = self.dir.with_extension(format!("waiting-{place}"));
        let fail = |source| Receive::KeepObjects {
            path: to.clone(),
            source,
        };
        // It waits there already, or a push of an earlier run of this container did.
        if to == self.dir {
            return Ok(());
        }
        if to.exists() {
            std::fs::remove_dir_all(&to).map_err(fail)?;
        }
        std::fs::rename(&self.dir, &to).map_err(fail)?;
        self.git.quarantine = Some(to.clone());
        self.dir = to;
        Ok(())
    }

    /// Indexes the pack with every object checked, as git's receive-pack would.
    pub async fn index(&self, rest: Bytes, inbound: &mut Inbound, limit: u64) -> Result<(), Inspected> {
        let max = format!("--max-input-size={limit}");
        let mut command = self.git.command([
            "index-pack",
            "--stdin",
            "--fix-thin",
            "--strict",
            "--threads=1",
            &max,
        ]);
        command.stdin(Stdio::piped());
        let mut child = spawn(command)?;
        let group = Group::of(&child);
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                let mut part = Some(rest);
                while let Some(bytes) = part {
                    // It ended early, and says why on its standard error.
                    if stdin.write_all(&bytes).await.is_err() {
                        break;
                    }
                    part = inbound.next().await?;
                }
            }
            Ok::<_, ReadBody>(())
        };
        let work = async {
            let (sent, words) = tokio::join!(feed, read_tail(stderr));
            (sent, words, child.wait().await)
        };
        let Ok((sent, words, status)) = tokio::time::timeout(INDEX, work).await else {
            group.kill();
            let seconds = INDEX.as_secs();
            let command = "git index-pack".to_owned();
            return Err(RunGit::AwaitEnd { command, seconds }.into());
        };
        sent.map_err(|error| match error {
            ReadBody::Bound { limit } => Inspected::Refuse(Refusal::TooLarge { limit }),
            error => Inspected::Fail(error.into()),
        })?;
        let words = words.unwrap_or_default();
        if status.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        if words.contains("pack exceeds maximum allowed size") {
            return Err(Refusal::TooLarge { limit }.into());
        }
        let words = words
            .lines()
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        Err(Refusal::BadObjects { words }.into())
    }

    /// Moves the packs into the repository, each index last: git reads a pack once its index is there.
    pub fn keep(&self, git: &Git) -> Result<(), Receive> {
        let from = self.dir.join("pack");
        let to = git.repo.join("objects/pack");
        migrate(&from, &to).map_err(|source| Receive::KeepObjects { path: to, source })
    }

    /// What stays behind is removed before the next push.
    pub fn close(self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!(cause = %error, dir = %self.dir.display(), "failed to remove the quarantine");
        }
    }
}

fn migrate(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(from)? {
        names.push(entry?.file_name());
    }
    names.sort_by_key(|name| {
        Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "idx")
    });
    for name in names {
        std::fs::rename(from.join(&name), to.join(&name))?;
    }
    Ok(())
}
