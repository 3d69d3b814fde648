//! Names and labels, which the API server checks for every kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::Problem;

/// What is wrong with the metadata.
pub fn check(metadata: &Value) -> Vec<Problem> {
    let parsed: ObjectMeta = match serde_json::from_value(metadata.clone()) {
        Ok(parsed) => parsed,
        Err(_) if metadata.is_null() => ObjectMeta::default(),
        Err(error) => return vec![Problem::new("metadata", format!("Invalid value: {error}"))],
    };
    let mut problems = Vec::new();
    match (&parsed.name, &parsed.generate_name) {
        (None, None) => problems.push(Problem::new("metadata.name", "Required value: name or generateName is required")),
        (Some(name), _) if !is_subdomain(name) => problems.push(Problem::new("metadata.name", format!(
            "Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        ))),
        _ => {}
    }
    for (key, value) in parsed.labels.iter().flatten() {
        if !value.is_empty() && !gastown_api::labels::fits_label(value) {
            problems.push(Problem::new("metadata.labels", format!(
                "Invalid value: {value:?}: the label {key:?} must have at most 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit"
            )));
        }
    }
    problems
}

/// A lowercase RFC 1123 subdomain.
pub fn is_subdomain(name: &str) -> bool {
    let alphanumeric =
        |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let label = |label: &str| {
        alphanumeric(label.bytes().next())
            && alphanumeric(label.bytes().last())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_subdomains() {
        for name in ["a", "my-task", "a.b-c", "51"] {
            assert!(is_subdomain(name), "{name}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "a..b", &"a".repeat(254)] {
            assert!(!is_subdomain(name), "{name}");
        }
    }
}
