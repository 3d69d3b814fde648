//! Bodies of the Messages API.
//!
//! The lists hold what Claude Code 2.1.330 was seen to send, and what the API has that stays within the request.

use gastown_api::work_order::ModelOrder;
use serde_json::{Map, Value};

use super::super::endpoint::Endpoint;
use super::super::error::Refusal;
use super::{Call, check_fields, check_spelling, model, refuse, shown, stream};

/// Top-level fields that pass. Not among them: `mcp_servers`, `container`, `speed`, `service_tier` and `inference_geo`
/// (they have other prices than the table), and what a `LiteLLM` proxy would take for itself (`api_base`, `api_key`, `base_url`, …).
const FIELDS: &[&str] = &[
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
];

/// Fields of a message that pass. `tool_changes` is not among them: it defines tools.
const MESSAGE_FIELDS: &[&str] = &["role", "content", "output_config"];

/// Blocks that hold nothing but words of this conversation.
const PLAIN_BLOCKS: &[&str] = &[
    "text",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_reference",
    "tool_removal",
    "search_result",
];

/// Sources that are in the request itself; `url` and `file` are fetched.
const SOURCES: &[&str] = &["base64", "text", "content"];

/// Checks a body and reads what the call is.
pub(super) fn check(
    body: &Map<String, Value>,
    input_estimate: u64,
    endpoint: Endpoint,
    order: &ModelOrder,
) -> Result<Call, Refusal> {
    check_fields(body, FIELDS, "")?;
    check_metadata(body.get("metadata"))?;
    check_tools(body.get("tools"))?;
    check_edits(body.get("context_management"))?;
    check_messages(body.get("messages"))?;
    check_content("system", body.get("system"))?;
    Ok(Call {
        model: model(body, order)?,
        max_tokens: max_tokens(body, endpoint)?,
        stream: stream(body)?,
        one_hour: body.values().any(stays_an_hour),
        input_estimate,
    })
}

/// Whether a `cache_control` at any depth, which the parser bounds, asks for more than five minutes.
fn stays_an_hour(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let longer = name == "cache_control" && value.get("ttl").is_some_and(|ttl| ttl != "5m");
            longer || stays_an_hour(value)
        }),
        Value::Array(items) => items.iter().any(stays_an_hour),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Without it some servers write as much as they like, which no reservation would cover.
fn max_tokens(body: &Map<String, Value>, endpoint: Endpoint) -> Result<u64, Refusal> {
    match (endpoint, body.get("max_tokens").and_then(Value::as_u64)) {
        (Endpoint::CountTokens, _) => Ok(0),
        (_, Some(tokens)) => Ok(tokens),
        (_, None) => Err(refuse("max_tokens", "must be a whole number")),
    }
}

/// `LiteLLM` reads routes and settings of its own from here; Claude Code says who asks, and nothing else.
fn check_metadata(metadata: Option<&Value>) -> Result<(), Refusal> {
    match metadata {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(fields)) => check_fields(fields, &["user_id"], "metadata."),
        Some(_) => Err(refuse("metadata", "must be an object")),
    }
}

fn check_tools(tools: Option<&Value>) -> Result<(), Refusal> {
    match tools {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(tools)) => {
            let mut tools = tools.iter().enumerate();
            tools.try_for_each(|(index, tool)| check_tool(&format!("tools.{index}"), Some(tool)))
        }
        Some(_) => Err(refuse("tools", "must be a list")),
    }
}

/// A tool of the agent has no type, or `custom`; every other type is run, or known, by the provider.
fn check_tool(at: &str, tool: Option<&Value>) -> Result<(), Refusal> {
    check_spelling(at, tool.unwrap_or(&Value::Null))?;
    let tool = tool.and_then(Value::as_object);
    let tool = tool.ok_or_else(|| refuse(at, "must be an object"))?;
    match tool.get("type") {
        None | Some(Value::Null) => Ok(()),
        Some(kind) if kind == "custom" => Ok(()),
        Some(kind) => {
            let kind = kind.as_str().map_or_else(|| kind.to_string(), shown);
            Err(refuse(
                at,
                &format!("only tools that run in the pod are allowed, not of type {kind}"),
            ))
        }
    }
}

