//! kubectl's `JSONPath` templates: text with expressions in braces. The expressions are RFC 9535 without its `$`, kubectl's
//! quoted texts, and `range` with its `end`. A list is what kubectl has (`.items[*]`) and what `-o json` prints (`[*]`).

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
    /// For each that the query finds, the parts, of which it is the root.
    Range(String, Vec<Self>),
}

/// The kind of an expression.
enum Expression {
    Part(Part),
    Range(String),
    End,
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(template: &str) -> Result<Self, String> {
        // The template, and what of it stands outside of each range that is open.
        let mut parts = Vec::new();
        let mut open: Vec<(String, Vec<Part>)> = Vec::new();
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
            match expression(after[..end].trim())? {
                Expression::Part(part) => parts.push(part),
                Expression::Range(query) => open.push((query, std::mem::take(&mut parts))),
                Expression::End => {
                    let (query, outside) = open.pop().ok_or_else(|| {
                        format!("{template:?} has an {{end}} without a {{range …}}; take it out")
                    })?;
                    let inside = std::mem::replace(&mut parts, outside);
                    parts.push(Part::Range(query, inside));
                }
            }
            rest = &after[end + 1..];
        }
        if !open.is_empty() {
            return Err(format!(
                "{template:?} has a {{range …}} without an end; add \"{{end}}\""
            ));
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

fn expression(text: &str) -> Result<Expression, String> {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return Ok(Expression::Part(Part::Text(unescape(inner))));
        }
    }
    if text == "end" {
        return Ok(Expression::End);
    }
    match text.strip_prefix("range ") {
        Some(over) => query(over.trim()).map(Expression::Range),
        None => query(text).map(|query| Expression::Part(Part::Query(query))),
    }
}

/// Translates kubectl's query into the RFC's.
fn query(text: &str) -> Result<String, String> {
    let path = text.strip_prefix(['$', '@']).unwrap_or(text);
    let query = if path.starts_with('[') || path.is_empty() {
        format!("${path}")
    } else if let Some(index) = path.strip_prefix(".[") {
        format!("$[{index}")
    } else {
        format!("$.{}", path.strip_prefix('.').unwrap_or(path))
    };
    // kubectl writes the root as a dot, too.
    let query = if query == "$." {
        "$".to_owned()
    } else {
        without_escapes(&query)
    };
    if query != "$" {
        jsonpath_rust::parser::parse_json_path(&query).map_err(|_| {
            format!("{text:?} is no JSONPath; write one such as .metadata.name or .items[*].metadata.name")
        })?;
    }
    Ok(query)
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
        self.write_parts(&self.parts, value, &mut text)?;
        Ok(text)
    }

    fn write_parts(&self, parts: &[Part], value: &Value, text: &mut String) -> Result<(), Output> {
        for part in parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Query(query) => text.push_str(&self.query(query, value)?.join(" ")),
                Part::Range(query, inside) => {
                    for element in self.values(query, value)? {
                        self.write_parts(inside, element, text)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the template asks one thing of each element of a list, so that a list can be looked at in pieces.
    pub fn is_of_each(&self) -> bool {
        let is_range = |part: &Part| matches!(part, Part::Range(..));
        if self.parts.iter().any(is_range) {
            return false;
        }
        let mut queries = self.queries();
        let each = |query: &str| {
            let starts = ["$.items[*]", "$.items[?", "$[*]", "$[?"];
            starts.iter().any(|start| query.starts_with(start)) && !query[1..].contains('$')
        };
        queries.next().is_some_and(each) && queries.next().is_none()
    }

    /// The results of such a template in one piece of the list.
    pub fn find(&self, list: &Value) -> Result<Vec<String>, Output> {
        match self.queries().next() {
            Some(query) => self.query(query, list),
            None => Ok(Vec::new()),
        }
    }

    /// The text of such a template for all results.
    pub fn write(&self, found: &[String]) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(fixed) => fixed.clone(),
            Part::Query(_) | Part::Range(..) => found.join(" "),
        });
        texts.collect()
    }

    fn queries(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Query(query) => Some(query.as_str()),
            Part::Text(_) | Part::Range(..) => None,
        })
    }

    fn query(&self, query: &str, value: &Value) -> Result<Vec<String>, Output> {
        Ok(self.values(query, value)?.into_iter().map(show).collect())
    }

    fn values<'a>(&self, query: &str, value: &'a Value) -> Result<Vec<&'a Value>, Output> {
        if query == "$" {
            return Ok(vec![value]);
        }
        let value = if asks_an_array(query) && value["kind"] == "List" {
            &value["items"]
        } else {
            value
        };
        value.query(query).map_err(|error| Output::Evaluate {
            template: self.template.clone(),
            why: error.to_string(),
        })
    }
}

/// Whether a query is of the elements of an array, as `-o json` prints lists: `$[*]`, `$[0]`, `$[?@.a]`, and not `$['a']`.
fn asks_an_array(query: &str) -> bool {
    let of_array = |rest: &str| !rest.starts_with(['\'', '"']);
    query.strip_prefix("$[").is_some_and(of_array)
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
    fn a_list_is_asked_as_kubectl_does_and_as_json_prints_it() {
        let list = super::super::list_of(vec![
            json!({"metadata": {"name": "a"}, "tags": ["x", "y"]}),
            json!({"metadata": {"name": "b"}, "tags": []}),
        ]);
        let of = |template: &str| template.parse::<JsonPath>().unwrap().evaluate(&list).unwrap();
        for (template, wanted) in [
            ("{[*].metadata.name}", "a b"),
            ("{.[*].metadata.name}", "a b"),
            ("{$[*].metadata.name}", "a b"),
            ("{[0].metadata.name}", "a"),
            ("{[?(@.metadata.name==\"b\")].metadata.name}", "b"),
            ("{['items'][1].metadata.name}", "b"),
            ("{.items[*].metadata.name}", "a b"),
            (
                r#"{range .items[*]}{.metadata.name}{"\t"}{.tags[*]}{"\n"}{end}"#,
                "a\tx y\nb\t\n",
            ),
            ("{range [*]}{@.metadata.name},{end}", "a,b,"),
            ("{range .items[*]}{range .tags[*]}<{@}>{end};{end}!", "<x><y>;;!"),
        ] {
            assert_eq!(of(template), wanted, "{template}");
        }
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
            "{range .items[*]}{.n}{end}",
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
            ("{range .items[*]}", "{end}"),
            ("{.a}{end}", "range"),
            ("{range [}{end}", "no JSONPath"),
            ("{.a[}", "no JSONPath"),
        ] {
            let error = template.parse::<JsonPath>().unwrap_err();
            assert!(error.contains(word), "{template}: {error}");
        }
    }
}
