//! Fields that the definition does not have: kubectl's strict validation refuses them, other clients lose them.

use serde_json::Value;

use super::Problem;

/// What every object has, and the schema leaves out.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The unknown fields of a whole object.
pub fn fields(object: &Value, schema: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    let Some(fields) = object.as_object() else {
        return vec![Problem::new(
            "",
            "the document is no object: it must have apiVersion, kind, metadata and spec",
        )];
    };
    for (name, value) in fields {
        match (name.as_str(), schema["properties"].get(name)) {
            ("apiVersion" | "kind", _) => {}
            ("metadata", _) => {
                let names = value.as_object().into_iter().flat_map(serde_json::Map::keys);
                let unknown = names.filter(|name| !METADATA.contains(&name.as_str()));
                found.extend(unknown.map(|name| problem(&format!("metadata.{name}"))));
            }
            (_, Some(schema)) => walk(value, schema, name, &mut found),
            (_, None) => found.push(problem(name)),
        }
    }
    found
}

fn walk(value: &Value, schema: &Value, at: &str, found: &mut Vec<Problem>) {
    match value {
        Value::Object(fields) => {
            if schema["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true) {
                return;
            }
            let known = schema["properties"].as_object();
            for (name, value) in fields {
                let here = format!("{at}.{name}");
                let of_field = known.and_then(|known| known.get(name));
                match of_field.or_else(|| schema.get("additionalProperties")) {
                    Some(schema) => walk(value, schema, &here, found),
                    // A text where an object must be is the schema's to complain about.
                    None if schema["type"] == "object" => found.push(problem(&here)),
                    None => {}
                }
            }
        }
        Value::Array(items) => {
            for (at_item, item) in items.iter().enumerate() {
                walk(item, &schema["items"], &format!("{at}[{at_item}]"), found);
            }
        }
        _ => {}
    }
}

fn problem(field: &str) -> Problem {
    Problem::new("", format!("unknown field {field:?}"))
}
