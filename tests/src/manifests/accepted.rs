//! What users already have must apply as it stands.

use serde_json::Value;

use super::parse;

/// Manifests of the seed and of the predecessor, by the name of their file in `tests/admission/samples`.
pub const SAMPLES: [(&str, &str); 7] = [
    (
        "seed-template",
        include_str!("../../admission/samples/seed-template.yaml"),
    ),
    (
        "seed-step-by-step",
        include_str!("../../admission/samples/seed-step-by-step.yaml"),
    ),
    (
        "seed-standalone",
        include_str!("../../admission/samples/seed-standalone.yaml"),
    ),
    (
        "predecessor-rig",
        include_str!("../../admission/samples/predecessor-rig.yaml"),
    ),
    (
        "predecessor-rig-https",
        include_str!("../../admission/samples/predecessor-rig-https.yaml"),
    ),
    (
        "predecessor-polecat-full",
        include_str!("../../admission/samples/predecessor-polecat-full.yaml"),
    ),
    (
        "predecessor-polecat-api-key",
        include_str!("../../admission/samples/predecessor-polecat-api-key.yaml"),
    ),
];

/// The repositories, branches and names that sections 1 and 4 of the predecessor's reference accept, and what the
/// design adds to them.
pub const REPOSITORIES: [&str; 11] = [
    "git@github.com:org/repo.git",
    "git@git.example.com:group/sub.group/my_repo",
    "https://github.com/org/repo.git",
    "http://git.internal/org/repo",
    "https://git.internal:8443/org/repo.git",
    "ssh://git@git.internal:2222/org/repo.git",
    "ssh://git.internal/~user/repo.git",
    "git@testbed:/srv/git/calculator.git",
    "https://dev.azure.com/org/My%20Project/_git/My%20Repo",
    "git@ssh.dev.azure.com:v3/org/My%20Project/repo",
    "https://git.internal/gcc/libstdc++.git",
];

/// See [`REPOSITORIES`].
pub const BRANCHES: [&str; 4] = ["main", "release/1.2_x", "a.b-c/D", "polecat/furiosa/at-1@mh3k"];

/// A polecat with each repository and each branch.
#[must_use]
pub fn forms() -> Vec<Value> {
    let with = |repository: &str, branch: &str| {
        let mut object = parse(super::refused::POLECAT);
        object["spec"]["kubernetes"]["gitRepository"] = repository.into();
        object["spec"]["kubernetes"]["workBranch"] = branch.into();
        object
    };
    let each = |repository: &'static &str| BRANCHES.iter().map(move |branch| with(repository, branch));
    REPOSITORIES.iter().flat_map(each).collect()
}

/// Samples with one optional field set to null, which means the same as leaving it out: the field and the object.
#[must_use]
pub fn with_nulls() -> Vec<(String, Value)> {
    let samples = [
        (
            include_str!("../../admission/samples/predecessor-polecat-full.yaml"),
            vec!["rig"],
        ),
        (
            include_str!("../../admission/samples/predecessor-rig.yaml"),
            vec!["gitURL", "beadsPrefix"],
        ),
    ];
    let mut all = Vec::new();
    for (sample, required) in samples {
        let full = parse(sample);
        for at in optional_fields(&full["spec"], "/spec", &required) {
            let mut object = full.clone();
            if let Some(field) = object.pointer_mut(&at) {
                *field = Value::Null;
            }
            all.push((at, object));
        }
    }
    all
}

/// Pointers to every field below an object, itself included in none; members of lists and of references are not optional.
fn optional_fields(object: &Value, at: &str, required: &[&str]) -> Vec<String> {
    let Some(fields) = object.as_object() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, value) in fields {
        let here = format!("{at}/{name}");
        if !required.contains(&name.as_str()) {
            found.push(here.clone());
        }
        if !name.ends_with("Ref") && name != "requests" && name != "limits" {
            found.extend(optional_fields(value, &here, required));
        }
    }
    found
}
