//! Every reason is provoked by a test: on the cluster, or where that is not feasible by a test beside the code.

use std::path::{Path, PathBuf};

use gastown_api::reason::Reason;

/// Reasons that no test on the cluster provokes, and what stands in the way.
const NOT_ON_THE_CLUSTER: &[(Reason, &str)] = &[
    (Reason::CloneFailed, "it takes a volume or a git that fails"),
    (Reason::EvidenceMissing, "it takes a broker that never started"),
    (
        Reason::SpecNotAllowed,
        "the schema refuses the same before, so it takes an object of the predecessor",
    ),
    (
        Reason::SidecarOutOfMemory,
        "a sidecar that was killed starts again and goes on",
    ),
    (
        Reason::ContainerCannotStart,
        "it takes a node whose runtime fails",
    ),
    (
        Reason::NodeLost,
        "the node's controller waits five minutes before it says so",
    ),
];

/// The texts of every test on the cluster.
fn on_the_cluster() -> Vec<String> {
    files(&root().join("tests/e2e"))
        .into_iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

/// The texts of the tests beside the code of operator and polecat.
fn beside_the_code() -> Vec<String> {
    let all = ["operator/src", "polecat/src"]
        .into_iter()
        .flat_map(|folder| files(&root().join(folder)));
    all.filter_map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let of_tests = path.components().any(|part| {
            ["tests.rs", "tests", "trial.rs", "trial"]
                .map(AsRef::as_ref)
                .contains(&part.as_os_str())
        });
        if of_tests {
            Some(text)
        } else {
            text.split_once("#[cfg(test)]\nmod tests {")
                .map(|(_, tests)| tests.to_owned())
        }
    })
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

fn is_named(reason: Reason, texts: &[String]) -> bool {
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
fn every_reason_is_provoked_by_a_test() {
    let (cluster, code) = (on_the_cluster(), beside_the_code());
    let excused = |reason: &Reason| NOT_ON_THE_CLUSTER.iter().any(|(other, _)| other == reason);
    let missing: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !is_named(**reason, &cluster) && !excused(reason))
        .collect();
    assert!(
        missing.is_empty(),
        "no test on the cluster provokes {missing:?}: write one, or say in NOT_ON_THE_CLUSTER what stands in the way"
    );
    for (reason, why) in NOT_ON_THE_CLUSTER {
        assert!(
            !is_named(*reason, &cluster),
            "{reason} is provoked on the cluster: strike it from the list"
        );
        assert!(
            is_named(*reason, &code),
            "no test provokes {reason}, which is not on the cluster: {why}"
        );
    }
}
