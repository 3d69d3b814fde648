//! Replays what the fuzz targets found worth keeping (`tests/fuzz`), so that what once broke a parser is tried again
//! with every run of the unit tests.

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};

/// The most that is kept for each target.
const MOST_FILES: usize = 200;
const MOST_BYTES: u64 = 1024 * 1024;

fn kept(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_is_read_without_a_panic() {
    for (target, run) in targets::ALL {
        let files = kept(target);
        assert!(!files.is_empty(), "{target} has a corpus");
        for file in files {
            let data = std::fs::read(&file).unwrap();
            let outcome = std::panic::catch_unwind(|| run(&data));
            assert!(outcome.is_ok(), "{target} breaks on {file:?}");
        }
    }
}

#[test]
fn the_kept_inputs_are_few_and_small() {
    for (target, _) in targets::ALL {
        let files = kept(target);
        let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(
            files.len() <= MOST_FILES && bytes <= MOST_BYTES,
            "{target}: {} files of {bytes} bytes",
            files.len()
        );
    }
}
