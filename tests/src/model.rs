//! A scripted model: speaks the Messages API and the Responses API, and answers from files.
//!
//! A script is chosen by the marker `[[script:NAME]]` in the conversation, and its turn by the number of the model's own
//! messages in it, so that one server serves any number of polecats. Calls that offer no tools are not an agent's main
//! loop (titles, summaries, web pages): they get a plain answer.
//!
//! | path | is |
//! |---|---|
//! | `POST /v1/messages`, `POST /v1/messages/count_tokens` | the Messages API |
//! | `POST /v1/responses` | the Responses API |
//! | `GET /requests` | every call so far, with the key as its digest |
//! | `PUT /scripts/NAME` | a script to add, or to put in the place of one, as YAML or JSON |
//! | `GET /scripts/NAME` | whether there is one, for whoever waits for it |

mod conversation;
mod place;
mod reply;
mod responses;
mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path as InPath, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use gastown_crypto::sha256;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use conversation::Conversation;
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
            .route("/v1/responses", post(responses))
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

    fn choose(&self, conversation: &Conversation, body: &Value) -> Chosen {
        let number = conversation.answers;
        let plain = |text: &str| Chosen {
            script: None,
            number,
            turn: Turn::saying(text),
        };
        if !conversation.has_tools {
            return plain("Fine.");
        }
        let scripts = self.scripts.lock();
        let found = marker(&conversation.text).and_then(|name| scripts.get_key_value(name));
        let Some((name, script)) = found else {
            return plain("There is no script for this.");
        };
        let turn = script.turns.get(number).cloned();
        let mut turn = turn.unwrap_or_else(|| Turn::saying("Done."));
        if let Some(unmet) = turn.unmet(conversation.last) {
            turn = Turn::saying(&unmet);
        }
        if self.is_used_up(conversation, &turn) {
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
    fn is_used_up(&self, conversation: &Conversation, turn: &Turn) -> bool {
        let Some(times) = turn.times else { return false };
        let mut answered = self.answered.lock();
        let of_the_turn = (conversation.whose.clone(), conversation.answers);
        let count = answered.entry(of_the_turn).or_default();
        *count += 1;
        *count > times
    }

    fn remember(&self, path: &'static str, headers: &HeaderMap, body: Value, chosen: &Chosen) {
        let mut body = body;
        let mut kept = self.kept.lock();
        *kept = kept.saturating_add(body.to_string().len());
        if *kept > MOST_KEPT
            && let Some(object) = body.as_object_mut()
        {
            object.retain(|key, _| !["messages", "system", "tools"].contains(&key.as_str()));
        }
        self.seen.lock().push(Seen {
            path,
            script: chosen.script.clone(),
            turn: chosen.number,
            key_fits: self.key_fits(headers),
            headers: masked(headers),
            body,
        });
    }
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
    let asked = ask(&model, "/v1/messages", conversation::of_messages, &headers, &body).await;
    asked.map_or_else(
        |refused| refused,
        |asked| reply::answer(&asked.turn, asked.number, &asked.model, asked.stream),
    )
}

async fn responses(State(model): State<Arc<Model>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked = ask(
        &model,
        "/v1/responses",
        conversation::of_responses,
        &headers,
        &body,
    )
    .await;
    asked.map_or_else(
        |refused| refused,
        |asked| responses::answer(&asked.turn, asked.number, &asked.model),
    )
}

/// A call that is to be answered.
struct Asked {
    turn: Turn,
    number: usize,
    model: String,
    stream: bool,
}

/// What both APIs have in common, up to the answer: the key, and what a script says besides an answer.
async fn ask(
    model: &Model,
    path: &'static str,
    read: impl FnOnce(&Value) -> Conversation<'_>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Asked, Response> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Err(no_json());
    };
    let chosen = model.choose(&read(&body), &body);
    let name = body["model"].as_str().unwrap_or("unnamed").to_owned();
    let stream = body["stream"] == true;
    model.remember(path, headers, body, &chosen);
    if !model.key_fits(headers) {
        return Err(no_key());
    }
    let Chosen { number, turn, .. } = chosen;
    if turn.hang {
        std::future::pending::<()>().await;
    }
    match turn.status {
        Some(status) => Err(refusal(status, &turn)),
        None => Ok(Asked {
            turn,
            number,
            model: name,
            stream,
        }),
    }
}

/// An answer other than success, as a turn describes it.
fn refusal(status: u16, turn: &Turn) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = error(status, "scripted_error", "this answer is scripted");
    let headers = response.headers_mut();
    if let Some(seconds) = turn.retry_after {
        headers.insert("retry-after", seconds.into());
    }
    if let Some(seconds) = turn.window_resets_in {
        let reset = jiff::Timestamp::now().as_second() + i64::from(seconds);
        let of_the_window = |name| HeaderName::from_static(name);
        headers.insert(
            of_the_window("anthropic-ratelimit-unified-status"),
            HeaderValue::from_static("rejected"),
        );
        headers.insert(
            of_the_window("anthropic-ratelimit-unified-representative-claim"),
            HeaderValue::from_static("five_hour"),
        );
        headers.insert(of_the_window("anthropic-ratelimit-unified-reset"), reset.into());
    }
    response
}

