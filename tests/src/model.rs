//! A scripted model: speaks the Messages API, and answers from files.
//!
//! A script is chosen by the marker `[[script:NAME]]` in the conversation, and its turn by the number of the model's own
//! messages in it, so that one server serves any number of polecats. Calls that offer no tools are not an agent's main
//! loop (titles, summaries, web pages): they get a plain answer.
//!
//! | path | is |
//! |---|---|
//! | `POST /v1/messages`, `POST /v1/messages/count_tokens` | the Messages API |
//! | `GET /requests` | every call so far, with the key as its digest |
//! | `PUT /scripts/NAME` | a script to add, or to put in the place of one, as YAML or JSON |
//! | `GET /scripts/NAME` | whether there is one, for whoever waits for it |

mod place;
mod reply;
mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path as InPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use gastown_crypto::sha256;
use serde::Serialize;
use serde_json::{Value, json};

pub use script::{LoadScripts, Script, Tool, Turn, UsageFigures};

/// The most bytes of conversations that are kept; later requests are kept without theirs.
const MOST_KEPT: usize = 32 << 20;

/// A request as it is kept for tests.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    /// What was asked for, such as `/v1/messages`.
    path: &'static str,
    /// The script that answered, if one did.
    script: Option<String>,
    /// The turn that answered.
    turn: usize,
    /// Whether the expected key came.
    key_fits: bool,
    /// Headers; values that are secret stand as their digest.
    headers: BTreeMap<String, String>,
    /// The body.
    body: Value,
}

/// The server's state.
#[derive(Debug, Default)]
pub struct Model {
    scripts: Mutex<BTreeMap<String, Script>>,
    key_file: Option<PathBuf>,
    seen: Mutex<Vec<Seen>>,
    kept: Mutex<usize>,
    /// How often each limited turn has answered, by conversation and turn.
    answered: Mutex<BTreeMap<(String, usize), u32>>,
}

/// What answers a call.
struct Chosen {
    script: Option<String>,
    number: usize,
    turn: Turn,
}

