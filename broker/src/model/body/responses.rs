//! Bodies of the Responses API.
//!
//! The lists hold what Codex 0.171.0 was seen to send, and what the API has that stays within the request.

use gastown_api::work_order::ModelOrder;
use serde_json::{Map, Value};

use super::super::error::Refusal;
use super::{Call, check_fields, check_spelling, model, refuse, shown, stream};

/// Top-level fields that pass. Not among them: `previous_response_id`, `conversation` and `prompt` (they name what the
/// provider has stored), `background`, `service_tier` (it has other prices than the table), and what a `LiteLLM` proxy
/// would take for itself.
const FIELDS: &[&str] = &[
    "model",
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "store",
    "stream",
    "stream_options",
    "include",
    "max_output_tokens",
    "temperature",
    "top_p",
    "truncation",
    "prompt_cache_key",
    "metadata",
    "client_metadata",
];

/// Tools that run in the pod. Every other type is run, or known, by the provider.
const TOOLS: &[&str] = &["function", "custom", "local_shell", "apply_patch"];

/// Items that contain only text of the conversation.
const PLAIN_ITEMS: &[&str] = &[
    "reasoning",
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "apply_patch_call",
    "tool_search_call",
    "compaction",
];

/// Items with the output of a tool.
const OUTPUT_ITEMS: &[&str] = &[
    "function_call_output",
    "custom_tool_call_output",
    "local_shell_call_output",
    "apply_patch_call_output",
];

/// Parts of a message that are text.
const PLAIN_PARTS: &[&str] = &[
    "input_text",
    "output_text",
    "text",
    "summary_text",
    "reasoning_text",
    "refusal",
];

/// Allowed values of `include`. The other values are results of the provider's own tools.
const INCLUDED: &[&str] = &["reasoning.encrypted_content", "message.output_text.logprobs"];

/// The output tokens to reserve if the request sets no limit (Codex never sets one): no model writes more.
const UNBOUNDED: u64 = 128_000;

/// Checks a body and parses the call.
pub(super) fn check(
    body: &Map<String, Value>,
    input_estimate: u64,
    order: &ModelOrder,
) -> Result<Call, Refusal> {
    check_fields(body, FIELDS, "")?;
    check_store(body.get("store"))?;
    check_include(body.get("include"))?;
    check_tools("tools", body.get("tools"))?;
    check_choice(body.get("tool_choice"))?;
    check_input(body.get("input"))?;
    Ok(Call {
        model: model(body, order)?,
        max_tokens: max_tokens(body.get("max_output_tokens"))?,
        stream: stream(body)?,
        one_hour: false,
        input_estimate,
    })
}

/// Without the field the provider would keep the conversation.
fn check_store(store: Option<&Value>) -> Result<(), Refusal> {
    if store == Some(&Value::Bool(false)) {
        Ok(())
    } else {
        Err(refuse("store", "must be false"))
    }
}

fn max_tokens(bound: Option<&Value>) -> Result<u64, Refusal> {
    match bound {
        None | Some(Value::Null) => Ok(UNBOUNDED),
        Some(bound) => bound
            .as_u64()
            .ok_or_else(|| refuse("max_output_tokens", "must be a whole number")),
    }
}

fn check_include(include: Option<&Value>) -> Result<(), Refusal> {
    each("include", include, |at, value| {
        let known = value.as_str().is_some_and(|name| INCLUDED.contains(&name));
        if known {
            Ok(())
        } else {
            Err(refuse(at, "this is not allowed here"))
        }
    })
}

/// A namespace is a list of tools with a name of its own.
fn check_tools(at: &str, tools: Option<&Value>) -> Result<(), Refusal> {
    each(at, tools, |at, tool| {
        check_spelling(at, tool)?;
        match kind(tool) {
            Some("namespace") => check_tools(&format!("{at}.tools"), tool.get("tools")),
            // A search of the agent's own tools; without it the provider searches the tools that it knows.
            Some("tool_search") if tool["execution"] == "client" => Ok(()),
            Some(kind) if TOOLS.contains(&kind) => Ok(()),
            kind => Err(refuse(
                at,
                &format!(
                    "only tools that run in the pod are allowed, not of type {}",
                    shown(kind.unwrap_or_default())
                ),
            )),
        }
    })
}

/// A keyword, or the name of a tool in the pod.
fn check_choice(choice: Option<&Value>) -> Result<(), Refusal> {
    match choice {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(choice) if kind(choice).is_some_and(|kind| TOOLS.contains(&kind)) => Ok(()),
        Some(_) => Err(refuse(
            "tool_choice",
            "must be a word or a tool that runs in the pod",
        )),
    }
}

