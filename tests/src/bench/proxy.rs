//! What the broker's model proxy adds to a call: the same call with and without it, in turn.
//!
//! The proxy runs as a process of its own (`bench-model-proxy`), as it does in a pod; the endpoint that it asks runs
//! here and answers at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::figures::{Spread, spread};
use super::process::Process;

/// The model proxy beside no proxy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Bytes of the request.
    pub request_bytes: usize,
    /// Until the first byte of the answer without the proxy.
    pub direct_first: Spread,
    /// Until the first byte of the answer through it.
    pub through_first: Spread,
    /// Until the end of the answer without the proxy.
    pub direct: Spread,
    /// Until the end of the answer through it.
    pub through: Spread,
    /// What each call through it took longer until its end than the one without it just before; not below 0.
    pub added: Spread,
    /// Processor time of the proxy for a call, in milliseconds.
    pub cpu_per_call: f64,
    /// Resident memory of its process in bytes, before any call.
    pub resident_idle: u64,
    /// Likewise after all calls.
    pub resident: u64,
}

/// Calls before those that are measured: connections are made and caches filled.
const WARM_UP: usize = 50;

/// What a long conversation with its tools weighs.
const PADDING: usize = 96 * 1024;

/// Makes `calls` calls each way.
pub async fn measure(program: &Path, calls: usize) -> Result<Proxy> {
    let endpoint = serve().await?;
    let mut proxy = Running::start(program, endpoint).await?;
    let process = proxy.process()?;
    // Connections that an idle agent's proxy does not have are not made yet.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let resident_idle = process.resident()?;
    let caller = Caller::new();
    for _ in 0..WARM_UP {
        caller.call(endpoint).await?;
        caller.call(proxy.listen).await?;
    }
    let cpu = process.cpu()?;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..calls {
        direct.push(caller.call(endpoint).await?);
        through.push(caller.call(proxy.listen).await?);
    }
    let cpu = process.cpu()? - cpu;
    let added = direct
        .iter()
        .zip(&through)
        .map(|(direct, through)| through.end.saturating_sub(direct.end));
    let all = |times: &[Times], time: fn(&Times) -> Duration| {
        spread(times.iter().map(time).collect()).context("no call was made")
    };
    let measured = Proxy {
        request_bytes: caller.body.len(),
        direct_first: all(&direct, |times| times.first)?,
        through_first: all(&through, |times| times.first)?,
        direct: all(&direct, |times| times.end)?,
        through: all(&through, |times| times.end)?,
        added: spread(added.collect()).context("no call was made")?,
        cpu_per_call: cpu * 1000.0 / super::figures::count(calls),
        resident_idle,
        resident: process.resident()?,
    };
    proxy.stop().await?;
    Ok(measured)
}

/// The proxy's process; it is killed when this is dropped.
struct Running {
    child: Child,
    listen: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start(program: &Path, endpoint: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder for the proxy")?;
        let mut child = Command::new(program)
            .args(["--endpoint", &format!("http://{endpoint}")])
            .arg("--folder")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {:?}", program.display()))?;
        let output = child.stdout.take().context("the proxy's output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let listen = loop {
            let line = lines
                .next_line()
                .await
                .context("failed to read the proxy's output")?;
            let line = line.context("the model proxy ended before it listened")?;
            // The record says its evidence on the same output.
            if let Some(address) = line.strip_prefix("listening on ") {
                break address.parse().context("the model proxy printed no address")?;
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            child,
            listen,
            _folder: folder,
        })
    }

    fn process(&self) -> Result<Process> {
        let id = self.child.id().context("the model proxy has ended")?;
        Ok(Process { id })
    }

    async fn stop(&mut self) -> Result<()> {
        self.child.kill().await.context("failed to end the model proxy")
    }
}

struct Times {
    first: Duration,
    end: Duration,
}

struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    body: Bytes,
}

impl Caller {
    fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            body: request().into(),
        }
    }

    async fn call(&self, address: SocketAddr) -> Result<Times> {
        let request = Request::post(format!("http://{address}/v1/messages?beta=true"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("anthropic-version", "2023-06-01")
            .header("x-api-key", "agent")
            .body(Full::new(self.body.clone()))
            .context("failed to make a model call")?;
        let start = Instant::now();
        let answer = self
            .client
            .request(request)
            .await
            .context("a model call failed")?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut first = None;
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the answer to a model call broke off")?;
            first.get_or_insert_with(|| start.elapsed());
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        let end = start.elapsed();
        ensure!(status.is_success(), "a model call was answered with {status}");
        ensure!(
            bytes == ANSWER.len(),
            "a model call was answered with {bytes} bytes"
        );
        Ok(Times {
            first: first.unwrap_or(end),
            end,
        })
    }
}

/// A request of the size that an agent's requests have in the middle of its work.
fn request() -> String {
    let tool = |number: usize| {
        json!({"name": format!("tool{number}"), "description": "What it does. ".repeat(60),
            "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}})
    };
    let turns = PADDING / 4096;
    let messages: Vec<_> = (0..=2 * turns)
        .map(|number| {
            let role = if number % 2 == 0 { "user" } else { "assistant" };
            json!({"role": role, "content": [{"type": "text", "text": "def add(a, b):\n    return a - b\n".repeat(60)}]})
        })
        .collect();
    json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 1024,
        "stream": true,
        "system": [{"type": "text", "text": "You are an agent. ".repeat(500)}],
        "tools": (0..18).map(tool).collect::<Vec<_>>(),
        "messages": messages,
    })
    .to_string()
}

/// A short answer as a stream of events.
const ANSWER: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Done.\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

async fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no port of the loopback is free")?;
    let address = listener.local_addr().context("a listener has an address")?;
    let answer = |body: Bytes| async move {
        drop(body);
        ([(header::CONTENT_TYPE, "text/event-stream")], ANSWER).into_response()
    };
    let router: Router = Router::new().route("/v1/messages", post(answer));
    let router = router.layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_large_as_that_of_a_long_conversation() {
        assert!(
            (PADDING..2 * PADDING).contains(&request().len()),
            "{}",
            request().len()
        );
    }

    #[tokio::test]
    async fn a_call_is_timed_to_its_first_byte_and_to_its_end() {
        let times = Caller::new().call(serve().await.unwrap()).await.unwrap();
        assert!(times.first <= times.end);
    }
}
