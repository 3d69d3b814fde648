//! Whether the cluster serves the operator's kinds, as this plugin knows them.

use serde_json::Value;

use super::findings::Findings;
use crate::cluster::{Call, Cluster, Resource};
use crate::install;
use crate::validate::definition;

fn not_there() -> String {
    format!("install the chart, in a checkout: `{}`", install::CHART)
}

fn of_another_version() -> String {
    format!(
        "upgrade the chart and its definitions, which helm leaves as they are: `{}` in a checkout; or use the plugin of their version",
        install::DEFINITIONS
    )
}

/// Checks every kind; false: at least one is not served.
pub async fn check(cluster: &Cluster, findings: &mut Findings) -> bool {
    let mut served = true;
    for resource in Resource::ours() {
        let name = resource.definition();
        match cluster.find(Resource::DEFINITIONS, &name).await {
            Ok(None) => {
                served = false;
                findings.bad(
                    "definitions",
                    &format!("{name} is not on the cluster"),
                    &not_there(),
                );
            }
            Ok(Some(found)) => compare(&name, resource, &found, findings),
            Err(Call::Forbidden { .. }) => {
                findings.unknown("definitions", &format!("you may not read {name}"));
            }
            Err(error) => findings.bad("definitions", &error.to_string(), ""),
        }
    }
    served
}

fn compare(name: &str, resource: Resource, found: &Value, findings: &mut Findings) {
    let schema = |definition: &Value| {
        definition
            .pointer("/spec/versions/0/schema/openAPIV3Schema")
            .cloned()
    };
    let own = definition(resource.singular).and_then(|own| schema(&own));
    if same(own.as_ref(), schema(found).as_ref()) {
        findings.good("definitions", &format!("{name} is the one of this plugin"));
    } else {
        findings.careful(
            "definitions",
            &format!("{name} is of another version than this plugin"),
            &of_another_version(),
        );
    }
}

/// The API server adds apiVersion, kind and metadata to a schema that leaves them out.
fn same(own: Option<&Value>, found: Option<&Value>) -> bool {
    let fields = |schema: Option<&Value>, field: &str| {
        schema
            .and_then(|schema| schema.pointer(&format!("/properties/{field}")))
            .cloned()
    };
    ["spec", "status"]
        .iter()
        .all(|field| rules_of(fields(own, field)) == rules_of(fields(found, field)))
}

/// What a schema asks for: `1.0` and `1` are the same limit, and other words for the same field no other rule.
fn rules_of(value: Option<Value>) -> Option<Value> {
    value.map(|mut value| {
        normalise(&mut value);
        value
    })
}

fn normalise(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A field may be called so too; then it is an object.
            map.retain(|name, value| name != "description" || !value.is_string());
            map.values_mut().for_each(normalise);
        }
        Value::Array(list) => list.iter_mut().for_each(normalise),
        Value::Number(number) => {
            if let Some(float) = number.as_f64() {
                *value = serde_json::json!(float);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn other_rules_make_another_version_and_other_words_do_not() {
        let schema = |words: &str, limit: Value| {
            let description = json!({"type": "string", "description": words, "maxLength": limit});
            json!({"properties": {"spec": {"properties": {"description": description}}}})
        };
        let own = schema("a task", json!(8));
        assert!(same(Some(&own), Some(&schema("the task", json!(8.0)))));
        assert!(!same(Some(&own), Some(&schema("a task", json!(9)))));
        assert!(!same(Some(&own), None));
    }
}
