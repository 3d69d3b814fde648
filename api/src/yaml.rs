//! YAML that every reader reads alike.
//!
//! kubectl and helm still read YAML 1.1, where a plain `yes`, `on` or `n` is a truth value and `1_000` a number. A writer
//! of YAML 1.2 leaves such texts plain, and `enum: [yes]` becomes `enum: [true]` on the cluster.

use serde_json::{Map, Value};

/// Writes `value` with every text quoted that YAML 1.1 takes for something else.
pub fn to_string(value: &Value) -> Result<String, serde_yaml_ng::Error> {
    let plain = serde_yaml_ng::to_string(value)?;
    let mark = mark_for(&plain);
    let marked = serde_yaml_ng::to_string(&marked(value, &mark))?;
    let mut parts = marked.split(mark.as_str());
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (quoted, rest) = part.split_at(part.find(|letter| !is_plain(letter)).unwrap_or(part.len()));
        text.push('"');
        text.push_str(quoted);
        text.push('"');
        text.push_str(rest);
    }
    Ok(text)
}

/// A word that `text` does not hold, and that a writer leaves plain.
fn mark_for(text: &str) -> String {
    let mut mark = "QUOTED".to_owned();
    while text.contains(&mark) {
        mark.push('D');
    }
    mark
}

fn marked(value: &Value, mark: &str) -> Value {
    let text = |text: &str| {
        if is_read_otherwise(text) {
            format!("{mark}{text}")
        } else {
            text.to_owned()
        }
    };
    match value {
        Value::String(given) => Value::String(text(given)),
        Value::Array(items) => items.iter().map(|item| marked(item, mark)).collect(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (text(name), marked(value, mark)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

/// Whether YAML 1.1, as Go's reader has it, takes the plain text for a truth value (<https://yaml.org/type/bool.html>) or,
/// without its underscores, for a number.
fn is_read_otherwise(text: &str) -> bool {
    let words = ["y", "yes", "n", "no", "on", "off"];
    let number = |text: &str| {
        text.starts_with(|letter: char| letter.is_ascii_digit() || "+-.".contains(letter))
            && text.contains('_')
            && text.chars().all(is_plain)
    };
    words.iter().any(|word| word.eq_ignore_ascii_case(text)) || number(text)
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_.+-".contains(letter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_that_yaml_1_1_takes_for_something_else_is_quoted() {
        for text in [
            "yes", "No", "ON", "off", "y", "N", "1_000", "-0b1_0", "true", "null", "0777", "1e3", "",
        ] {
            let written = to_string(&json!({ "text": text })).unwrap();
            let quoted = written == format!("text: \"{text}\"\n") || written == format!("text: '{text}'\n");
            assert!(quoted, "{written}");
        }
    }

    #[test]
    fn a_name_and_an_item_are_quoted_as_a_field_is() {
        let written = to_string(&json!({"on": ["yes", "yes sir"], "plain": {"n": 1}})).unwrap();
        assert_eq!(written, "\"on\":\n- \"yes\"\n- yes sir\nplain:\n  \"n\": 1\n");
    }

    #[test]
    fn what_is_written_is_read_as_it_was_also_where_the_mark_is_part_of_it() {
        let value = json!({
            "task": "say\n- yes\nQUOTED: on\n",
            "QUOTEDD": "QUOTEDyes",
            "no": [true, 1, 1.5, null, "x_y", "2026-01-01", "off"],
        });
        let written = to_string(&value).unwrap();
        assert_eq!(serde_yaml_ng::from_str::<Value>(&written).unwrap(), value);
        assert!(
            written.contains("\n  - yes\n"),
            "a text's own lines stay: {written}"
        );
    }
}
