//! The proxy as a whole: a real client on one side, an upstream that answers as each test wants on the other.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use gastown_api::usage::Usage;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::broker::fixture;

const KEY: &str = "sk-ant-0123456789";

/// A proxy at work, and what it keeps.
struct Trial {
    address: std::net::SocketAddr,
    record: Record,
    folder: TempDir,
}

impl Trial {
    /// Puts a proxy before an upstream that answers its calls with `answer`, of which it gets the number.
    async fn start<F>(
        change: impl FnOnce(&mut ModelOrder),
        answer: impl Fn(usize, Request) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let calls = Arc::new(AtomicUsize::new(0));
        let upstream = bind().await;
        let endpoint = format!("http://{}", upstream.local_addr().unwrap());
        let router =
            Router::new().fallback(move |request| answer(calls.fetch_add(1, Ordering::SeqCst), request));
        tokio::spawn(async move { axum::serve(upstream, router).await });
        Self::before(endpoint, change).await
    }

    /// Puts a proxy before whatever is at `endpoint`.
    async fn before(endpoint: String, change: impl FnOnce(&mut ModelOrder)) -> Self {
        drop(gastown_crypto::install());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ANTHROPIC_API_KEY"), format!("{KEY}\n")).unwrap();
        let mut work = fixture::order();
        work.model.endpoint = endpoint;
        change(&mut work.model);
        let record = Record::open(folder.path(), folder.path().join("t"), &work).unwrap();
        record.enter(BrokerState::Serving);
        let listener = bind().await;
        let address = listener.local_addr().unwrap();
        let context = Context {
            order: work.model,
            record: record.clone(),
            places: Places {
                secret: folder.path().to_owned(),
                api_key: folder.path().join("api-key"),
            },
            proxy: None,
            system_roots: Path::new("/dev/null").to_owned(),
            listener,
        };
        tokio::spawn(async move { serve(context).await.unwrap() });
        Self {
            address,
            record,
            folder,
        }
    }

    async fn begin(&self, body: &Value) -> http::Response<Incoming> {
        self.begin_at("/v1/messages?beta=true", body).await
    }

    async fn begin_at(&self, path: &str, body: &Value) -> http::Response<Incoming> {
        let request = http::Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/json")
            .header("x-api-key", "dummy")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        client.request(request).await.unwrap()
    }

