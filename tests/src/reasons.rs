//! Every reason is provoked by a test on the cluster.

use std::path::{Path, PathBuf};

use gastown_api::kinds::reasons;
use gastown_api::reason::AnyReason;

/// The texts of every test on the cluster.
fn on_the_cluster() -> Vec<String> {
    files(&root().join("tests/e2e"))
        .into_iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

fn is_named(reason: AnyReason, texts: &[String]) -> bool {
    let names = [
        format!("\"{reason}\""),
        format!("Reason::{reason},"),
        format!("Reason::{reason})"),
        format!("Reason::{reason};"),
        format!("Reason::{reason} "),
    ];
    texts
        .iter()
        .any(|text| names.iter().any(|name| text.contains(name)))
}

#[test]
fn every_reason_is_provoked_by_a_test_on_the_cluster() {
    let texts = on_the_cluster();
    let missing: Vec<_> = reasons()
        .filter(|reason| !is_named(*reason, &texts))
        .map(|reason| reason.name)
        .collect();
    assert!(
        missing.is_empty(),
        "no test on the cluster provokes {missing:?}: write one"
    );
}
