//! One call to a loopback port of the broker.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The most bytes of an answer that are read.
const MAX_BODY: usize = 8 * 1024;

/// A loopback port that has not answered for this long is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

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
