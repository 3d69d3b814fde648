//! What an agent says, as readable lines. Every line starts with a word in brackets, or is indented: no text of the
//! agent can look like a line of ours.

use serde_json::Value;

use super::lines::Line;
use polecat_common::console::{cut, escape};

/// The most bytes that are shown of a text.
pub const MAX_TEXT: usize = 16 * 1024;
/// Of a tool's input.
pub const MAX_INPUT: usize = 400;
/// Of a tool's result.
pub const MAX_RESULT: usize = 600;

/// The most lines that are shown of each side of an edit, and of a result.
pub const MAX_LINES: usize = 12;

/// Reads what an agent writes to its standard output.
pub trait Transcript {
    /// The readable lines of one event.
    fn event(&mut self, event: &Value) -> Vec<String>;

    /// Whether the agent has written a result, so that nothing more is to come but another turn and its result.
    fn has_result(&self) -> bool;

    /// What the agent said went wrong, unless it said later that it went well after all.
    fn complaint(&self) -> Option<String>;

    /// The readable lines of one line.
    fn line(&mut self, line: &Line) -> Vec<String> {
        match event(line) {
            Ok(event) => self.event(&event),
            Err(shown) => vec![shown],
        }
    }
}

/// The event that a line is: an object with a type. What is none is shown as it is.
pub fn event(line: &Line) -> Result<Value, String> {
    let parsed = serde_json::from_slice::<Value>(&line.bytes).ok();
    let event = parsed.filter(|event| event.get("type").is_some_and(Value::is_string));
    event.ok_or_else(|| raw("output", line))
}

/// A line that is no event, shown as it is.
#[must_use]
pub fn raw(label: &str, line: &Line) -> String {
    let text = escape(&String::from_utf8_lossy(&line.bytes));
    let more = if line.left_out > 0 {
        format!("… ({} bytes more)", line.left_out)
    } else {
        String::new()
    };
    format!("[{label}] {}{more}", cut(&text, MAX_RESULT))
}

/// A field's text.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// A label in brackets and the first line, then the others indented.
pub fn paragraph(label: &str, text: &str, max_bytes: usize, max_lines: usize) -> Vec<String> {
    let mut lines = indented(text.trim_end(), "", max_bytes, max_lines);
    match lines.first_mut() {
        Some(first) => *first = format!("[{label}] {}", first.trim_start()),
        None => lines.push(format!("[{label}] (nothing)")),
    }
    lines
}

/// Lines that are indented, each after `mark`.
pub fn indented(text: &str, mark: &str, max_bytes: usize, max_lines: usize) -> Vec<String> {
    let all = text.lines().count();
    let text = cut(text, max_bytes);
    let mut lines: Vec<_> = text
        .lines()
        .take(max_lines)
        .map(|line| format!("    {mark}{}", escape(line).replace("\\t", "    ")))
        .collect();
    if all > lines.len() {
        lines.push(format!("    … ({} lines more)", all - lines.len()));
    }
    lines
}

/// A value in one line.
pub fn brief(value: &Value) -> String {
    cut(&escape(&value.to_string()), MAX_INPUT)
}

/// An event of a kind that is not known here, without what only programs need.
pub fn remarkable(event: &Value) -> String {
    let mut event = event.clone();
    if let Some(fields) = event.as_object_mut() {
        let plumbing =
            |name: &str| name.ends_with("id") || matches!(name, "type" | "subtype" | "output_file");
        fields.retain(|name, value| !plumbing(name) && !value.is_null());
    }
    brief(&event)
}

/// A name that stands in brackets: what the model or a server calls a thing is not trusted either.
pub fn label(name: &str) -> String {
    let kept = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c));
    kept.take(40).collect()
}

/// What the tests of every agent's transcript need.
#[cfg(test)]
pub mod testing {
    use super::{Line, Transcript};

    /// What is shown of an event.
    pub fn show(session: &mut impl Transcript, event: &str) -> Vec<String> {
        session.line(&Line {
            bytes: event.as_bytes().to_vec(),
            left_out: 0,
        })
    }

    /// Checks that no line that is shown of any `event` can look like one of ours.
    pub fn forges_nothing(session: &mut impl Transcript, events: &[&str]) {
        for event in events {
            for line in show(session, event) {
                assert!(
                    line.starts_with('[') || line.starts_with("    "),
                    "{event}: {line:?}"
                );
                assert!(!line.contains(['\n', '\r', '\u{1b}', '\u{2028}']), "{line:?}");
            }
        }
    }
}