async fn count_tokens(State(model): State<Arc<Model>>, headers: HeaderMap, body: Bytes) -> Response {
    if !model.key_fits(&headers) {
        return no_key();
    }
    let tokens = body.len() / 4;
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return no_json();
    };
    let chosen = model.choose(&conversation::of_messages(&body), &body);
    model.remember("/v1/messages/count_tokens", &headers, body, &chosen);
    axum::Json(json!({"input_tokens": tokens})).into_response()
}

async fn put_script(State(model): State<Arc<Model>>, InPath(name): InPath<String>, body: Bytes) -> Response {
    match serde_yaml_ng::from_slice(&body) {
        Ok(script) => {
            model.scripts.lock().insert(name, script);
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
    if model.scripts.lock().contains_key(&name) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn requests(State(model): State<Arc<Model>>) -> Response {
    let seen = model.seen.lock().clone();
    axum::Json(seen).into_response()
}

/// The NAME of the first `[[script:NAME]]`.
fn marker(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("[[script:")?;
    Some(rest.split_once("]]")?.0)
}

fn no_key() -> Response {
    error(
        StatusCode::UNAUTHORIZED,
        "authentication_error",
        "invalid x-api-key",
    )
}

fn no_json() -> Response {
    error(
        StatusCode::BAD_REQUEST,
        "invalid_request_error",
        "the body is no JSON",
    )
}

fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    let body = json!({"type": "error", "error": {"type": kind, "message": message}});
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
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

    fn choose(model: &Model, body: &Value) -> Chosen {
        model.choose(&conversation::of_messages(body), body)
    }

    #[test]
    fn the_turn_follows_from_the_conversation_alone() {
        let model = model("turns: [{say: one}, {say: two}]");
        let say = |assistants| choose(&model, &conversation("nux", assistants)).turn.say.unwrap();
        assert_eq!((say(0), say(1)), ("one".to_owned(), "two".to_owned()));
        assert_eq!((say(0), say(7)), ("one".to_owned(), "Done.".to_owned()));
    }

    #[test]
    fn a_limited_error_is_answered_so_often_in_each_conversation() {
        let model = model("turns: [{status: 429, times: 1, say: fine}]");
        let status = |polecat| choose(&model, &conversation(polecat, 0)).turn.status;
        assert_eq!((status("nux"), status("nux")), (Some(429), None));
        assert_eq!(status("slit"), Some(429));
    }

    #[test]
    fn a_turn_that_wants_a_result_says_when_it_did_not_come() {
        let model = model("turns: [{say: one}, {say: two, matches: result 0}, {say: three, matches: OK}]");
        let say = |assistants| choose(&model, &conversation("nux", assistants)).turn.say.unwrap();
        assert_eq!(say(1), "two");
        assert!(say(2).contains("\"OK\""), "{}", say(2));
    }

    #[test]
    fn calls_without_a_marker_or_without_tools_get_a_plain_answer() {
        let model = model("turns: [{tool: {name: Bash, input: {}}}]");
        assert!(choose(&model, &conversation("nux", 0)).turn.tool.is_some());
        let mut title = conversation("nux", 0);
        title["tools"] = json!([]);
        for body in [
            title,
            json!({"messages": [], "tools": [{"name": "Bash"}]}),
            json!({}),
        ] {
            let chosen = choose(&model, &body);
            assert!(chosen.script.is_none() && chosen.turn.tool.is_none(), "{body}");
        }
    }

    #[test]
    fn a_used_up_window_says_when_it_resets() {
        let turn = Turn {
            window_resets_in: Some(60),
            ..Turn::default()
        };
        let headers = refusal(429, &turn).headers().clone();
        assert_eq!(headers["anthropic-ratelimit-unified-status"], "rejected");
        let reset = headers["anthropic-ratelimit-unified-reset"].to_str().unwrap();
        let left = reset.parse::<i64>().unwrap() - jiff::Timestamp::now().as_second();
        assert!((0..=60).contains(&left), "{left}");
    }

    #[test]
    fn a_key_fits_as_an_api_key_and_as_a_bearer() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-1\n").unwrap();
        let model = Model {
            key_file: Some(file.path().to_owned()),
            ..Model::default()
        };
        let fits = |name: &'static str, value: &'static str| {
            let value = HeaderValue::from_static(value);
            model.key_fits(&HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
        };
        assert!(fits("x-api-key", "sk-1") && fits("authorization", "Bearer sk-1"));
        assert!(
            !fits("x-api-key", "sk-2")
                && !fits("authorization", "sk-1")
                && !model.key_fits(&HeaderMap::new())
        );
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
