//! The end of a pod: the snapshot of the `preStop` hook, and that of SIGTERM after it, share one grace period. The second
//! reads no large file again that the first saved, and what is not saved yet is said before the kubelet can kill the keeper.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use gastown_api::evidence::SnapshotReport;
use parking_lot::Mutex;
use rustix::fs::Stat;

use super::change_detection::FRESH_SECONDS;
use crate::snapshot::denied_paths::Blob;
use polecat_common::console::say;

/// A file in a state that can be told from any later one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version([i128; 8]);

impl Version {
    /// None: it changed so short a time ago that it may change again without its times telling.
    #[must_use]
    pub fn of(stat: &Stat) -> Option<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let settled = stat.st_ctime < i64::try_from(now.as_secs()).ok()? - FRESH_SECONDS;
        settled.then(|| {
            Self([
                stat.st_dev.into(),
                stat.st_ino.into(),
                stat.st_mode.into(),
                stat.st_size.into(),
                stat.st_mtime.into(),
                stat.st_mtime_nsec.into(),
                stat.st_ctime.into(),
                stat.st_ctime_nsec.into(),
            ])
        })
    }
}

/// What one snapshot of the end leaves to the next, and to the operator.
#[derive(Debug)]
pub struct End {
    termination_log: PathBuf,
    saved: Mutex<HashMap<Version, Blob>>,
}

impl End {
    /// Reports go to `termination_log`.
    #[must_use]
    pub fn new(termination_log: PathBuf) -> Self {
        Self {
            termination_log,
            saved: Mutex::default(),
        }
    }

    /// Another end begins: what was read for an earlier one may have changed in ways that no time tells, such as by a
    /// mapping in memory.
    pub fn forget(&self) {
        self.saved.lock().clear();
    }

    /// Remembers large files that were read whole and are on the remote.
    pub fn remember(&self, saved: impl IntoIterator<Item = (Version, Blob)>) {
        self.saved.lock().extend(saved);
    }

    /// What such a file has in it.
    #[must_use]
    pub fn saved(&self, version: &Version) -> Option<Blob> {
        self.saved.lock().get(version).cloned()
    }

    /// Says in the termination message what is not saved; none: nothing is lacking. Whatever ends the keeper afterwards,
    /// the last of these is what the operator reads.
    pub fn report(&self, lacking: Option<&SnapshotReport>) {
        let json = lacking.map(SnapshotReport::to_json).unwrap_or_default();
        if let Err(error) = std::fs::write(&self.termination_log, json) {
            let path = self.termination_log.display();
            say(&format!("polecat keeper: failed to write {path}: {error}"));
        }
    }
}
