//! The structural part: types, lengths, patterns, enumerations, in the words of the API server.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError};
use serde_json::Value;

use super::Problem;

/// Takes out nulls of fields that are not nullable, as the API server does before it fills in defaults.
pub fn prune_nulls(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            let of_field = |name: &str| schema.pointer("/properties").and_then(|p| p.get(name));
            fields.retain(|name, value| {
                let nullable = of_field(name).is_none_or(|schema| schema["nullable"] == Value::Bool(true));
                !value.is_null() || nullable
            });
            for (name, value) in fields.iter_mut() {
                if let Some(schema) = of_field(name).or_else(|| schema.get("additionalProperties")) {
                    prune_nulls(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    prune_nulls(item, schema);
                }
            }
        }
        _ => {}
    }
}

/// What of `object` does not fit the schema.
pub fn check(object: &Value, schema: &Value) -> Vec<Problem> {
    let validator = jsonschema::options()
        .with_draft(Draft::Draft4)
        .with_pattern_options(PatternOptions::regex())
        .should_ignore_unknown_formats(true)
        .build(schema);
    match validator {
        Ok(validator) => validator
            .iter_errors(object)
            .map(|error| problem(&error))
            .collect(),
        Err(error) => vec![Problem::new(
            "",
            format!("the definition cannot be used: {error}; install this plugin again"),
        )],
    }
}

fn problem(error: &ValidationError<'_>) -> Problem {
    let field = path(error.instance_path().as_str());
    let value = error.instance();
    let invalid = |rule: String| format!("Invalid value: {value}: {field} in body {rule}");
    let text = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let field = if field.is_empty() {
                name.to_owned()
            } else {
                format!("{field}.{name}")
            };
            return Problem::new(field, "Required value");
        }
        ValidationErrorKind::Type { kind } => {
            let found = type_of(value);
            format!(
                "Invalid value: \"{found}\": {field} in body must be of type {}: \"{found}\"",
                wanted(kind)
            )
        }
        ValidationErrorKind::MinLength { limit } => invalid(format!("should be at least {limit} chars long")),
        ValidationErrorKind::MaxLength { limit } => format!("Too long: may not be more than {limit} bytes"),
        ValidationErrorKind::Pattern { pattern } => invalid(format!("should match '{pattern}'")),
        ValidationErrorKind::Minimum { limit } => {
            invalid(format!("should be greater than or equal to {}", number(limit)))
        }
        ValidationErrorKind::Maximum { limit } => {
            invalid(format!("should be less than or equal to {}", number(limit)))
        }
        ValidationErrorKind::MaxItems { limit } | ValidationErrorKind::MaxProperties { limit } => {
            format!("Too many: {}: must have at most {limit} items", count(value))
        }
        ValidationErrorKind::MinItems { limit } => invalid(format!("should have at least {limit} items")),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<_> = options
                .as_array()
                .into_iter()
                .flatten()
                .map(Value::to_string)
                .collect();
            format!(
                "Unsupported value: {value}: supported values: {}",
                options.join(", ")
            )
        }
        _ => format!("Invalid value: {value}: {error}"),
    };
    Problem::new(field, text)
}

fn wanted(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => several
            .iter()
            .map(|one| one.to_string())
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    }
}

/// The type of a value, as the API server calls it.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A limit as the API server writes it: whole numbers without a fraction.
fn number(limit: &Value) -> String {
    limit
        .as_f64()
        .map_or_else(|| limit.to_string(), |limit| limit.to_string())
}

/// `/spec/agentConfig/env/0/name` as `spec.agentConfig.env[0].name`.
pub fn path(pointer: &str) -> String {
    let mut text = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            text = format!("{text}[{segment}]");
        } else if text.is_empty() {
            text = segment;
        } else {
            text = format!("{text}.{segment}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_as_the_api_server_names_them() {
        assert_eq!(
            path("/spec/agentConfig/env/0/name"),
            "spec.agentConfig.env[0].name"
        );
        assert_eq!(path("/metadata/labels/a~1b"), "metadata.labels.a/b");
        assert_eq!(path(""), "");
    }
}
