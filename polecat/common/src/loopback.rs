//! One call to a loopback port of the broker, and what the other containers tell it there besides git. Nothing of it
//! grants anything: the agent shares the network and may say the same, and what it can bring about so is at most an
//! earlier end, or a later one up to the deadline.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

/// `GET`: how many model turns there were, as a number.
pub const TURNS: &str = "/turns";
/// `GET`: how many calls of the model are under way, held ones included, as a number.
pub const CALLS: &str = "/calls";
/// `POST` with the bytes that the container has logged: the agent wrote something, or the clone goes on.
pub const ALIVE: &str = "/alive";
/// `GET`: how many bytes of the pod's ephemeral storage the keeper cannot see, as a number: the broker's own and the
/// agent's log.
pub const UNSEEN: &str = "/unseen-storage";
/// `POST` with a [`DiskFull`]: a volume is about to exceed its limit.
pub const DISK_FULL: &str = "/disk-full";

/// `POST` with a [`Checkpoint`]: what became of one. Answered with 409 where the opposite was said a moment ago.
pub const CHECKPOINT: &str = "/checkpoint";
/// `POST`: the broker reads the remote again, and then serves what that holds.
pub const REREAD: &str = "/reread";

/// The most bytes of an answer that are read.
const MAX_BODY: usize = 8 * 1024;

/// A loopback port that has not answered for this long is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A volume of the pod that the agent can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Volume {
    /// The clone.
    Workspace,
    /// The agent's home.
    Home,
    /// The scratch space.
    Tmp,
    /// The keeper's repository.
    Keeper,
    /// The broker's repository.
    Broker,
    /// All of them and the logs, which together count against the pod's limit of ephemeral storage.
    Pod,
}

/// What the keeper says before the kubelet would evict the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskFull {
    /// Which.
    pub volume: Volume,
    /// Bytes that it holds.
    pub used: u64,
}

/// What became of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Why it could not be saved; none: it was.
    pub failure: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Call {
    /// Nobody listens, or the connection broke.
    #[error("failed to reach 127.0.0.1:{port}")]
    Reach {
        /// The port.
        port: u16,
        /// What the system or the protocol said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("failed to get an answer of 127.0.0.1:{port} within {} s", ANSWER_WITHIN.as_secs())]
    Await {
        /// The port.
        port: u16,
    },
}

/// Asks, and gives the status and the first bytes of the body.
pub async fn call(
    port: u16,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, String), Call> {
    match tokio::time::timeout(ANSWER_WITHIN, exchange(port, method, path, body)).await {
        Ok(answer) => answer.map_err(|source| Call::Reach { port, source }),
        Err(_) => Err(Call::Await { port }),
    }
}

async fn exchange(
    port: u16,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, format!("127.0.0.1:{port}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    // What git itself reads is of no interest here.
    let body = if status == StatusCode::OK && path.starts_with("/repo.git") {
        String::new()
    } else {
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await?;
        String::from_utf8_lossy(&body.to_bytes()).into_owned()
    };
    connection.abort();
    Ok((status, body))
}

/// Tells the broker of a sign of life; one that is not heard is followed by another.
pub async fn alive(port: u16) {
    let logged = crate::console::logged().to_string();
    let _the_next_one_may_be_heard = call(port, Method::POST, ALIVE, logged.into_bytes()).await;
}

/// Asks the broker to read the remote again and waits for it; the words of why it could not.
pub async fn reread(port: u16) -> Result<(), String> {
    match call(port, Method::POST, REREAD, Vec::new()).await {
        Ok((status, _)) if status.is_success() => Ok(()),
        Ok((status, words)) => Err(format!("{status}: {}", crate::console::escape(words.trim()))),
        Err(error) => Err(crate::console::explain(&error)),
    }
}

/// Whether the agent waits for an answer of the model; a broker that cannot be asked serves none.
pub async fn calls_the_model(port: u16) -> bool {
    let answer = call(port, Method::GET, CALLS, Vec::new()).await;
    answer.is_ok_and(|(status, calls)| status.is_success() && calls != "0")
}