fn check_input(input: Option<&Value>) -> Result<(), Refusal> {
    match input {
        Some(Value::String(_)) => Ok(()),
        input => each("input", input, check_item),
    }
}

fn check_item(at: &str, item: &Value) -> Result<(), Refusal> {
    check_spelling(at, item)?;
    let content = || check_content(&format!("{at}.content"), item.get("content"));
    match kind(item) {
        Some("additional_tools" | "tool_search_output") => {
            check_tools(&format!("{at}.tools"), item.get("tools"))
        }
        Some("message") => content(),
        None if item.get("type").is_none() && item.get("role").is_some() => content(),
        Some(kind) if OUTPUT_ITEMS.contains(&kind) => {
            check_content(&format!("{at}.output"), item.get("output"))
        }
        Some(kind) if PLAIN_ITEMS.contains(&kind) => content(),
        kind => Err(refuse(
            at,
            &format!(
                "items of type {} are not allowed here",
                shown(kind.unwrap_or_default())
            ),
        )),
    }
}

/// Text, or a list of parts.
fn check_content(at: &str, content: Option<&Value>) -> Result<(), Refusal> {
    match content {
        Some(Value::String(_)) => Ok(()),
        content => each(at, content, check_part),
    }
}

/// Images and files that are in the request itself; those with a URL or an id are fetched.
fn check_part(at: &str, part: &Value) -> Result<(), Refusal> {
    check_spelling(at, part)?;
    let fetched = |field: &str| part.get(field).is_some_and(|value| !value.is_null());
    let is_data = |field: &str| part[field].as_str().is_some_and(|url| url.starts_with("data:"));
    let allowed = match kind(part) {
        Some("input_image") => is_data("image_url") && !fetched("file_id"),
        Some("input_file") => fetched("file_data") && !fetched("file_id") && !fetched("file_url"),
        Some(kind) => {
            if !PLAIN_PARTS.contains(&kind) {
                let words = format!("parts of type {} are not allowed here", shown(kind));
                return Err(refuse(at, &words));
            }
            true
        }
        None => return Err(refuse(at, "must be an object with a type")),
    };
    if allowed {
        Ok(())
    } else {
        Err(refuse(at, "must hold the data itself, not a URL or a file id"))
    }
}

fn kind(value: &Value) -> Option<&str> {
    value.get("type").and_then(Value::as_str)
}

