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
        drop(gastown_crypto::install());
        let calls = Arc::new(AtomicUsize::new(0));
        let upstream = bind().await;
        let endpoint = format!("http://{}", upstream.local_addr().unwrap());
        let router =
            Router::new().fallback(move |request| answer(calls.fetch_add(1, Ordering::SeqCst), request));
        tokio::spawn(async move { axum::serve(upstream, router).await });
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
            secret_dir: folder.path().to_owned(),
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
        let request = http::Request::post(format!("http://{}/v1/messages?beta=true", self.address))
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

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
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