impl Model {
    /// Reads the scripts of a folder. With a key file, calls with another key are refused.
    pub fn load(scripts: &Path, key_file: Option<PathBuf>) -> Result<Self, LoadScripts> {
        Ok(Self {
            scripts: Mutex::new(script::load(scripts)?),
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
            .route("/scripts/{name}", put(put_script).get(has_script))
            .layer(DefaultBodyLimit::max(64 * 1024 * 1024))
            .with_state(Arc::new(self))
    }

    fn key_fits(&self, headers: &HeaderMap) -> bool {
        let Some(file) = &self.key_file else { return true };
        let expected = std::fs::read_to_string(file).unwrap_or_default();
        let given = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // A subscription's token comes as a bearer token, a key of the API in a header of its own.
        let bearer = given("authorization").and_then(|value| value.strip_prefix("Bearer "));
        given("x-api-key").or(bearer) == Some(expected.trim())
    }

    fn choose(&self, body: &Value) -> Chosen {
        let plain = |number, text: &str| Chosen {
            script: None,
            number,
            turn: Turn::saying(text),
        };
        let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let number = messages.iter().filter(|m| m["role"] == "assistant").count();
        if body["tools"].as_array().is_none_or(Vec::is_empty) {
            return plain(number, "Fine.");
        }
        let conversation = body["messages"].to_string();
        let scripts = lock(&self.scripts);
        let found = marker(&conversation).and_then(|name| scripts.get_key_value(name));
        let Some((name, script)) = found else {
            return plain(number, "There is no script for this.");
        };
        let turn = script.turns.get(number).cloned();
        let mut turn = turn.unwrap_or_else(|| Turn::saying("Done."));
        if let Some(unmet) = turn.unmet(messages.last()) {
            turn = Turn::saying(&unmet);
        }
        if self.is_used_up(body, number, &turn) {
            (turn.status, turn.hang) = (None, false);
        }
        if let Some(tool) = &mut turn.tool {
            place::fill(&mut tool.input, body);
        }
        Chosen {
            script: Some(name.clone()),
            number,
            turn,
        }
    }

    /// Counts a call of a turn that fails `times` calls of a conversation.
    fn is_used_up(&self, body: &Value, number: usize, turn: &Turn) -> bool {
        let Some(times) = turn.times else { return false };
        let conversation = format!("{}{}", body["metadata"]["user_id"], body["messages"][0]);
        let mut answered = lock(&self.answered);
        let count = answered.entry((conversation, number)).or_default();
        *count += 1;
        *count > times
    }

    fn remember(&self, path: &'static str, headers: &HeaderMap, body: Value, chosen: &Chosen) {
        let mut body = body;
        let mut kept = lock(&self.kept);
        *kept = kept.saturating_add(body.to_string().len());
        if *kept > MOST_KEPT
            && let Some(object) = body.as_object_mut()
        {
            object.retain(|key, _| !["messages", "system", "tools"].contains(&key.as_str()));
        }
        lock(&self.seen).push(Seen {
            path,
            script: chosen.script.clone(),
            turn: chosen.number,
            key_fits: self.key_fits(headers),
            headers: masked(headers),
            body,
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn masked(headers: &HeaderMap) -> BTreeMap<String, String> {
    let shown = headers.iter().map(|(name, value)| {
        let secret = ["x-api-key", "authorization", "proxy-authorization", "cookie"].contains(&name.as_str());
        let text = if secret {
            sha256(value.as_bytes()).to_string()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        (name.to_string(), text)
    });
    shown.collect()
}

async fn messages(State(model): State<Arc<Model>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "the body is no JSON",
        );
    };
    let Chosen { script, number, turn } = model.choose(&body);
    let name = body["model"].as_str().unwrap_or("unnamed").to_owned();
    let stream = body["stream"] == true;
    let chosen = Chosen { script, number, turn };
    model.remember("/v1/messages", &headers, body, &chosen);
    let (turn, number) = (chosen.turn, chosen.number);
    if !model.key_fits(&headers) {
        return error(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "invalid x-api-key",
        );
    }
    if turn.hang {
        std::future::pending::<()>().await;
    }
    if let Some(status) = turn.status {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = error(status, "scripted_error", "this answer is scripted");
        if let Some(seconds) = turn.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        return response;
    }
    reply::answer(&turn, number, &name, stream)
}

async fn count_tokens(State(model): State<Arc<Model>>, headers: HeaderMap, body: Bytes) -> Response {
    if !model.key_fits(&headers) {
        return error(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "invalid x-api-key",
        );
    }
    let tokens = body.len() / 4;
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "the body is no JSON",
        );
    };
    let chosen = model.choose(&body);
    model.remember("/v1/messages/count_tokens", &headers, body, &chosen);
    axum::Json(json!({"input_tokens": tokens})).into_response()
}

async fn put_script(State(model): State<Arc<Model>>, InPath(name): InPath<String>, body: Bytes) -> Response {
    match serde_yaml_ng::from_slice(&body) {
        Ok(script) => {
            lock(&model.scripts).insert(name, script);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(wrong) => error(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            &wrong.to_string(),
        ),
    }
}

async fn has_script(State(model): State<Arc<Model>>, InPath(name): InPath<String>) -> StatusCode {
    if lock(&model.scripts).contains_key(&name) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn requests(State(model): State<Arc<Model>>) -> Response {
    let seen = lock(&model.seen).clone();
    axum::Json(seen).into_response()
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
            scripts: Mutex::new(BTreeMap::from([("fix".to_owned(), script)])),
            ..Model::default()
        }
    }

    fn conversation(polecat: &str, assistants: usize) -> Value {
        let mut messages = vec![json!({"role": "user", "content": "please [[script:fix]]"})];
        for number in 0..assistants {
            messages.push(json!({"role": "assistant", "content": "…"}));
            messages.push(json!({"role": "user", "content": format!("result {number}")}));
        }
        json!({"messages": messages, "metadata": {"user_id": polecat}, "tools": [{"name": "Bash"}]})
    }

    #[test]
    fn the_turn_follows_from_the_conversation_alone() {
        let model = model("turns: [{say: one}, {say: two}]");
        let say = |assistants| model.choose(&conversation("nux", assistants)).turn.say.unwrap();
        assert_eq!((say(0), say(1)), ("one".to_owned(), "two".to_owned()));
        assert_eq!((say(0), say(7)), ("one".to_owned(), "Done.".to_owned()));
    }

    #[test]
    fn a_limited_error_is_answered_so_often_in_each_conversation() {
        let model = model("turns: [{status: 429, times: 1, say: fine}]");
        let status = |polecat| model.choose(&conversation(polecat, 0)).turn.status;
        assert_eq!((status("nux"), status("nux")), (Some(429), None));
        assert_eq!(status("slit"), Some(429));
    }

    #[test]
    fn a_turn_that_wants_a_result_says_when_it_did_not_come() {
        let model = model("turns: [{say: one}, {say: two, matches: result 0}, {say: three, matches: OK}]");
        let say = |assistants| model.choose(&conversation("nux", assistants)).turn.say.unwrap();
        assert_eq!(say(1), "two");
        assert!(say(2).contains("\"OK\""), "{}", say(2));
    }

    #[test]
    fn calls_without_a_marker_or_without_tools_get_a_plain_answer() {
        let model = model("turns: [{tool: {name: Bash, input: {}}}]");
        assert!(model.choose(&conversation("nux", 0)).turn.tool.is_some());
        let mut title = conversation("nux", 0);
        title["tools"] = json!([]);
        for body in [
            title,
            json!({"messages": [], "tools": [{"name": "Bash"}]}),
            json!({}),
        ] {
            let chosen = model.choose(&body);
            assert!(chosen.script.is_none() && chosen.turn.tool.is_none(), "{body}");
        }
    }

    #[test]
    fn a_key_is_kept_as_its_digest_only() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", "sk-secret".parse().unwrap());
        headers.insert("x-app", "cli".parse().unwrap());
        let masked = masked(&headers);
        assert_eq!(masked["x-api-key"], sha256(b"sk-secret").to_string());
        assert_eq!(masked["x-app"], "cli");
    }
}