/// Clearing what was said is free; other edits, such as compaction, make the model write what `usage` does not sum up.
fn check_edits(management: Option<&Value>) -> Result<(), Refusal> {
    let edits = match management {
        None | Some(Value::Null) => return Ok(()),
        Some(management) => management.get("edits").and_then(Value::as_array),
    };
    for object in edits.into_iter().flatten().chain(management) {
        check_spelling("context_management", object)?;
    }
    let clears = |edit: &Value| {
        edit["type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("clear_"))
    };
    if edits.is_none_or(|edits| edits.iter().all(clears)) {
        Ok(())
    } else {
        Err(refuse(
            "context_management.edits",
            "only edits that clear are allowed",
        ))
    }
}

fn check_messages(messages: Option<&Value>) -> Result<(), Refusal> {
    let messages = match messages {
        None => return Ok(()),
        Some(messages) => messages.as_array(),
    };
    let messages = messages.ok_or_else(|| refuse("messages", "must be a list"))?;
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages.{index}");
        let message = message.as_object();
        let message = message.ok_or_else(|| refuse(&at, "must be an object"))?;
        check_fields(message, MESSAGE_FIELDS, &format!("{at}."))?;
        check_content(&format!("{at}.content"), message.get("content"))?;
    }
    Ok(())
}

/// Text, or a list of blocks. `serde_json` bounds the depth at 128, so the recursion is bounded.
fn check_content(at: &str, content: Option<&Value>) -> Result<(), Refusal> {
    match content {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(Value::Array(blocks)) => {
            let mut blocks = blocks.iter().enumerate();
            blocks.try_for_each(|(index, block)| check_block(&format!("{at}.{index}"), block))
        }
        Some(_) => Err(refuse(at, "must be text or a list of blocks")),
    }
}

fn check_block(at: &str, block: &Value) -> Result<(), Refusal> {
    check_spelling(at, block)?;
    let kind = block.get("type").and_then(Value::as_str);
    match kind.ok_or_else(|| refuse(at, "must be an object with a type"))? {
        "image" | "document" => check_source(&format!("{at}.source"), block.get("source")),
        "tool_addition" => check_addition(&format!("{at}.tool"), block.get("tool")),
        kind if kind == "tool_result" || PLAIN_BLOCKS.contains(&kind) => Ok(()),
        kind => Err(refuse(
            at,
            &format!("blocks of type {} are not allowed here", shown(kind)),
        )),
    }?;
    // Whichever it is: a server may look for blocks where the API has none.
    check_content(&format!("{at}.content"), block.get("content"))
}

fn check_source(at: &str, source: Option<&Value>) -> Result<(), Refusal> {
    check_spelling(at, source.unwrap_or(&Value::Null))?;
    let kind = source
        .and_then(|source| source.get("type"))
        .and_then(Value::as_str);
    if kind.is_some_and(|kind| SOURCES.contains(&kind)) {
        check_content(
            &format!("{at}.content"),
            source.and_then(|source| source.get("content")),
        )
    } else {
        Err(refuse(at, "must hold the data itself, not a URL or a file id"))
    }
}

