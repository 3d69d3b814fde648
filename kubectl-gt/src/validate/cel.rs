//! The CEL rules of the definitions. Rules about changes need an object before, and hold at creation.

use serde_json::Value;

use super::Problem;

/// The rules that `object` breaks.
pub fn check(object: &Value, schema: &Value) -> Vec<Problem> {
    match kube_cel::Validator::new().validate(schema, object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|error| problem(object, error)).collect(),
    }
}

fn problem(object: &Value, error: &kube_cel::ValidationError) -> Problem {
    let field = error.field_path.trim_start_matches('.').to_owned();
    let value = object.pointer(&pointer(&field)).filter(|_| !field.is_empty());
    let text = match value {
        Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
            format!("Invalid value: {value}: {}", error.message)
        }
        _ => format!("Invalid value: {}", error.message),
    };
    Problem::new(field, text)
}

/// `spec.env[0].name` as `/spec/env/0/name`.
fn pointer(field: &str) -> String {
    let mut pointer = String::from("/");
    for character in field.chars() {
        match character {
            '.' | '[' => pointer.push('/'),
            ']' => {}
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
    pointer
}
