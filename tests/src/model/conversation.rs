//! What decides which turn answers a call, whichever API it is of.

use serde_json::Value;

/// A call of the model.
#[derive(Debug)]
pub(super) struct Conversation<'a> {
    /// Everything that was said.
    pub text: String,
    /// How often the model has answered in it.
    pub answers: usize,
    /// The content that is to be answered.
    pub last: &'a Value,
    /// Whether tools are offered, as an agent's main loop does.
    pub has_tools: bool,
    /// What tells conversations of one script from each other.
    pub whose: String,
}

/// A call of the Messages API.
pub(super) fn of_messages(body: &Value) -> Conversation<'_> {
    let messages = list(&body["messages"]);
    Conversation {
        text: body["messages"].to_string(),
        answers: messages.iter().filter(|m| m["role"] == "assistant").count(),
        last: messages.last().map_or(&Value::Null, |last| &last["content"]),
        has_tools: !list(&body["tools"]).is_empty(),
        whose: format!("{}{}", body["metadata"]["user_id"], body["messages"][0]),
    }
}

/// A call of the Responses API, in which each turn of a script but the last gives one item to a tool, and gets one back.
pub(super) fn of_responses(body: &Value) -> Conversation<'_> {
    let input = list(&body["input"]);
    let outputs = || input.iter().filter(|item| item.get("output").is_some());
    let offered = |item: &Value| !list(&item["tools"]).is_empty();
    Conversation {
        text: body["input"].to_string(),
        answers: outputs().count(),
        last: outputs().next_back().map_or(&Value::Null, |item| &item["output"]),
        has_tools: offered(body) || input.iter().any(offered),
        whose: body["prompt_cache_key"].to_string(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_of_the_responses_api_is_read_by_what_tools_gave_back() {
        let body = json!({
            "prompt_cache_key": "x",
            "tools": [{"type": "function", "name": "shell"}],
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "[[script:fix]]"}]},
                {"type": "function_call", "call_id": "1", "name": "shell", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "1", "output": "OK"},
            ],
        });
        let read = of_responses(&body);
        assert_eq!((read.answers, read.has_tools), (1, true));
        assert_eq!(read.last, "OK");
        assert!(read.text.contains("[[script:fix]]"));
        let empty = json!({"input": "hi"});
        let read = of_responses(&empty);
        assert_eq!(
            (read.answers, read.has_tools, read.last),
            (0, false, &Value::Null)
        );
    }
}
