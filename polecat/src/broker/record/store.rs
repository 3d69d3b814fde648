//! The ledger's file, replaced as a whole, and the termination message, which is a mount and can only be overwritten.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::ledger::Saved;
use super::{OpenRecord, WriteLedger};

#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    path: PathBuf,
}

impl Store {
    pub fn below(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            path: dir.join("ledger.json"),
        }
    }

    pub fn load(&self) -> Result<Option<Saved>, OpenRecord> {
        let json = match std::fs::read(&self.path) {
            Ok(json) => json,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(OpenRecord::ReadLedger {
                    path: self.path.clone(),
                    source,
                });
            }
        };
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|source| OpenRecord::ParseLedger {
                path: self.path.clone(),
                source,
            })
    }

    pub fn save(&self, saved: &Saved) -> Result<(), WriteLedger> {
        self.replace(saved).map_err(|source| WriteLedger {
            path: self.path.clone(),
            source,
        })
    }

    fn replace(&self, saved: &Saved) -> std::io::Result<()> {
        let next = self.dir.join("ledger.json.next");
        let mut file = File::create(&next)?;
        file.write_all(&serde_json::to_vec(saved)?)?;
        file.sync_data()?;
        // The folder is not synced: a node that loses power takes the pod with it.
        std::fs::rename(&next, &self.path)
    }
}

/// Overwrites the file in one write, padded with spaces to what it held before, so that whoever reads it at any
/// moment finds a whole JSON document.
pub fn overwrite(path: &Path, mut text: String) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let before = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let pad = before
        .min(gastown_api::evidence::MAX_BYTES)
        .saturating_sub(text.len());
    text.extend(std::iter::repeat_n(' ', pad));
    file.write_all_at(text.as_bytes(), 0)
}
