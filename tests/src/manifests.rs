//! Manifests that are to be refused and accepted: put to the API server by `tests/admission`, and here to the plugin's
//! offline validator. One disagreement fails.

pub mod accepted;
pub mod refused;

use serde_json::Value;

/// One YAML document as JSON.
///
/// # Panics
/// When it is none: a sample that cannot be read fails the test that uses it.
#[must_use]
#[expect(clippy::unwrap_used, reason = "samples are part of the tests")]
pub fn parse(yaml: &str) -> Value {
    serde_yaml_ng::from_str(yaml).unwrap()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use kubectl_gt::validate::{Verdict, check, documents};

    use super::accepted::{SAMPLES, forms, with_nulls};
    use super::refused::{Case, POLECAT, UNKNOWN, change, of_the_options, of_the_polecat, of_the_rig};
    use super::*;

    fn words(object: &Value) -> String {
        match check(object) {
            Verdict::Valid => "valid".to_owned(),
            Verdict::NotOurs => "not ours".to_owned(),
            Verdict::Invalid(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                lines.join("\n")
            }
        }
    }

    #[test]
    fn the_validator_refuses_what_the_api_server_refuses_in_the_same_words() {
        let tables = [of_the_rig(), of_the_polecat(), of_the_options()];
        let cases: Vec<Case> = tables.into_iter().flatten().collect();
        assert!(cases.len() >= 110, "{} invalid manifests", cases.len());
        let mut wrong = Vec::new();
        for case in &cases {
            let words = words(&case.object());
            let missing = case.missing_in(&words);
            if words == "valid" || !missing.is_empty() {
                let short: String = words.chars().take(400).collect();
                wrong.push(format!(
                    "{} {:?}: {missing:?} not in: {short}",
                    case.field, case.value
                ));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {}:\n{}",
            wrong.len(),
            cases.len(),
            wrong.join("\n")
        );
    }

    #[test]
    fn the_validator_names_unknown_fields() {
        for (at, field) in UNKNOWN {
            let mut object = parse(POLECAT);
            change(&mut object, at, &serde_json::json!("x"));
            let words = words(&object);
            assert!(words.contains(&format!("unknown field \"{field}\"")), "{words}");
        }
    }

    #[test]
    fn the_validator_takes_what_the_api_server_takes() {
        let samples = SAMPLES
            .iter()
            .map(|(name, yaml)| ((*name).to_owned(), parse(yaml)));
        let forms = forms().into_iter().map(|object| (object.to_string(), object));
        for (name, object) in samples.chain(forms).chain(with_nulls()) {
            assert_eq!(words(&object), "valid", "{name}");
        }
        let mut longest = parse(POLECAT);
        longest["metadata"]["name"] = "a".repeat(55).into();
        assert_eq!(words(&longest), "valid");
    }

    /// Fenced YAML of a page that is a manifest.
    fn manifests_of(page: &str) -> Vec<String> {
        let blocks = page.split("```yaml\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split("```").next());
        blocks
            .filter(|block| block.contains("apiVersion: gastown"))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_manifest_of_templates_and_pages_is_valid() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let files = |folder: &str, end: &str| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(root.join(folder)).unwrap();
            let paths = entries.map(|entry| entry.unwrap().path());
            paths
                .filter(|path| path.extension().is_some_and(|e| e == end))
                .collect()
        };
        let mut texts: Vec<(PathBuf, String)> = Vec::new();
        for path in files("templates", "yaml") {
            texts.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
        assert!(texts.len() >= 5, "{} templates", texts.len());
        for path in files("", "md").into_iter().chain(files("docs", "md")) {
            let page = std::fs::read_to_string(&path).unwrap();
            texts.extend(manifests_of(&page).into_iter().map(|text| (path.clone(), text)));
        }
        for (path, text) in texts {
            for object in documents(&text).unwrap() {
                assert_eq!(words(&object), "valid", "{}", path.display());
            }
        }
    }
}
