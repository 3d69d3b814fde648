//! A scripted model: speaks the Messages API, and answers from files.
//!
//! A script is chosen by the marker `[[script:NAME]]` in the conversation, and its turn by the number of the model's own
//! messages in it, so that one server serves any number of polecats without a memory of them.

mod reply;
mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Value, json};

pub use script::{LoadScripts, Script, Tool, Turn, UsageFigures};

/// A request as it is kept for tests.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    /// The script that answered, if one did.
    script: Option<String>,
    /// The turn that answered.
    turn: usize,
    /// Whether the expected key came; the key itself is not kept.
    key_fits: bool,
    /// Names of headers, without values.
    headers: Vec<String>,
    /// The body without the conversation.
    body: Value,
}

/// The server's state.
#[derive(Debug, Default)]
pub struct Model {
    scripts: BTreeMap<String, Script>,
    key_file: Option<PathBuf>,
    seen: Mutex<Vec<Seen>>,
    /// How often each limited turn has answered.
    answered: Mutex<BTreeMap<(String, usize), u32>>,
}

impl Model {
    /// Reads the scripts of a folder. With a key file, calls with another key are refused.
    pub fn load(scripts: &Path, key_file: Option<PathBuf>) -> Result<Self, LoadScripts> {
        Ok(Self {
            scripts: script::load(scripts)?,
            key_file,
            ..Self::default()
        })
    }

    /// The service.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/messages", post(messages))
            .route("/v1/messages/count_tokens", post(count_tokens))
            .route("/requests", get(requests))
            .layer(DefaultBodyLimit::max(64 * 1024 * 1024))
            .with_state(Arc::new(self))
    }

    fn key_fits(&self, headers: &HeaderMap) -> bool {
        let Some(file) = &self.key_file else { return true };
        let expected = std::fs::read_to_string(file).unwrap_or_default();
        headers.get("x-api-key").and_then(|key| key.to_str().ok()) == Some(expected.trim())
    }

    /// The turn for a conversation. A turn that answers `times` calls only falls through to the same turn without its
    /// status afterwards.
    fn choose(&self, body: &Value) -> (Option<String>, usize, Turn) {
        let conversation = body["messages"].to_string();
        let name = marker(&conversation)
            .filter(|name| self.scripts.contains_key(*name))
            .map(str::to_owned);
        let turn = body["messages"]
            .as_array()
            .map_or(0, |all| all.iter().filter(|m| m["role"] == "assistant").count());
        let Some(script) = name.as_ref().and_then(|name| self.scripts.get(name)) else {
            return (None, turn, Turn::saying("There is no script for this."));
        };
        let mut chosen = script
            .turns
            .get(turn)
            .cloned()
            .unwrap_or_else(|| Turn::saying("Done."));
        if let (Some(name), Some(times)) = (&name, chosen.times) {
            let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            let count = answered.entry((name.clone(), turn)).or_default();
            *count += 1;
            if *count > times {
                (chosen.status, chosen.hang) = (None, false);
            }
        }
        (name, turn, chosen)
    }
}

async fn messages(State(model): State<Arc<Model>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "the body is no JSON",
        );
    };
    let key_fits = model.key_fits(&headers);
    let (script, turn, chosen) = model.choose(&body);
    remember(
        &model,
        Seen {
            script,
            turn,
            key_fits,
            headers: headers.keys().map(ToString::to_string).collect(),
            body: without_conversation(&body),
        },
    );
    if !key_fits {
        return error(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "invalid x-api-key",
        );
    }
    if chosen.hang {
        std::future::pending::<()>().await;
    }
    if let Some(status) = chosen.status {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = error(status, "scripted_error", "this answer is scripted");
        if let Some(seconds) = chosen.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        return response;
    }
    let stream = body["stream"] == true;
    let name = body["model"].as_str().unwrap_or("unnamed");
    reply::answer(&chosen, turn, name, stream)
}

async fn count_tokens(State(model): State<Arc<Model>>, headers: HeaderMap, body: Bytes) -> Response {
    if !model.key_fits(&headers) {
        return error(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "invalid x-api-key",
        );
    }
    axum::Json(json!({"input_tokens": body.len() / 4})).into_response()
}

async fn requests(State(model): State<Arc<Model>>) -> Response {
    let seen = model.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    axum::Json(seen).into_response()
}

fn remember(model: &Model, seen: Seen) {
    let mut all = model.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() < 10_000 {
        all.push(seen);
    }
}

fn without_conversation(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(object) = body.as_object_mut() {
        object.remove("messages");
        object.remove("system");
        object.remove("tools");
    }
    body
}

/// The NAME of the first `[[script:NAME]]`.
fn marker(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("[[script:")?;
    Some(rest.split_once("]]")?.0)
}

fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    let body = json!({"type": "error", "error": {"type": kind, "message": message}});
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        "content-type",
        axum::http::HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(script: &str) -> Model {
        let script: Script = serde_yaml_ng::from_str(script).unwrap();
        Model {
            scripts: BTreeMap::from([("fix".to_owned(), script)]),
            ..Model::default()
        }
    }

    fn conversation(assistants: usize) -> Value {
        let mut messages = vec![json!({"role": "user", "content": "please [[script:fix]]"})];
        for _ in 0..assistants {
            messages.push(json!({"role": "assistant", "content": "…"}));
            messages.push(json!({"role": "user", "content": "…"}));
        }
        json!({"messages": messages})
    }

    #[test]
    fn the_turn_follows_from_the_conversation_alone() {
        let model = model("turns: [{say: one}, {say: two}]");
        let say = |assistants| model.choose(&conversation(assistants)).2.say;
        assert_eq!((say(0), say(1)), (Some("one".to_owned()), Some("two".to_owned())));
        assert_eq!(say(0), Some("one".to_owned()));
        assert_eq!(say(7), Some("Done.".to_owned()));
    }

    #[test]
    fn a_limited_error_is_answered_so_often_and_then_the_turn_goes_on() {
        let model = model("turns: [{status: 429, times: 1, say: fine}]");
        assert_eq!(model.choose(&conversation(0)).2.status, Some(429));
        assert_eq!(model.choose(&conversation(0)).2.status, None);
    }

    #[test]
    fn a_conversation_without_a_marker_gets_a_plain_answer() {
        let (script, _, turn) = model("turns: []").choose(&json!({"messages": []}));
        assert!(script.is_none() && turn.tool.is_none());
    }
}