    async fn ask(&self, stream: bool) -> (StatusCode, String) {
        let response = self.begin(&body(stream)).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// Puts a secret's key in, as the kubelet does, or takes it away.
    fn secret(&self, key: &str, text: Option<&str>) {
        let path = self.folder.path().join(key);
        match text {
            Some(text) => std::fs::write(path, text).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }

    /// Waits until the attempt is parked, and says why.
    async fn parked(&self) -> (Reason, String, Option<jiff::Timestamp>) {
        let mut states = self.record.watch();
        let parked = states.wait_for(|state| matches!(state, BrokerState::Parked { .. }));
        let state = tokio::time::timeout(Duration::from_secs(30), parked).await;
        match state.unwrap().unwrap().clone() {
            BrokerState::Parked {
                reason,
                message,
                until,
            } => (reason, message, until),
            state => panic!("{state:?}"),
        }
    }

    /// Waits until `call`, which is not answered before, parks the attempt, and says why.
    async fn parks<T: std::fmt::Debug>(
        &self,
        call: impl Future<Output = T>,
    ) -> (Reason, String, Option<jiff::Timestamp>) {
        tokio::select! {
            parked = self.parked() => parked,
            answer = call => panic!("{answer:?}"),
        }
    }

    /// Waits until so many calls are settled.
    async fn settled(&self, requests: u64) -> Usage {
        for _ in 0..500 {
            if self.record.spent().0.requests >= requests {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.record.spent().0
    }

    fn state(&self) -> BrokerState {
        self.record.evidence().state
    }
}

/// Claude Code's file with a token that is good until `expires`.
fn credentials(token: &str, expires: jiff::Timestamp) -> String {
    let oauth = json!({"accessToken": token, "refreshToken": "sk-ant-ort01-x", "expiresAt": expires.as_millisecond()});
    json!({"claudeAiOauth": oauth}).to_string()
}

fn in_hours(hours: i64) -> jiff::Timestamp {
    jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Where nothing listens, yet.
async fn nowhere() -> std::net::SocketAddr {
    bind().await.local_addr().unwrap()
}

fn body(stream: bool) -> Value {
    json!({"model": "claude-x", "max_tokens": 1000, "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

fn document() -> Response {
    axum::Json(json!({"id": "m", "usage": {"input_tokens": 30, "output_tokens": 12}})).into_response()
}

/// A stream of three parts with a pause before each.
fn events(pause: Duration) -> Response {
    let parts = [
        r#"{"type":"message_start","message":{"usage":{"input_tokens":30,"output_tokens":1}}}"#,
        r#"{"type":"message_delta","usage":{"output_tokens":12}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let parts = futures::stream::iter(parts).then(move |part| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::convert::Infallible>(format!("data: {part}\n\n"))
    });
    Response::new(Body::from_stream(parts))
}

fn error(status: u16, message: &str) -> Response {
    let body = json!({"type": "error", "error": {"type": "x", "message": message}}).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[tokio::test]
async fn the_key_of_the_file_goes_up_and_is_read_anew() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keys = Arc::clone(&seen);
    let trial = Trial::start(
        |_| {},
        move |_, request| {
            keys.lock()
                .unwrap()
                .push((request.headers()["x-api-key"].clone(), request.uri().to_string()));
            async { document() }
        },
    )
    .await;
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    std::fs::write(trial.folder.path().join("ANTHROPIC_API_KEY"), "sk-new").unwrap();
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    let path = "/v1/messages?beta=true".to_owned();
    let expected = [
        (KEY.parse().unwrap(), path.clone()),
        ("sk-new".parse().unwrap(), path),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_key_that_is_gone_parks_by_name_until_it_is_back() {
    let trial = Trial::start(|_| {}, |_, _| async { document() }).await;
    let key = trial.folder.path().join("ANTHROPIC_API_KEY");
    std::fs::remove_file(&key).unwrap();
    let call = trial.ask(false);
    tokio::pin!(call);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut call).await;
    assert!(early.is_err(), "the call is held");
    let BrokerState::Parked { reason, message, .. } = trial.state() else {
        panic!("{:?}", trial.state());
    };
    assert_eq!(reason, Reason::SecretMissing);
    assert!(
        message.contains("claude-creds") && message.contains("ANTHROPIC_API_KEY"),
        "{message}"
    );
    std::fs::write(&key, KEY).unwrap();
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(trial.state(), BrokerState::Serving);
}

#[tokio::test]
async fn a_call_that_is_to_come_later_is_held_and_tried_again() {
    let trial = Trial::start(
        |_| {},
        |number, _| async move {
            match number {
                0 => {
                    let mut response = error(429, "slow down");
                    response.headers_mut().insert("retry-after", 1.into());
                    response
                }
                _ => document(),
            }
        },
    )
    .await;
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    assert_eq!(
        trial.settled(1).await.requests,
        1,
        "only the answered call counts"
    );
}

#[tokio::test]
async fn a_refused_key_ends_the_attempt_without_a_word_of_the_upstream() {
    let trial = Trial::start(|_| {}, |_, _| async { error(401, &format!("bad key {KEY}")) }).await;
    for _ in 0..2 {
        let (status, text) = trial.ask(true).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(
            text.contains("ModelCredentialRefused") && !text.contains(KEY),
            "{text}"
        );
    }
    let BrokerState::Stopped { reason, message } = trial.state() else {
        panic!("{:?}", trial.state());
    };
    assert_eq!(reason, Reason::ModelCredentialRefused);
    assert!(
        message.contains("claude-creds") && !message.contains("bad key"),
        "{message}"
    );
    assert_eq!(trial.record.spent().0, Usage::default());
}

#[tokio::test]
async fn an_error_of_the_upstream_is_told_without_the_key_and_costs_nothing() {
    let trial = Trial::start(
        |_| {},
        |number, _| async move {
            let words = ["prompt is too long", "key sk-ant-0123456789"];
            error(400, words[number])
        },
    )
    .await;
    let (status, text) = trial.ask(true).await;
    assert!(
        status == StatusCode::BAD_REQUEST && text.contains("prompt is too long"),
        "{text}"
    );
    assert!(trial.ask(true).await.1.contains("withheld"));
    assert_eq!(trial.record.spent().0, Usage::default());
}

#[tokio::test]
async fn a_stream_passes_as_it_comes_and_is_settled_at_its_end() {
    let trial = Trial::start(|_| {}, |_, _| async { events(Duration::from_millis(300)) }).await;
    let begun = std::time::Instant::now();
    let mut answer = trial.begin(&body(true)).await.into_body();
    let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(
        first.starts_with(b"data: {\"type\":\"message_start\""),
        "{first:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_millis(700),
        "the first part waited for the others"
    );
    let rest = answer.collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"data: {\"type\":\"message_stop\"}\n\n"));
    let usage = trial.settled(1).await;
    assert_eq!((usage.input_tokens, usage.output_tokens), (30, 12));
}

#[tokio::test]
async fn an_agent_that_hangs_up_pays_what_the_answer_cost() {
    let trial = Trial::start(|_| {}, |_, _| async { events(Duration::from_millis(150)) }).await;
    let mut answer = trial.begin(&body(true)).await.into_body();
    drop(answer.frame().await);
    drop(answer);
    let usage = trial.settled(1).await;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.requests),
        (30, 12, 1)
    );
}

#[tokio::test]
async fn an_agent_that_hangs_up_before_the_answer_pays_it_too() {
    let trial = Trial::start(
        |_| {},
        |_, _| async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            document()
        },
    )
    .await;
    let early = tokio::time::timeout(Duration::from_millis(150), trial.ask(false)).await;
    assert!(early.is_err());
    let usage = trial.settled(1).await;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.requests),
        (30, 12, 1)
    );
}

#[tokio::test]
async fn a_spent_budget_ends_the_attempt_after_at_most_one_call_too_many() {
    let trial = Trial::start(|order| order.tokens_left = Some(100), |_, _| async { document() }).await;
    let answers = futures::future::join_all((0..12).map(|_| trial.ask(false))).await;
    let passed = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::OK)
        .count();
    assert_eq!(
        passed, 3,
        "two calls of 42 tokens fit into 100, and one may cross the line"
    );
    assert_eq!(trial.record.spent().0.tokens(), 126);
    let (_, text) = trial.ask(false).await;
    assert!(
        text.contains("BudgetSpent: 126 of 100 tokens are spent"),
        "{text}"
    );
}

