//! What a job leaves when it has succeeded: a second run with the same inputs finds its outputs and repeats nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use xtask_image::{progress, workspace};

use crate::layout::digest;

/// A job's receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// A hash of everything that the job's outputs depend on.
    pub key: String,
    /// How long it took.
    pub milliseconds: u64,
    /// Its files below the folder of the release, each with its digest.
    pub outputs: BTreeMap<PathBuf, String>,
}

/// Does `work`, whose outputs are the files and folders `outputs` below `folder`, unless its receipt has this key and
/// its outputs are as it left them.
pub fn once(
    folder: &Path,
    job: &str,
    key: &str,
    outputs: &[PathBuf],
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let file = folder.join("jobs").join(format!("{job}.json"));
    if is_current(&file, folder, key, outputs) {
        progress::say("as it was: nothing that it depends on has changed");
        return Ok(());
    }
    if file.exists() {
        // A job that is broken off leaves no receipt for half of its outputs.
        fs_err::remove_file(&file)?;
    }
    let start = Instant::now();
    work()?;
    let receipt = Receipt {
        key: key.to_owned(),
        milliseconds: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        outputs: digests(folder, outputs)?,
    };
    workspace::write_whole(&file, &serde_json::to_vec_pretty(&receipt)?)
}

fn is_current(file: &Path, folder: &Path, key: &str, outputs: &[PathBuf]) -> bool {
    let receipt = fs_err::read(file)
        .ok()
        .and_then(|text| serde_json::from_slice::<Receipt>(&text).ok());
    receipt.is_some_and(|receipt| {
        receipt.key == key && digests(folder, outputs).is_ok_and(|there| there == receipt.outputs)
    })
}

fn digests(folder: &Path, outputs: &[PathBuf]) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    for output in outputs {
        let before = found.len();
        collect(folder, output, &mut found)?;
        ensure!(found.len() > before, "the job made no {output:?}");
    }
    Ok(found)
}

fn collect(folder: &Path, path: &Path, found: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let whole = folder.join(path);
    if whole.is_dir() {
        for entry in fs_err::read_dir(&whole)? {
            collect(folder, &path.join(entry?.file_name()), found)?;
        }
    } else {
        let content = fs_err::read(&whole).with_context(|| format!("the job made no {path:?}"))?;
        found.insert(path.to_owned(), digest(&content));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_repeated_when_its_key_or_an_output_changes() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = 0;
        let mut run = |key: &str| {
            let work = || {
                times += 1;
                fs_err::create_dir_all(folder.path().join("out"))?;
                Ok(fs_err::write(folder.path().join("out/file"), "shiny")?)
            };
            once(folder.path(), "forge", key, &["out".into()], work).unwrap();
            times
        };
        assert_eq!((run("a"), run("a"), run("b"), run("b")), (1, 1, 2, 2));
        fs_err::write(folder.path().join("out/file"), "dull").unwrap();
        assert_eq!((run("b"), run("b")), (3, 3));
        fs_err::write(folder.path().join("out/second"), "added").unwrap();
        assert_eq!(run("b"), 4, "a file that the job did not make");
    }

    #[test]
    fn work_that_fails_or_makes_nothing_leaves_no_receipt() {
        let folder = tempfile::tempdir().unwrap();
        let error = once(folder.path(), "forge", "a", &["out".into()], || Ok(())).unwrap_err();
        assert_eq!(error.to_string(), r#"the job made no "out""#);
        fs_err::create_dir(folder.path().join("empty")).unwrap();
        let error = once(folder.path(), "forge", "a", &["empty".into()], || Ok(())).unwrap_err();
        assert_eq!(error.to_string(), r#"the job made no "empty""#);
        once(folder.path(), "forge", "a", &[], || anyhow::bail!("too cold")).unwrap_err();
        assert!(!folder.path().join("jobs/forge.json").exists());
    }
}
