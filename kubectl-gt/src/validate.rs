//! Checks manifests without a cluster, by the rules of the API server: the schema and the CEL rules of the chart's own
//! definitions, after defaults. `tests/admission` holds both against each other.

mod cel;
mod metadata;
mod open;
mod schema;
mod secret;
mod unknown;

use gastown_api::kinds::{Kind, kinds};
use serde::Deserialize as _;
use serde_json::Value;

/// What is wrong with a manifest, in the API server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `spec.rig`.
    pub field: String,
    /// What is wrong with it.
    pub text: String,
}

impl Problem {
    fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            text: text.into(),
        }
    }

    /// Whether the API server evaluates no rule beside it.
    fn blocks_rules(&self) -> bool {
        let starts = ["Required value", "Too long", "Too many"];
        starts.iter().any(|start| self.text.starts_with(start))
            || self.text.contains("in body must be of type")
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.text)
        } else {
            write!(f, "{}: {}", self.field, self.text)
        }
    }
}

/// What became of one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The API server would take it.
    Valid,
    /// It would not.
    Invalid(Vec<Problem>),
    /// Its kind is none that this plugin knows.
    NotOurs,
}

/// The definition of a kind, by its singular.
#[must_use]
pub fn definition(singular: &str) -> Option<Value> {
    let kind = kinds().iter().find(|kind| kind.singular == singular)?;
    kind.definition().ok()
}

/// The documents of a YAML (or JSON) text; empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        // By way of a YAML value, which refuses a key that is set twice.
        let value = serde_yaml_ng::Value::deserialize(document).map_err(|error| error.to_string())?;
        let value = serde_json::to_value(value).map_err(|error| error.to_string())?;
        if !value.is_null() {
            found.push(value);
        }
    }
    Ok(found)
}

/// Checks one manifest as if it were created.
#[must_use]
pub fn check(object: &Value) -> Verdict {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let group = text("apiVersion").split('/').next().unwrap_or_default();
    let problems = match (text("apiVersion"), text("kind")) {
        ("", _) => vec![Problem::new("apiVersion", "Required value")],
        (_, "") => vec![Problem::new("kind", "Required value")],
        ("gastown.gastown.io/v1alpha1", name) => match Kind::named(name) {
            Some(kind) => custom(object, kind.singular),
            None => vec![Problem::new("kind", no_kind(name))],
        },
        (version, _) if group == gastown_api::GROUP => {
            vec![Problem::new(
                "apiVersion",
                format!("{version:?} is not served; write gastown.gastown.io/v1alpha1"),
            )]
        }
        ("v1", "Secret") => secret::check(object),
        _ => return Verdict::NotOurs,
    };
    if problems.is_empty() {
        Verdict::Valid
    } else {
        Verdict::Invalid(problems)
    }
}

fn no_kind(name: &str) -> String {
    let names: Vec<_> = kinds().iter().map(|kind| kind.name).collect();
    let names = match names.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    };
    format!("no matches for kind {name:?} in version \"gastown.gastown.io/v1alpha1\"; the kinds are {names}")
}

fn custom(object: &Value, singular: &str) -> Vec<Problem> {
    let definition = definition(singular).unwrap_or_default();
    let Some(schema) = definition.pointer("/spec/versions/0/schema/openAPIV3Schema") else {
        return vec![Problem::new(
            "",
            "this plugin has no definition of the kind; install it again",
        )];
    };
    let mut object = object.clone();
    schema::prune_nulls(&mut object, schema);
    let mut problems = unknown::fields(&object, schema);
    problems.extend(metadata::check(&object["metadata"]));
    // Status is the operator's: what a manifest says of it is dropped at creation.
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let object = kube_cel::apply_defaults(schema, &object);
    problems.extend(schema::check(&object, schema));
    // The API server too evaluates rules only on what has the right types and sizes.
    if !problems.iter().any(Problem::blocks_rules) {
        problems.extend(cel::check(&object, schema));
    }
    if problems.is_empty() {
        problems.extend(open::check(&object, singular));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn polecat() -> Value {
        json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
            "metadata": {"name": "a"}, "spec": {"rig": "demo"},
        })
    }

    fn problems(object: &Value) -> String {
        match check(object) {
            Verdict::Invalid(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                format!("{}\n", lines.join("\n"))
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_minimal_polecat_is_valid_because_defaults_come_first() {
        assert_eq!(check(&polecat()), Verdict::Valid);
    }

    #[test]
    fn null_counts_as_unset() {
        let mut object = polecat();
        object["spec"]["beadID"] = Value::Null;
        object["spec"]["desiredState"] = Value::Null;
        assert_eq!(check(&object), Verdict::Valid);
        object["spec"]["rig"] = Value::Null;
        assert_eq!(problems(&object), "spec.rig: Required value\n");
    }

    #[test]
    fn every_layer_finds_its_own() {
        let mut object = polecat();
        object["spec"]["tasks"] = json!("x");
        assert!(
            problems(&object).contains("unknown field \"spec.tasks\""),
            "{}",
            problems(&object)
        );
        let mut object = polecat();
        object["spec"]["beadID"] = json!("a..b");
        assert!(problems(&object).contains("spec.beadID"), "{}", problems(&object));
        assert!(
            problems(&object).contains("rename the bead"),
            "{}",
            problems(&object)
        );
        let mut object = polecat();
        object["metadata"]["name"] = json!("No Name");
        assert!(
            problems(&object).contains("metadata.name"),
            "{}",
            problems(&object)
        );
    }

    #[test]
    fn kinds_that_do_not_exist_are_told_from_kinds_of_others() {
        let mut object = polecat();
        object["kind"] = json!("Deacon");
        let found = problems(&object);
        assert!(kinds().iter().all(|kind| found.contains(kind.name)), "{found}");
        assert_eq!(
            check(&json!({"apiVersion": "apps/v1", "kind": "Deployment"})),
            Verdict::NotOurs
        );
        assert!(problems(&json!({"kind": "Polecat"})).contains("apiVersion"));
    }

    #[test]
    fn a_text_is_read_as_a_stream_of_documents() {
        assert_eq!(documents("---\na: 1\n---\n\n---\nb: 2\n").unwrap().len(), 2);
        assert!(documents("a: [").is_err());
        assert!(documents("a: 1\na: 2\n").is_err(), "a key that is set twice");
    }
}