#[tokio::test]
async fn no_more_than_eight_calls_go_up_at_a_time() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (inner, peak) = (Arc::clone(&now), Arc::clone(&most));
    let trial = Trial::start(
        |_| {},
        move |_, _| {
            let (now, most) = (Arc::clone(&inner), Arc::clone(&peak));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                document()
            }
        },
    )
    .await;
    let answers = futures::future::join_all((0..20).map(|_| trial.ask(false))).await;
    assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!(most.load(Ordering::SeqCst), proxy::CALLS);
}

#[tokio::test]
async fn what_could_mean_two_requests_does_not_reach_the_upstream() {
    let trial = Trial::start(
        |_| {},
        |number, _| async move { panic!("call {number} came through") },
    )
    .await;
    let json = body(false).to_string();
    let chunked = format!("{:x}\r\n{json}\r\n0\r\n\r\n", json.len());
    let post =
        |headers: &str, body: &str| format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}");
    let cases = [
        post("content-length: 5\r\ntransfer-encoding: chunked\r\n", &chunked),
        post("transfer-encoding: chunked\r\ncontent-length: 5\r\n", &chunked),
        post("content-length: 5\r\ncontent-length: 6\r\n", &json),
        post(
            "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n",
            "",
        ),
        post("content-length: 99999999999\r\n", ""),
        "CONNECT api.example:443 HTTP/1.1\r\nhost: api.example\r\n\r\n".to_owned(),
        "POST http://evil/v1/messages HTTP/1.1\r\nhost: evil\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ];
    for case in cases {
        let mut stream = TcpStream::connect(trial.address).await.unwrap();
        stream.write_all(case.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer.as_slice(), b"HTTP/1.1 400", "{case:?}");
    }
}

