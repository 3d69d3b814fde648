//! Passes an answer on, chunk by chunk, and learns its usage even when the agent goes away.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt as _, StreamExt as _};
use gastown_api::usage::Usage;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::sse::UsageReader;

/// Chunks that may wait for a slow agent.
const WAITING: usize = 8;

/// How long an answer is read to its end after the agent has gone away: its usage comes last.
const DRAIN: Duration = Duration::from_secs(60);

/// The longest silence within an answer; the API sends a ping every few seconds.
const SILENCE: Duration = Duration::from_secs(300);

/// Starts passing `answer` on. `settle` is called once at its end, with the usage where it was told.
pub(super) fn pass(
    answer: Incoming,
    stream: bool,
    settle: impl FnOnce(Option<Usage>) + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(WAITING);
    tokio::spawn(async move {
        let usage = pump(answer, stream, sender).await;
        settle(usage);
    });
    Body::from_stream(receiver.map(|chunk| chunk))
}

async fn pump(
    mut answer: Incoming,
    stream: bool,
    mut sender: mpsc::Sender<Result<Bytes, Infallible>>,
) -> Option<Usage> {
    let mut reader = UsageReader::new(stream);
    let mut gone: Option<Instant> = None;
    while gone.is_none_or(|since| since.elapsed() < DRAIN) {
        let limit = if gone.is_some() { DRAIN } else { SILENCE };
        let Ok(Some(Ok(frame))) = tokio::time::timeout(limit, answer.frame()).await else {
            break;
        };
        let Ok(chunk) = frame.into_data() else { continue };
        reader.feed(&chunk);
        if gone.is_none() && sender.send(Ok(chunk)).await.is_err() {
            gone = Some(Instant::now());
        }
    }
    reader.finish()
}