fn each(
    at: &str,
    list: Option<&Value>,
    check: impl Fn(&str, &Value) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    match list {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(items)) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| check(&format!("{at}.{index}"), item))
        }
        Some(_) => Err(refuse(at, "must be a list")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::endpoint::Endpoint;
    use super::super::{check, estimate};
    use super::*;
    use crate::fixture;

    fn order() -> ModelOrder {
        let mut order = fixture::order().role.model;
        order.allowed_models = vec!["gpt-*".to_owned()];
        order
    }

    fn ask(field: &str, value: Value) -> Result<Call, String> {
        let mut body = json!({"model": "gpt-x", "store": false, "input": "hi"});
        body[field] = value;
        let refused = |refusal: Refusal| refusal.message;
        check(body.to_string().as_bytes(), Endpoint::Responses, &order()).map_err(refused)
    }

    #[test]
    fn what_codex_sends_passes() {
        let body = json!({
            "model": "gpt-x", "instructions": "You are", "stream": true, "store": false,
            "tools": [
                {"type": "function", "name": "shell", "strict": false, "parameters": {"type": "object"}},
                {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark"}},
                {"type": "tool_search", "execution": "client", "parameters": {"type": "object"}},
            ],
            "tool_choice": "auto", "parallel_tool_calls": false,
            "reasoning": {"effort": "medium", "summary": "auto"}, "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "x", "text": {"verbosity": "low"},
            "client_metadata": {"session_id": "x"},
            "input": [
                {"type": "additional_tools", "id": "at", "role": "developer", "tools": [
                    {"type": "namespace", "name": "functions", "description": "", "tools": [
                        {"type": "custom", "name": "exec", "format": {"type": "grammar"}},
                        {"type": "function", "name": "wait", "strict": false},
                    ]},
                ]},
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "x"}]},
                {"role": "user", "content": "x"},
                {"type": "reasoning", "summary": [], "encrypted_content": "x"},
                {"type": "function_call", "name": "shell", "arguments": "{\"type\":\"mcp\"}", "call_id": "1"},
                {"type": "function_call_output", "call_id": "1", "output": "x"},
                {"type": "tool_search_call", "call_id": "2", "execution": "client", "arguments": {"query": "x"}},
                {"type": "tool_search_output", "call_id": "2", "execution": "client", "tools": [
                    {"type": "function", "name": "found"}]},
                {"type": "custom_tool_call_output", "call_id": "1", "output": [
                    {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
            ],
        });
        let bytes = body.to_string();
        let call = check(bytes.as_bytes(), Endpoint::Responses, &order()).unwrap();
        let expected = Call {
            model: "gpt-x".to_owned(),
            max_tokens: UNBOUNDED,
            stream: true,
            one_hour: false,
            input_estimate: estimate(bytes.len()),
        };
        assert_eq!(call, expected);
        assert_eq!(ask("max_output_tokens", json!(7)).unwrap().max_tokens, 7);
    }

    fn tools_that_are_refused() -> Vec<(&'static str, Value, &'static str)> {
        vec![
            ("tools", json!([{"type": "web_search"}]), "tools.0: "),
            (
                "tools",
                json!([{"type": "function"}, {"type": "mcp", "server_url": "http://x"}]),
                "tools.1: ",
            ),
            (
                "tools",
                json!([{"type": "namespace", "tools": [{"type": "mcp"}]}]),
                "tools.0.tools.0: ",
            ),
            ("tools", json!([{"type": "code_interpreter"}]), "tools.0: "),
            ("tools", json!([{"type": "tool_search"}]), "tools.0: "),
            (
                "tools",
                json!([{"type": "tool_search", "execution": "server"}]),
                "tools.0: ",
            ),
            ("tools", json!([{"type": ["function"]}]), "tools.0: "),
            ("tools", json!({}), "tools: "),
        ]
    }

    #[test]
    fn what_opens_the_network_the_store_or_the_budget_is_refused_by_name() {
        let message = |part: Value| json!([{"type": "message", "role": "user", "content": [part]}]);
        let cases = [
            ("store", json!(true), "store: "),
            ("store", json!(null), "store: "),
            ("previous_response_id", json!("x"), "\"previous_response_id\": "),
            ("conversation", json!("x"), "\"conversation\": "),
            ("background", json!(true), "\"background\": "),
            ("service_tier", json!("priority"), "\"service_tier\": "),
            (
                "prompt_cache_retention",
                json!("24h"),
                "\"prompt_cache_retention\": ",
            ),
            ("api_base", json!("http://evil"), "\"api_base\": "),
            ("model", json!("claude-x"), "model: \"claude-x\""),
            ("max_output_tokens", json!(-1), "max_output_tokens: "),
            ("stream", json!(1), "stream: "),
            ("include", json!(["file_search_call.results"]), "include.0: "),
            (
                "input",
                json!([{"type": "tool_search_output", "tools": [{"type": "mcp"}]}]),
                "input.0.tools.0: ",
            ),
            ("tool_choice", json!({"type": "mcp"}), "tool_choice: "),
            (
                "input",
                json!([{"type": "item_reference", "id": "x"}]),
                "input.0: ",
            ),
            ("input", json!([{"type": "mcp_approval_response"}]), "input.0: "),
            (
                "input",
                json!([{"type": "additional_tools", "tools": [{"type": "web_search"}]}]),
                "input.0.tools.0: ",
            ),
            ("input", json!([7]), "input.0: "),
            ("input", json!({}), "input: "),
            (
                "input",
                message(json!({"type": "input_image", "image_url": "http://x"})),
                "input.0.content.0: ",
            ),
            (
                "input",
                message(json!({"type": "input_image", "file_id": "x"})),
                "input.0.content.0: ",
            ),
            (
                "input",
                message(json!({"type": "input_file", "file_url": "http://x"})),
                "input.0.content.0: ",
            ),
            (
                "input",
                message(json!({"type": "input_file", "file_data": "x", "file_id": "x"})),
                "input.0.content.0: ",
            ),
            (
                "input",
                message(json!({"type": "input_audio"})),
                "input.0.content.0: ",
            ),
            ("input", message(json!("x")), "input.0.content.0: "),
            (
                "input",
                json!([{"type": "function_call_output", "output": [{"type": "input_image", "image_url": "http://x"}]}]),
                "input.0.output.0: ",
            ),
        ];
        for (field, value, named) in tools_that_are_refused().into_iter().chain(cases) {
            let error = ask(field, value.clone()).unwrap_err();
            assert!(error.starts_with(named), "{field} {value}: {error}");
        }
    }
}
