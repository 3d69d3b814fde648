//! The proxy as a whole: a real client on one side, an upstream that answers as each test wants on the other.

mod answer;
mod budget;
mod credential;
mod held;
mod opening;
mod smuggling;

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
use tokio::net::TcpStream;

use super::*;
use crate::fixture;

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
        work.role.model.endpoint = endpoint;
        change(&mut work.role.model);
        let record = Record::open(folder.path(), folder.path().join("t"), &work).unwrap();
        record.enter(BrokerState::Serving);
        let listener = bind().await;
        let address = listener.local_addr().unwrap();
        let context = Context {
            order: work.role.model,
            record: record.clone(),
            paths: Paths {
                secret: folder.path().to_owned(),
                api_key: folder.path().join("api-key"),
                control: folder.path().join("control"),
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
        self.try_at(path, body).await.unwrap()
    }

    async fn try_at(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<http::Response<Incoming>, hyper_util::client::legacy::Error> {
        let request = http::Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/json")
            .header("x-api-key", "dummy")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        client.request(request).await
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

fn in_hours(hours: i64) -> jiff::Timestamp {
    jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)
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
