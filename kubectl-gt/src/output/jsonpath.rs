//! kubectl's `JSONPath` templates: text with expressions in braces. The expressions are RFC 9535 without its `$`, and
//! kubectl's quoted texts; `range` and `end` are not known.

use std::str::FromStr;

use jsonpath_rust::JsonPath as _;
use serde_json::Value;

use super::Output;

/// A template, checked.
#[derive(Clone, Debug)]
pub struct JsonPath {
    template: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Query(String),
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(template: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        // kubectl takes a template without braces for one expression.
        let whole = if template.contains('{') {
            template.to_owned()
        } else {
            format!("{{{template}}}")
        };
        let mut rest = whole.as_str();
        while let Some((text, after)) = rest.split_once('{') {
            if !text.is_empty() {
                parts.push(Part::Text(unescape(text)));
            }
            let end = closing(after).ok_or_else(|| {
                format!("{template:?} opens a brace that it does not close; add the \"}}\"")
            })?;
            parts.push(expression(after[..end].trim())?);
            rest = &after[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(unescape(rest)));
        }
        Ok(Self {
            template: template.to_owned(),
            parts,
        })
    }
}

/// Where the brace that is open ends; braces in quotes do not count.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (None, '}') => return Some(at),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    None
}

fn expression(text: &str) -> Result<Part, String> {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return Ok(Part::Text(unescape(inner)));
        }
    }
    if text == "end" || text.starts_with("range ") {
        return Err("range and end are not supported; use [*], or -o json with jq".to_owned());
    }
    let query = match text.strip_prefix('$') {
        Some(_) => text.to_owned(),
        None if text.starts_with('.') || text.starts_with('[') => format!("${text}"),
        None if text == "@" => "$".to_owned(),
        None => format!("$.{text}"),
    };
    let query = without_escapes(&query);
    if query != "$" {
        jsonpath_rust::parser::parse_json_path(&query).map_err(|_| {
            format!("{text:?} is no JSONPath; write one such as .metadata.name or .items[*].metadata.name")
        })?;
    }
    Ok(Part::Query(query))
}

/// kubectl escapes dots in names (`.metadata.labels.gastown\.io/rig`); RFC 9535 quotes such names.
fn without_escapes(query: &str) -> String {
    if !query.contains("\\.") {
        return query.to_owned();
    }
    let guarded = query.replace("\\.", "\u{0}");
    let mut written = String::new();
    for (count, segment) in guarded.split('.').enumerate() {
        if segment.contains('\u{0}') {
            let name = segment.replace('\u{0}', ".");
            written.push_str("['");
            written.push_str(&name);
            written.push_str("']");
        } else if count == 0 {
            written.push_str(segment);
        } else {
            written.push('.');
            written.push_str(segment);
        }
    }
    written
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

impl JsonPath {
    /// The text of the template for `value`: several results of one expression are separated by a space.
    pub fn evaluate(&self, value: &Value) -> Result<String, Output> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Query(query) => text.push_str(&self.query(query, value)?.join(" ")),
            }
        }
        Ok(text)
    }

    /// Whether the template asks one thing of each element of a list, so that a list can be looked at in pieces.
    pub fn is_of_each(&self) -> bool {
        let mut queries = self.queries();
        let each = |query: &str| {
            let starts = ["$.items[*]", "$.items[?"];
            starts.iter().any(|start| query.starts_with(start)) && !query[1..].contains('$')
        };
        queries.next().is_some_and(each) && queries.next().is_none()
    }

    /// What such a template finds in a piece of the list.
    pub fn find(&self, list: &Value) -> Result<Vec<String>, Output> {
        match self.queries().next() {
            Some(query) => self.query(query, list),
            None => Ok(Vec::new()),
        }
    }

    /// The text of such a template for all that was found.
    pub fn write(&self, found: &[String]) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(fixed) => fixed.clone(),
            Part::Query(_) => found.join(" "),
        });
        texts.collect()
    }

    fn queries(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Query(query) => Some(query.as_str()),
            Part::Text(_) => None,
        })
    }

    fn query(&self, query: &str, value: &Value) -> Result<Vec<String>, Output> {
        if query == "$" {
            return Ok(vec![show(value)]);
        }
        let found = value.query(query).map_err(|error| Output::Evaluate {
            template: self.template.clone(),
            why: error.to_string(),
        })?;
        Ok(found.into_iter().map(show).collect())
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn evaluate(template: &str) -> String {
        let value = json!({
            "items": [
                {"metadata": {"name": "a", "labels": {"gastown.io/rig": "demo"}}, "status": {"phase": "Done"}},
                {"metadata": {"name": "b"}, "status": {"phase": "Stuck"}},
            ],
            "count": 2,
        });
        let path: JsonPath = template.parse().unwrap();
        path.evaluate(&value).unwrap()
    }

    #[test]
    fn the_common_templates_of_kubectl_work() {
        assert_eq!(evaluate("{.items[*].metadata.name}"), "a b");
        assert_eq!(evaluate("{.items[0].status.phase}"), "Done");
        assert_eq!(evaluate("{.items[-1:].metadata.name}"), "b");
        assert_eq!(evaluate("{.count}{\"\\n\"}"), "2\n");
        assert_eq!(evaluate(".count"), "2");
        assert_eq!(evaluate("n={.count}, {.items[1].metadata.name}"), "n=2, b");
        assert_eq!(
            evaluate(r#"{.items[?(@.status.phase=="Stuck")].metadata.name}"#),
            "b"
        );
        assert_eq!(evaluate("{.items[0].metadata.labels.gastown\\.io/rig}"), "demo");
        assert_eq!(evaluate("{.missing.field}"), "");
    }

    #[test]
    fn a_template_of_each_element_finds_the_same_in_pieces() {
        let page =
            |from: u32| json!({"items": (from..from + 3).map(|n| json!({"n": n})).collect::<Vec<_>>()});
        let whole = json!({"items": (0..6).map(|n| json!({"n": n})).collect::<Vec<_>>()});
        for template in ["{.items[*].n}", "all: {.items[?(@.n > 1)].n}!", "{.items[*]}"] {
            let path: JsonPath = template.parse().unwrap();
            assert!(path.is_of_each(), "{template}");
            let found = [path.find(&page(0)).unwrap(), path.find(&page(3)).unwrap()].concat();
            assert_eq!(path.write(&found), path.evaluate(&whole).unwrap(), "{template}");
        }
        for template in [
            "{.items[0].n}",
            "{.items[*].n} {.items[*].n}",
            "{.items}",
            "n",
            "{@}",
        ] {
            let path: JsonPath = template.parse().unwrap();
            assert!(!path.is_of_each(), "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_a_remedy() {
        for (template, word) in [
            ("{.a", "close"),
            ("{range .items[*]}", "jq"),
            ("{.a[}", "no JSONPath"),
        ] {
            let error = template.parse::<JsonPath>().unwrap_err();
            assert!(error.contains(word), "{template}: {error}");
        }
    }
}
