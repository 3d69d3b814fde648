//! Writes an answer as the Messages API does, as events or as one document.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::script::{Turn, UsageFigures};

/// The answer of `turn`, the `number`-th of its conversation.
pub(super) fn answer(turn: &Turn, number: usize, model: &str, stream: bool) -> Response {
    if stream {
        events(turn, number, model)
    } else {
        document(turn, number, model)
    }
}

fn document(turn: &Turn, number: usize, model: &str) -> Response {
    let body = json!({
        "id": format!("msg_{number}"), "type": "message", "role": "assistant", "model": model,
        "content": blocks(turn, number), "stop_reason": stop_reason(turn), "stop_sequence": null,
        "usage": usage(turn.usage),
    });
    axum::Json(body).into_response()
}

fn blocks(turn: &Turn, number: usize) -> Vec<Value> {
    let text = turn
        .say
        .as_ref()
        .map(|text| json!({"type": "text", "text": text}));
    let tool = turn.tool.as_ref().map(|tool| json!({"type": "tool_use", "id": format!("toolu_{number}"), "name": tool.name, "input": tool.input}));
    text.into_iter().chain(tool).collect()
}

fn stop_reason(turn: &Turn) -> &str {
    let usual = if turn.tool.is_some() {
        "tool_use"
    } else {
        "end_turn"
    };
    turn.stop.as_deref().unwrap_or(usual)
}

fn usage(figures: UsageFigures) -> Value {
    let mut usage = json!({
        "input_tokens": figures.input_tokens, "output_tokens": figures.output_tokens,
        "cache_creation_input_tokens": figures.cache_write_tokens, "cache_read_input_tokens": figures.cache_read_tokens,
    });
    if let Some(one_hour) = figures.one_hour_tokens {
        let short = figures.cache_write_tokens.saturating_sub(one_hour);
        usage["cache_creation"] =
            json!({"ephemeral_1h_input_tokens": one_hour, "ephemeral_5m_input_tokens": short});
    }
    usage
}

/// A stream begins with one output token and tells the rest in its last `message_delta`, as the real one does.
fn events(turn: &Turn, number: usize, model: &str) -> Response {
    let mut first = usage(turn.usage);
    first["output_tokens"] = json!(1);
    let message = json!({
        "id": format!("msg_{number}"), "type": "message", "role": "assistant", "model": model,
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": first,
    });
    let mut all = vec![
        json!({"type": "message_start", "message": message}),
        json!({"type": "ping"}),
    ];
    for (index, block) in blocks(turn, number).into_iter().enumerate() {
        all.extend(block_events(index, &block));
    }
    let delta = json!({"stop_reason": stop_reason(turn), "stop_sequence": null});
    all.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": turn.usage.output_tokens}}));
    all.push(json!({"type": "message_stop"}));
    if turn.abort {
        all.truncate(3);
    }
    let pause = Duration::from_millis(turn.slow);
    let chunks = futures::stream::iter(all).then(move |event| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let kind = event["type"].as_str().unwrap_or_default();
        Ok::<_, Infallible>(format!("event: {kind}\ndata: {event}\n\n"))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let kind = axum::http::HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert("content-type", kind);
    response
}

fn block_events(index: usize, block: &Value) -> Vec<Value> {
    let (start, delta) = if block["type"] == "text" {
        (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": block["text"]}),
        )
    } else {
        let start = json!({"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}});
        (
            start,
            json!({"type": "input_json_delta", "partial_json": block["input"].to_string()}),
        )
    };
    vec![
        json!({"type": "content_block_start", "index": index, "content_block": start}),
        json!({"type": "content_block_delta", "index": index, "delta": delta}),
        json!({"type": "content_block_stop", "index": index}),
    ]
}