#[tokio::test]
async fn a_token_of_a_subscription_goes_up_as_a_bearer_with_its_beta() {
    let seen = Arc::new(Mutex::new(None));
    let headers = Arc::clone(&seen);
    let trial = Trial::start(
        |_| {},
        move |_, request| {
            *headers.lock().unwrap() = Some(request.headers().clone());
            async { document() }
        },
    )
    .await;
    trial.secret("ANTHROPIC_API_KEY", None);
    trial.secret(
        ".credentials.json",
        Some(&credentials("sk-ant-oat01-a", in_hours(1))),
    );
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    let headers = seen.lock().unwrap().take().unwrap();
    assert_eq!(headers["authorization"], "Bearer sk-ant-oat01-a");
    assert_eq!(headers["anthropic-beta"], "oauth-2025-04-20");
    assert!(!headers.contains_key("x-api-key"));
}

#[tokio::test]
async fn an_expired_token_parks_before_any_call_and_a_renewed_one_goes_on() {
    let trial = Trial::start(|_| {}, |_, _| async { document() }).await;
    trial.secret("ANTHROPIC_API_KEY", None);
    trial.secret("credentials.json", Some(&credentials("old", in_hours(-1))));
    let call = trial.ask(false);
    tokio::pin!(call);
    let (reason, message, _) = trial.parks(&mut call).await;
    assert_eq!(reason, Reason::CredentialExpired);
    assert!(
        message.contains("credentials.json") && message.contains("claude-creds"),
        "{message}"
    );
    assert_eq!(trial.record.spent().0.requests, 0);
    trial.secret("credentials.json", Some(&credentials("new", in_hours(1))));
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(trial.state(), BrokerState::Serving);
}

#[tokio::test]
async fn a_token_that_the_provider_no_longer_takes_is_not_sent_twice() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tokens = Arc::clone(&seen);
    let trial = Trial::start(
        |_| {},
        move |_, request| {
            let token = request.headers()["authorization"].to_str().unwrap().to_owned();
            tokens.lock().unwrap().push(token.clone());
            async move {
                match token.as_str() {
                    "Bearer new" => document(),
                    _ => error(401, "OAuth token has expired. Please obtain a new token."),
                }
            }
        },
    )
    .await;
    trial.secret("ANTHROPIC_API_KEY", None);
    trial.secret("CLAUDE_CODE_OAUTH_TOKEN", Some("old"));
    let call = trial.ask(false);
    tokio::pin!(call);
    let (reason, message, _) = trial.parks(&mut call).await;
    assert_eq!(reason, Reason::CredentialExpired);
    assert!(message.contains("CLAUDE_CODE_OAUTH_TOKEN"), "{message}");
    trial.secret("CLAUDE_CODE_OAUTH_TOKEN", Some("new"));
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(*seen.lock().unwrap(), ["Bearer old", "Bearer new"]);
    assert_eq!(
        trial.settled(1).await.requests,
        1,
        "only the answered call counts"
    );
}

