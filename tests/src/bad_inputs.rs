//! How many bad inputs are tried. Each table stands beside the code that refuses what is in it, and the test there asserts
//! what the message names: the field, the value, the remedy. Manifests are refused by the API server (`tests/admission`)
//! and by the plugin's validator, in the same words.

use std::collections::BTreeSet;

use crate::manifests::refused::{UNKNOWN, of_the_options, of_the_polecat, of_the_rig};

#[path = "../../operator/src/config/refused/table.rs"]
mod configurations;
#[path = "../../api/src/git_secret/refused.rs"]
mod git_secrets;
#[path = "../../api/src/image/refused.rs"]
mod images;
#[path = "../../api/src/model_secret/refused.rs"]
mod model_keys;

/// How many there are at least, whatever is taken out of one table or the other.
const LEAST: usize = 120;

/// Area, input.
fn all() -> Vec<(&'static str, String)> {
    let cases = of_the_rig()
        .into_iter()
        .chain(of_the_polecat())
        .chain(of_the_options());
    let manifests = cases.map(|case| (area(case.field), case.object().to_string()));
    let unknown = UNKNOWN.iter().map(|(at, _)| ("manifest", (*at).to_owned()));
    let configurations = configurations::REFUSED.iter().map(|(text, key, ..)| {
        let endpoint = key.starts_with("modelEndpoints") || key.starts_with("proxy");
        (
            if endpoint { "endpoint" } else { "configuration" },
            (*text).to_owned(),
        )
    });
    let images = images::REFUSED
        .iter()
        .map(|(image, _)| ("image", (*image).to_owned()));
    let secrets = git_secrets::REFUSED
        .iter()
        .map(|(_, key, value, _)| ("secret", format!("{key}: {}", value.escape_ascii())));
    let keys = model_keys::REFUSED
        .iter()
        .map(|(key, text, _)| ("key", format!("{key}: {text}")));
    manifests
        .chain(unknown)
        .chain(configurations)
        .chain(images)
        .chain(secrets)
        .chain(keys)
        .collect()
}

fn area(field: &str) -> &'static str {
    match field {
        "spec.gitURL" | "spec.kubernetes.gitRepository" => "url",
        "spec.kubernetes.image" => "image",
        "spec.agentConfig.modelProvider.endpoint" => "endpoint",
        _ => "manifest",
    }
}

#[test]
fn at_least_120_different_bad_inputs_of_every_area_are_refused_by_name() {
    let all = all();
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "none is there twice");
    for (area, least) in [
        ("manifest", 60),
        ("configuration", 40),
        ("url", 15),
        ("endpoint", 15),
        ("image", 15),
        ("secret", 15),
        ("key", 10),
    ] {
        let count = all.iter().filter(|(of, _)| *of == area).count();
        assert!(count >= least, "{area}: {count} of {least}");
    }
    assert!(all.len() >= LEAST, "{} of {LEAST}", all.len());
}
