//! Writes an answer as the Responses API does, as events: no agent was seen to ask for less.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::script::{Tool, Turn, UsageFigures};

/// The answer of `turn`, the `number`-th of its conversation.
pub(super) fn answer(turn: &Turn, number: usize, model: &str) -> Response {
    let mut stream = String::new();
    for event in events(turn, number, model) {
        let kind = event["type"].as_str().unwrap_or_default();
        stream.extend(["event: ", kind, "\ndata: ", &event.to_string(), "\n\n"]);
    }
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], stream).into_response()
}

fn events(turn: &Turn, number: usize, model: &str) -> Vec<Value> {
    let id = format!("resp_{number}");
    let response =
        json!({"id": id, "object": "response", "model": model, "status": "in_progress", "output": []});
    let mut all = vec![json!({"type": "response.created", "response": response})];
    let items = items(turn, number);
    let each = items.iter().enumerate();
    all.extend(each.map(
        |(index, item)| json!({"type": "response.output_item.done", "output_index": index, "item": item}),
    ));
    let response = json!({
        "id": id, "object": "response", "model": model, "status": "completed", "output": items, "usage": usage(turn.usage),
    });
    all.push(json!({"type": "response.completed", "response": response}));
    all
}

fn items(turn: &Turn, number: usize) -> Vec<Value> {
    let text = turn.say.as_ref().map(|text| {
        json!({
            "type": "message", "id": format!("msg_{number}"), "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        })
    });
    let tool = turn.tool.as_ref().map(|tool| call(tool, number));
    text.into_iter().chain(tool).collect()
}

/// A function takes arguments as JSON, a custom tool takes a text.
fn call(tool: &Tool, number: usize) -> Value {
    let (id, call_id, name) = (format!("tc_{number}"), format!("call_{number}"), &tool.name);
    let mut call = json!({"id": id, "call_id": call_id, "name": name, "status": "completed"});
    if let Value::String(text) = &tool.input {
        (call["type"], call["input"]) = (json!("custom_tool_call"), json!(text));
    } else {
        (call["type"], call["arguments"]) = (json!("function_call"), json!(tool.input.to_string()));
    }
    call
}

/// Tokens read from the cache count among the input there.
fn usage(figures: UsageFigures) -> Value {
    let input = figures.input_tokens + figures.cache_read_tokens;
    json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": figures.cache_read_tokens},
        "output_tokens": figures.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input + figures.output_tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_items_and_ends_with_its_usage() {
        let turn: Turn = serde_json::from_value(json!({
            "say": "I look.", "tool": {"name": "shell", "input": {"command": ["ls"]}},
        }))
        .unwrap();
        let all = events(&turn, 2, "gpt-x");
        let kinds: Vec<_> = all.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            [
                "response.created",
                "response.output_item.done",
                "response.output_item.done",
                "response.completed"
            ]
        );
        assert_eq!(all[2]["item"]["type"], "function_call");
        assert_eq!(all[2]["item"]["arguments"], r#"{"command":["ls"]}"#);
        assert_eq!(all[3]["response"]["usage"]["input_tokens"], 1500);
    }

    #[test]
    fn a_tool_whose_input_is_a_text_is_a_custom_one() {
        let tool = Tool {
            name: "exec".to_owned(),
            input: json!("text(1)"),
        };
        let call = call(&tool, 0);
        assert_eq!(
            (&call["type"], &call["input"]),
            (&json!("custom_tool_call"), &json!("text(1)"))
        );
    }
}
