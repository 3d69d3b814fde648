//! Which bodies pass. A body is a path too: it can name a server to fetch from, another key, or a tool that the
//! provider runs with a network of its own.

use gastown_api::work_order::ModelOrder;
use serde_json::{Map, Value};

use super::error::Refusal;
use super::strict::Strict;

/// The most bytes of a request: what the Messages API takes.
pub(super) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Top-level keys that pass. `mcp_servers`, `container`, and what a LiteLLM proxy would take for itself (`api_base`,
/// `api_key`, `base_url`, …) are not among them.
const KEYS: &[&str] = &[
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "max_tokens",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "metadata",
    "thinking",
    "context_management",
    "output_config",
    "output_format",
    "service_tier",
    "speed",
    "diagnostics",
];

/// Tools that the agent itself carries out, by their type without the date; a tool without a type is one too.
const TOOL_TYPES: &[&str] = &["custom", "bash_", "text_editor_", "memory_"];

/// A request that may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The model.
    pub model: String,
    /// The most tokens it may write.
    pub max_tokens: u64,
    /// Whether the answer is a stream of events.
    pub stream: bool,
    /// Tokens that the request is taken for before the provider has counted them.
    pub input_estimate: u64,
}

/// Reads and checks the body of a request.
pub(super) fn check(bytes: &[u8], order: &ModelOrder) -> Result<Call, Refusal> {
    let Strict(body) = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::bad_request(format!("the body cannot be read as JSON: {error}")))?;
    let Value::Object(body) = body else {
        return Err(Refusal::bad_request("the body is no JSON object"));
    };
    if let Some(key) = body.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(Refusal::bad_request(format!(
            "{}: this field is not allowed here",
            shown(key)
        )));
    }
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    if !order.allows(model) {
        return Err(Refusal::bad_request(format!(
            "model: {} is not on the operator's list",
            shown(model)
        )));
    }
    if order.micros_left.is_some() && order.price(model).is_none() {
        return Err(Refusal::bad_request(format!(
            "model: {} has no price, and the budget is in dollars",
            shown(model)
        )));
    }
    check_tools(body.get("tools"))?;
    for key in ["messages", "system"] {
        check_sources(key, body.get(key))?;
    }
    Ok(Call {
        model: model.to_owned(),
        max_tokens: body.get("max_tokens").and_then(Value::as_u64).unwrap_or_default(),
        stream: body.get("stream").and_then(Value::as_bool).unwrap_or_default(),
        input_estimate: estimate(bytes.len()),
    })
}

/// English text and JSON have three to four bytes to a token; three errs on the dear side.
fn estimate(bytes: usize) -> u64 {
    u64::try_from(bytes / 3).unwrap_or(u64::MAX)
}

fn check_tools(tools: Option<&Value>) -> Result<(), Refusal> {
    let none = Vec::new();
    let tools = match tools {
        None | Some(Value::Null) => &none,
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(Refusal::bad_request("tools: not a list")),
    };
    for (index, tool) in tools.iter().enumerate() {
        let allowed = match tool.get("type") {
            None | Some(Value::Null) => true,
            Some(Value::String(kind)) => TOOL_TYPES.iter().any(|allowed| is_type(kind, allowed)),
            Some(_) => false,
        };
        if !allowed || !tool.is_object() {
            return Err(Refusal::bad_request(format!(
                "tools.{index}: only tools that run in the pod are allowed"
            )));
        }
    }
    Ok(())
}

/// `custom` is a whole type; `bash_` stands for `bash_20250124` and its like.
fn is_type(kind: &str, allowed: &str) -> bool {
    match kind.strip_prefix(allowed) {
        Some(rest) if allowed.ends_with('_') => rest.bytes().all(|b| b.is_ascii_digit()),
        Some(rest) => rest.is_empty(),
        None => false,
    }
}

/// Refuses every `source` that is not in the request itself, at whatever depth: what is in a tool's result counts too.
///
/// `serde_json` bounds the depth at 128, so the recursion is bounded.
fn check_sources(key: &str, value: Option<&Value>) -> Result<(), Refusal> {
    match value {
        Some(Value::Array(list)) => list.iter().try_for_each(|item| check_sources(key, Some(item))),
        Some(Value::Object(object)) => {
            if is_block(object) {
                check_block(key, object)?;
            }
            // A tool's input is the model's own words, and opaque to the provider.
            let opaque = object.get("type").and_then(Value::as_str) == Some("tool_use");
            let parts = object
                .iter()
                .filter(|(name, _)| !(opaque && name.as_str() == "input"));
            parts
                .into_iter()
                .try_for_each(|(_, part)| check_sources(key, Some(part)))
        }
        _ => Ok(()),
    }
}

