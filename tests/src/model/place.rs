//! Placeholders in the inputs of tools: what a script cannot know before.

use serde_json::Value;

/// Where Claude Code says in which folder it works.
const FOLDER: &str = "Primary working directory: ";

/// Puts `{{cwd}}` (the agent's folder) and `{{result}}` (the text of the last tool's result) in every string of `input`.
pub(super) fn fill(input: &mut Value, body: &Value) {
    match input {
        Value::String(text) => {
            if text.contains("{{cwd}}") {
                *text = text.replace("{{cwd}}", &folder(body));
            }
            if text.contains("{{result}}") {
                *text = text.replace("{{result}}", result(body));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| fill(item, body)),
        Value::Object(object) => object.values_mut().for_each(|value| fill(value, body)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// It stands in the system prompt, or with newer models in a message of the system.
fn folder(body: &Value) -> String {
    let texts = strings(&body["system"]).chain(strings(&body["messages"]));
    let after = texts
        .filter_map(|text| text.split_once(FOLDER))
        .map(|(_, rest)| rest);
    let mut folders = after.map(|rest| rest.lines().next().unwrap_or_default().trim().to_owned());
    folders.next().unwrap_or_else(|| ".".to_owned())
}

fn result(body: &Value) -> &str {
    let last = body["messages"].as_array().and_then(|all| all.last());
    let blocks = last.and_then(|last| last["content"].as_array());
    let result = blocks.and_then(|blocks| blocks.iter().rfind(|block| block["type"] == "tool_result"));
    let content = result.map_or(&Value::Null, |result| &result["content"]);
    let text = content.as_str().or_else(|| content[0]["text"].as_str());
    text.unwrap_or_default().trim_end()
}

fn strings(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(list) => Box::new(list.iter().flat_map(strings)),
        Value::Object(object) => Box::new(object.values().flat_map(strings)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn folder_and_result_are_put_in_at_any_depth() {
        let body = json!({
            "system": [{"type": "text", "text": "x"}],
            "messages": [
                {"role": "system", "content": "# Environment\n - Primary working directory: /w/repo\n - Platform: linux"},
                {"role": "user", "content": [{"type": "tool_result", "content": "abc\n"}]},
            ],
        });
        let mut input = json!({"a": ["{{cwd}}/x", 1], "b": "git show {{result}}"});
        fill(&mut input, &body);
        assert_eq!(input, json!({"a": ["/w/repo/x", 1], "b": "git show abc"}));
    }

    #[test]
    fn a_conversation_that_tells_nothing_leaves_nothing_behind() {
        let mut input = json!("{{cwd}}:{{result}}");
        fill(&mut input, &json!({}));
        assert_eq!(input, ".:");
    }
}
