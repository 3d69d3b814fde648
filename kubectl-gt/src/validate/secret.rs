//! Secrets of templates: the keys that the broker reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Problem;
use super::metadata;
use crate::model_secret::credential_keys;
use gastown_api::git_secret::{SSH_KEYS, TOKEN_KEYS};
use gastown_api::model_secret::{HOME, MEMORY, SETTINGS};

const FIELDS: [&str; 7] = [
    "apiVersion",
    "kind",
    "metadata",
    "type",
    "data",
    "stringData",
    "immutable",
];

/// What is wrong with a Secret.
pub fn check(object: &Value) -> Vec<Problem> {
    let mut problems = metadata::check(&object["metadata"]);
    for name in object.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !FIELDS.contains(&name.as_str()) {
            problems.push(Problem::new("", format!("unknown field {name:?}")));
        }
    }
    let mut keys = Vec::new();
    for field in ["data", "stringData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            keys.push(key.as_str());
            let at = format!("{field}.{key}");
            match value.as_str() {
                None => problems.push(Problem::new(at, "must be of type string")),
                Some(text) if field == "data" && STANDARD.decode(text.trim()).is_err() => {
                    problems.push(Problem::new(
                        at,
                        "is no base64; write the value under stringData as it is",
                    ));
                }
                Some(_) => {}
            }
            if !key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            {
                problems.push(Problem::new(
                    format!("{field}.{key}"),
                    "a key has only letters, digits, '-', '_' and '.'",
                ));
            }
        }
    }
    let known: Vec<_> = credential_keys()
        .chain([SETTINGS, MEMORY, HOME])
        .chain(SSH_KEYS)
        .chain(TOKEN_KEYS)
        .collect();
    if !keys.iter().any(|key| known.contains(key)) {
        problems.push(Problem::new(
            "data",
            format!("no key that a polecat reads; the keys are {}", known.join(", ")),
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_that_no_polecat_can_use_is_told() {
        let secret = |data: Value| {
            check(
                &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": data}),
            )
        };
        assert_eq!(secret(json!({"ANTHROPIC_API_KEY": "x"})), Vec::new());
        assert_eq!(secret(json!({"api": "x"})).len(), 1);
        assert_eq!(secret(json!({"ANTHROPIC_API_KEY": 7})).len(), 1);
    }
}