#[tokio::test]
async fn a_used_up_window_parks_until_its_reset_or_until_another_credential_is_there() {
    let reset = in_hours(5).as_second();
    let trial = Trial::start(
        |_| {},
        move |_, request| async move {
            if request.headers()["x-api-key"] == "another" {
                return document();
            }
            let mut response = error(429, "This request would exceed your account's rate limit.");
            for (name, value) in [
                ("anthropic-ratelimit-unified-status", "rejected".to_owned()),
                ("anthropic-ratelimit-unified-reset", reset.to_string()),
                (
                    "anthropic-ratelimit-unified-representative-claim",
                    "seven_day".to_owned(),
                ),
            ] {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        },
    )
    .await;
    let call = trial.ask(false);
    tokio::pin!(call);
    let (reason, message, until) = trial.parks(&mut call).await;
    assert_eq!(reason, Reason::UsageLimitReached);
    assert_eq!(message, "the subscription's weekly window is used up");
    let early = until
        .unwrap()
        .duration_since(jiff::Timestamp::from_second(reset).unwrap())
        .abs();
    assert!(early < jiff::SignedDuration::from_secs(60), "{until:?}");
    trial.secret("ANTHROPIC_API_KEY", Some("another"));
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(trial.state(), BrokerState::Serving);
}

#[tokio::test]
async fn a_used_up_quota_of_openai_is_no_mere_rate_limit() {
    let trial = Trial::start(
        |_| {},
        |number, _| async move {
            if number > 0 {
                return document();
            }
            let body = json!({"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}});
            let mut response = (StatusCode::TOO_MANY_REQUESTS, axum::Json(body)).into_response();
            response.headers_mut().insert("retry-after", 600.into());
            response
        },
    )
    .await;
    let call = trial.ask(false);
    tokio::pin!(call);
    let (reason, ..) = trial.parks(&mut call).await;
    assert_eq!(reason, Reason::UsageLimitReached);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_waited_for() {
    let address = nowhere().await;
    let trial = Trial::before(format!("http://{address}"), |_| {}).await;
    let call = trial.ask(false);
    tokio::pin!(call);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut call).await;
    assert!(early.is_err(), "the call is held");
    let late = TcpListener::bind(address).await.unwrap();
    let router = Router::new().fallback(|| async { document() });
    tokio::spawn(async move { axum::serve(late, router).await });
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(trial.settled(1).await.requests, 1);
}

#[tokio::test]
async fn an_endpoint_that_stays_away_parks_by_name() {
    let address = nowhere().await;
    let trial = Trial::before(format!("http://{address}"), |_| {}).await;
    let (reason, message, until) = trial.parks(trial.ask(false)).await;
    assert_eq!((reason, until), (Reason::ModelUnreachable, None));
    assert!(message.contains(&address.to_string()), "{message}");
}

fn speaks_responses(order: &mut ModelOrder) {
    order.provider = gastown_api::polecat::Provider::Openai;
    order.apis = vec![gastown_api::work_order::ModelApi::Responses];
    order.allowed_models = vec!["gpt-*".to_owned()];
}

#[tokio::test]
async fn the_responses_api_is_served_with_a_bearer_and_settled_from_its_last_event() {
    let seen = Arc::new(Mutex::new(None));
    let asked = Arc::clone(&seen);
    let trial = Trial::start(speaks_responses, move |_, request| {
        let key = request.headers()["authorization"].clone();
        *asked.lock().unwrap() = Some((request.uri().to_string(), key));
        let last = r#"{"type":"response.completed","response":{"usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":10},"output_tokens":12}}}"#;
        let events = format!("data: {{\"type\":\"response.created\"}}\n\ndata: {last}\n\n");
        async move { Response::new(Body::from(events)) }
    })
    .await;
    trial.secret("OPENAI_API_KEY", Some("sk-openai"));
    let body = json!({"model": "gpt-x", "store": false, "stream": true, "input": "hi"});
    let response = trial.begin_at("/v1/responses", &body).await;
    assert_eq!(response.status(), StatusCode::OK);
    drop(response.into_body().collect().await);
    let usage = trial.settled(1).await;
    assert_eq!(
        (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens),
        (20, 10, 12)
    );
    let (path, key) = seen.lock().unwrap().take().unwrap();
    assert_eq!(
        (path.as_str(), key.to_str().unwrap()),
        ("/v1/responses", "Bearer sk-openai")
    );
    assert_eq!(
        trial.ask(false).await.0,
        StatusCode::NOT_FOUND,
        "the Messages API is not served"
    );
}

#[tokio::test]
async fn an_endpoint_without_keys_is_sent_none() {
    let trial = Trial::start(
        |order| {
            order.provider = gastown_api::polecat::Provider::Ollama;
            order.keyless = true;
        },
        |_, request| async move {
            assert!(!request.headers().contains_key("x-api-key"));
            assert!(!request.headers().contains_key("authorization"));
            document()
        },
    )
    .await;
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
}

#[tokio::test]
async fn fifty_calls_at_once_overrun_a_small_budget_by_no_more_than_their_slots() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let trial = Trial::start(
        |order| order.tokens_left = Some(3000),
        move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                axum::Json(json!({"usage": {"input_tokens": 30, "output_tokens": 970}})).into_response()
            }
        },
    )
    .await;
    let answers = futures::future::join_all((0..50).map(|_| trial.ask(false))).await;
    let refused = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::FORBIDDEN)
        .count();
    let made = made.load(Ordering::SeqCst);
    assert_eq!(made + refused, 50);
    let most = 3 + proxy::CALLS;
    assert!((3..=most).contains(&made), "{made} calls were made");
    assert_eq!(
        trial.record.spent().0.tokens(),
        u64::try_from(made).unwrap() * 1000
    );
    let BrokerState::Stopped { reason, .. } = trial.state() else {
        panic!("{:?}", trial.state())
    };
    assert_eq!(reason, Reason::BudgetSpent);
}

