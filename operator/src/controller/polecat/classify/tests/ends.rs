//! Statuses of pods that ended on other people's clusters, as their bug reports recorded them (`ends/*.json`, each with its
//! source). The names of the containers are ours; they go through the cache, as all that the plan sees.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;

/// A pod that ended, and what has to be made of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct End {
    /// Where it was recorded.
    source: String,
    /// `v1`, `v2`, or `any` where it makes no difference.
    cgroup: String,
    /// Whether the polecat's status said before that the agent was at work.
    seen_at_work: bool,
    #[serde(default)]
    metadata: serde_json::Map<String, Value>,
    status: Value,
    expect: Expect,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expect {
    outcome: AttemptOutcome,
    reason: String,
    work_may_be_lost: bool,
    /// Part of the message.
    words: String,
}

fn all() -> Vec<(String, End)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller/polecat/classify/tests/ends");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let end = serde_json::from_slice(&std::fs::read(&path).unwrap());
        (
            name.clone(),
            end.unwrap_or_else(|error| panic!("{name}: {error}")),
        )
    };
    files.into_iter().map(read).collect()
}

/// What the cache holds of it.
fn cached(end: &End) -> PodView {
    let mut pod = pod(json!({"metadata": end.metadata, "status": end.status}));
    pod.prune();
    pod
}

#[test]
fn each_recorded_end_has_its_outcome_its_reason_and_says_what_may_be_lost() {
    let mut wrong = Vec::new();
    for (name, end) in all() {
        let context = AttemptContext {
            seen_at_work: end.seen_at_work,
            ..context()
        };
        let classification = classify(&cached(&end), &context);
        let words = &end.expect.words;
        let found = Expect {
            outcome: classification.outcome,
            reason: classification.reason.as_str().to_owned(),
            work_may_be_lost: classification.may_be_lost.is_some(),
            words: if classification.message.contains(words) {
                words.clone()
            } else {
                classification.message
            },
        };
        if found != end.expect {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn recorded_ends_are_of_both_cgroup_versions_and_name_their_source() {
    let ends = all();
    assert!(ends.len() >= 25, "{}", ends.len());
    for version in ["v1", "v2"] {
        assert!(ends.iter().any(|(_, end)| end.cgroup == version), "{version}");
    }
    for (name, end) in &ends {
        assert!(end.source.starts_with("https://"), "{name}: {}", end.source);
    }
}