fn is_block(object: &Map<String, Value>) -> bool {
    object.get("type").is_some_and(Value::is_string)
}

fn check_block(key: &str, block: &Map<String, Value>) -> Result<(), Refusal> {
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default();
    if [
        "mcp_",
        "server_tool",
        "web_",
        "code_execution",
        "bash_code",
        "container_upload",
    ]
    .iter()
    .any(|p| kind.starts_with(p))
    {
        return Err(Refusal::bad_request(format!(
            "{key}: blocks of type {} are not allowed here",
            shown(kind)
        )));
    }
    let source = block
        .get("source")
        .and_then(|source| source.get("type"))
        .and_then(Value::as_str);
    if matches!(source, Some("url" | "file")) {
        return Err(Refusal::bad_request(format!(
            "{key}: a source must be in the request, not a URL or a file id"
        )));
    }
    Ok(())
}

/// At most 80 characters, quoted.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::broker::fixture;

    fn ask(change: impl FnOnce(&mut Value)) -> Result<Call, String> {
        let mut body =
            json!({"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
        change(&mut body);
        check(body.to_string().as_bytes(), &fixture::order().model).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn an_ordinary_request_passes() {
        let call = ask(|body| body["stream"] = json!(true)).unwrap();
        assert_eq!(
            (call.model.as_str(), call.max_tokens, call.stream),
            ("claude-x", 100, true)
        );
    }

    #[test]
    fn what_opens_the_network_or_the_key_is_refused_by_name() {
        let image =
            |source: Value| json!([{"role": "user", "content": [{"type": "image", "source": source}]}]);
        let nested = json!([{"role": "user", "content": [{"type": "tool_result", "content": [
            {"type": "document", "source": {"type": "url", "url": "http://x"}}]}]}]);
        let cases: Vec<(&str, Value, &str)> = vec![
            ("mcp_servers", json!([]), "mcp_servers"),
            ("api_base", json!("http://evil"), "api_base"),
            ("api_key", json!("x"), "api_key"),
            ("container", json!("x"), "container"),
            ("model", json!("gpt-5"), "model"),
            ("model", json!(7), "model"),
            (
                "tools",
                json!([{"type": "web_search_20250305", "name": "web_search"}]),
                "tools.0",
            ),
            ("tools", json!([{"type": "custom2"}]), "tools.0"),
            ("tools", json!([{"type": "bash_x"}]), "tools.0"),
            ("tools", json!([5]), "tools.0"),
            ("tools", json!({}), "tools"),
            (
                "messages",
                image(json!({"type": "url", "url": "http://x"})),
                "source",
            ),
            (
                "messages",
                image(json!({"type": "file", "file_id": "x"})),
                "source",
            ),
            ("messages", nested, "source"),
            (
                "messages",
                json!([{"role": "user", "content": [{"type": "mcp_tool_use"}]}]),
                "mcp_tool_use",
            ),
        ];
        for (key, value, named) in cases {
            let error = ask(|body| body[key] = value.clone()).unwrap_err();
            assert!(error.contains(named), "{key} {value}: {error}");
        }
    }

    #[test]
    fn the_words_a_model_gave_to_a_tool_are_not_taken_for_blocks() {
        let input = json!({"type": "x", "source": {"type": "url"}});
        let messages = json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "Write", "input": input}]}]);
        assert!(ask(|body| body["messages"] = messages).is_ok());
    }

    #[test]
    fn garbage_is_refused_and_does_not_panic() {
        for bytes in [&b""[..], b"[]", b"null", b"{", &[0xff; 10], &b"[".repeat(100_000)] {
            assert!(check(bytes, &fixture::order().model).is_err());
        }
    }

    #[test]
    fn a_budget_in_dollars_wants_a_price() {
        let mut order = fixture::order().model;
        order.micros_left = Some(1);
        let error = check(br#"{"model":"claude-x"}"#, &order).unwrap_err();
        assert!(format!("{error:?}").contains("price"), "{error:?}");
    }
}