#[tokio::test]
async fn no_trick_with_a_path_a_header_or_a_body_reaches_the_upstream() {
    let trial = Trial::start(
        |_| {},
        |number, request: Request| async move { panic!("call {number} came through: {request:?}") },
    )
    .await;
    let json = body(false).to_string();
    let send = async |head: &str, body: &[u8]| {
        let mut stream = TcpStream::connect(trial.address).await.unwrap();
        let length = body.len();
        let head = format!("{head}\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer and close before it has read everything.
        drop(stream.write_all(body).await);
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer[9..].to_vec()).unwrap()
    };
    for path in [
        "/v1/messages/../files",
        "/v1/messages/..%2ffiles",
        "/v1/messages/%2e%2e/files",
        "//v1/messages",
        "/v1//messages",
        "/v1/messages/",
        "/v1/messages%00",
        "/V1/messages",
        "/v1/messages\\..",
        "/v1/messages?beta=true&beta=true",
        "/v1/organizations/api_keys",
        "*",
    ] {
        let status = send(&format!("POST {path} HTTP/1.1"), json.as_bytes()).await;
        assert!(["400", "404"].contains(&status.as_str()), "{path}: {status}");
    }
    for header in [
        "transfer-encoding: chunked",
        "transfer-encoding : chunked",
        "content-encoding: gzip",
        "content-length: 7",
        " folded: x",
        "x\0: y",
    ] {
        let status = send(
            &format!("POST /v1/messages HTTP/1.1\r\n{header}"),
            json.as_bytes(),
        )
        .await;
        assert_eq!(status, "400", "{header:?}");
    }
    let body_with = |more: &str| format!("{{{more},{}", &json[1..]).into_bytes();
    let deep = format!("\"metadata\":{}0{}", "[".repeat(5000), "]".repeat(5000));
    for bytes in [
        body_with(r#""api_base":"http://evil""#),
        body_with(r#""mcp_servers":[{"type":"url","url":"http://evil"}]"#),
        body_with(r#""model":"gpt-5""#),
        body_with(r#""m\u006fdel":"claude-y""#),
        body_with(&deep),
        [json.as_bytes(), json.as_bytes()].concat(),
        [&[0xef, 0xbb, 0xbf], json.as_bytes()].concat(),
    ] {
        let status = send("POST /v1/messages HTTP/1.1", &bytes).await;
        assert_eq!(status, "400", "{:?}", String::from_utf8_lossy(&bytes[..40]));
    }
}