/// A tool that joins in the middle of the conversation.
fn check_addition(at: &str, tool: Option<&Value>) -> Result<(), Refusal> {
    let tool = tool.unwrap_or(&Value::Null);
    check_spelling(at, tool)?;
    match tool["type"].as_str() {
        Some("tool_reference") => Ok(()),
        Some("tool_definition") => check_tool(&format!("{at}.definition"), tool.get("definition")),
        _ => Err(refuse(at, "must be a tool_reference or a tool_definition")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{check, estimate};
    use super::{Call, Endpoint, ModelOrder, Value};
    use crate::fixture;

    fn read(bytes: &[u8], order: &ModelOrder) -> Result<Call, String> {
        check(bytes, Endpoint::Messages, order).map_err(|refusal| refusal.message)
    }

    fn ask(field: &str, value: Value) -> Result<Call, String> {
        let mut body =
            json!({"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
        body[field] = value;
        read(body.to_string().as_bytes(), &fixture::order().role.model)
    }

    fn blocks(content: &Value) -> Value {
        json!([{"role": "user", "content": content}])
    }

    #[test]
    fn what_claude_code_sends_passes() {
        let body = json!({
            "model": "claude-x", "max_tokens": 128_000, "stream": true,
            "metadata": {"user_id": "{}"},
            "thinking": {"type": "adaptive", "display": "updates"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "medium"},
            "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
            "tools": [
                {"name": "Bash", "description": "d", "input_schema": {"type": "object"}},
                {"name": "DeferredToolPlaceholder", "input_schema": {}, "defer_loading": true},
                {"type": "custom", "name": "x", "input_schema": {}},
            ],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "x"}]},
                {"role": "system", "content": "# Environment", "output_config": {"effort": "medium"}},
                {"role": "system", "content": [
                    {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "x"}},
                    {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"name": "y"}}},
                    {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "x"}},
                ]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "", "signature": ""},
                    {"type": "tool_use", "id": "1", "name": "Read", "input": {"type": "x", "source": {"type": "url"}}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "1", "is_error": false, "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}},
                        {"type": "tool_reference", "tool_name": "x"},
                    ]},
                    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": ""}]}},
                ]},
            ],
        });
        let bytes = body.to_string();
        let call = read(bytes.as_bytes(), &fixture::order().role.model).unwrap();
        let expected = Call {
            model: "claude-x".to_owned(),
            max_tokens: 128_000,
            stream: true,
            one_hour: false,
            input_estimate: estimate(bytes.len()),
        };
        assert_eq!(call, expected);
    }

    #[test]
    fn fields_and_tools_that_open_the_network_the_key_or_the_budget_are_refused_by_name() {
        let cases = [
            ("mcp_servers", json!([]), "\"mcp_servers\""),
            ("api_base", json!("http://evil"), "\"api_base\""),
            ("api_key", json!("x"), "\"api_key\""),
            ("container", json!("x"), "\"container\""),
            ("speed", json!("fast"), "\"speed\""),
            ("service_tier", json!("auto"), "\"service_tier\""),
            ("inference_geo", json!("us"), "\"inference_geo\""),
            (
                "cache_control",
                json!({"type": "ephemeral", "ttl": "1h"}),
                "\"cache_control\"",
            ),
            (
                "model",
                json!("claude-x/../gpt-5"),
                "model: \"claude-x/../gpt-5\"",
            ),
            (
                "metadata",
                json!({"user_id": "x", "tags": ["y"]}),
                "metadata.\"tags\"",
            ),
            ("metadata", json!("x"), "metadata: "),
            (
                "tools",
                json!([{"name": "x", "Type": "web_search_20250305"}]),
                "tools.0.\"Type\": ",
            ),
            (
                "context_management",
                json!({"edits": [], "Edits": [{"type": "compact_20260112"}]}),
                "context_management.\"Edits\": ",
            ),
            ("model", json!("gpt-5"), "model: \"gpt-5\""),
            ("model", json!(7), "model: "),
            ("max_tokens", json!(null), "max_tokens: "),
            ("max_tokens", json!(-1), "max_tokens: "),
            ("stream", json!("true"), "stream: "),
            (
                "tools",
                json!([{}, {"type": "web_search_20250305", "name": "x"}]),
                "tools.1: ",
            ),
            (
                "tools",
                json!([{"type": "bash_20250124", "name": "bash"}]),
                "tools.0: ",
            ),
            ("tools", json!([{"type": ["custom"]}]), "tools.0: "),
            ("tools", json!([5]), "tools.0: "),
            ("tools", json!({}), "tools: "),
            (
                "context_management",
                json!({"edits": [{"type": "compact_20260112"}]}),
                "context_management.edits: ",
            ),
            (
                "system",
                json!([{"type": "document", "source": {"type": "url"}}]),
                "system.0.source: ",
            ),
            ("messages", json!("x"), "messages: "),
            ("messages", json!([7]), "messages.0: "),
            (
                "messages",
                json!([{"role": "system", "tool_changes": []}]),
                "messages.0.\"tool_changes\": ",
            ),
        ];
        for (field, value, named) in cases {
            let error = ask(field, value.clone()).unwrap_err();
            assert!(error.starts_with(named), "{field} {value}: {error}");
        }
    }

    #[test]
    fn blocks_that_the_provider_would_fetch_or_run_are_refused_at_any_depth() {
        let image = |source: Value| json!([{"type": "image", "source": source}]);
        let nested = json!([{"type": "tool_result", "content": [
            {"type": "document", "source": {"type": "url", "url": "http://x"}}]}]);
        let content = json!([{"type": "document", "source": {"type": "content", "content": [
            {"type": "image", "source": {"type": "url"}}]}}]);
        let defined = |definition: Value| {
            json!([{"type": "tool_addition",
            "tool": {"type": "tool_definition", "definition": definition}}])
        };
        let cases = [
            (
                image(json!({"type": "url", "url": "http://x"})),
                "messages.0.content.0.source: ",
            ),
            (
                image(json!({"type": "file", "file_id": "x"})),
                "messages.0.content.0.source: ",
            ),
            (
                json!([{"type": "image", "source": {"type": "base64"}, "Source": {"type": "url"}}]),
                "messages.0.content.0.\"Source\": ",
            ),
            (
                image(json!({"type": "base64", "data": "", "TYPE": "url", "url": "http://x"})),
                "messages.0.content.0.source.\"TYPE\": ",
            ),
            (
                json!([{"type": "image", "source": {"type": "base64"}, "\u{17f}ource": {"type": "url"}}]),
                "messages.0.content.0.",
            ),
            (
                json!([{"type": "text", "text": "x", "content": [{"type": "image", "source": {"type": "url"}}]}]),
                "messages.0.content.0.content.0.source: ",
            ),
            (image(json!({"type": ["url"]})), "messages.0.content.0.source: "),
            (image(json!("http://x")), "messages.0.content.0.source: "),
            (nested, "messages.0.content.0.content.0.source: "),
            (content, "messages.0.content.0.source.content.0.source: "),
            (json!([{"type": "mcp_tool_use"}]), "messages.0.content.0: "),
            (
                json!([{"type": "container_upload", "file_id": "x"}]),
                "messages.0.content.0: ",
            ),
            (json!([{"type": 7}]), "messages.0.content.0: "),
            (json!([{"source": {"type": "url"}}]), "messages.0.content.0: "),
            (json!(7), "messages.0.content: "),
            (
                defined(json!({"type": "web_fetch_20250910"})),
                "messages.0.content.0.tool.definition: ",
            ),
            (
                json!([{"type": "tool_addition", "tool": {"type": "mcp_toolset"}}]),
                "messages.0.content.0.tool: ",
            ),
        ];
        for (content, named) in cases {
            let error = ask("messages", blocks(&content)).unwrap_err();
            assert!(error.starts_with(named), "{content}: {error}");
        }
    }

    #[test]
    fn a_cache_for_an_hour_is_seen_wherever_it_is_asked_for() {
        let text = |ttl: &str| json!([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}}]);
        assert!(ask("system", text("1h")).unwrap().one_hour);
        assert!(!ask("system", text("5m")).unwrap().one_hour);
        let tool = json!([{"name": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
        assert!(ask("tools", tool).unwrap().one_hour);
        let result = json!([{"type": "tool_result", "content": text("1h")}]);
        assert!(ask("messages", blocks(&result)).unwrap().one_hour);
    }

    #[test]
    fn garbage_is_refused_and_does_not_panic() {
        for bytes in [&b""[..], b"[]", b"null", b"{", &[0xff; 10], &b"[".repeat(100_000)] {
            assert!(read(bytes, &fixture::order().role.model).is_err());
        }
    }

    #[test]
    fn counting_tokens_needs_no_bound() {
        let body = br#"{"model":"claude-x","messages":[]}"#;
        assert!(check(body, Endpoint::CountTokens, &fixture::order().role.model).is_ok());
        assert!(read(body, &fixture::order().role.model).is_err());
    }

    #[test]
    fn a_budget_in_dollars_wants_a_price() {
        let mut order = fixture::order().role.model;
        order.micros_left = Some(1);
        let error = read(br#"{"model":"claude-x","max_tokens":1}"#, &order).unwrap_err();
        assert!(error.contains("price"), "{error}");
    }
}
