//! Passes an answer on, chunk by chunk, and learns its usage even when the agent goes away.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::SinkExt as _;
use futures::channel::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::bill::{Bill, Ending};
use super::opening::Answer;
use super::sse::UsageReader;

/// Chunks that may wait for a slow agent.
const WAITING: usize = 8;

/// How long an answer is read to its end after the agent has gone away: its usage comes last.
const DRAIN: Duration = Duration::from_mins(2);

/// How much of it. A model that writes 128,000 tokens sends some 20 MiB of events.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;

/// An agent that takes no chunk for so long has gone away.
const STALL: Duration = Duration::from_mins(1);

/// The longest silence within an answer; the API sends a ping every few seconds.
const SILENCE: Duration = Duration::from_mins(5);

type Chunk = Result<Bytes, io::Error>;

/// Starts passing `answer` on. The bill is settled at its end, and `slot` is kept until then.
pub(super) fn pass(answer: Answer, stream: bool, bill: Option<Bill>, slot: impl Send + 'static) -> Body {
    let (sender, receiver) = mpsc::channel::<Chunk>(WAITING);
    tokio::spawn(async move {
        let mut reader = UsageReader::new(stream);
        let ending = pump(answer, &mut reader, sender).await;
        if let Some(bill) = bill {
            bill.settle(&reader.finish(), ending);
        }
        drop(slot);
    });
    Body::from_stream(receiver)
}

async fn pump(mut answer: Answer, reader: &mut UsageReader, mut agent: mpsc::Sender<Chunk>) -> Ending {
    loop {
        match timeout(SILENCE, answer.frame()).await {
            Ok(None) => return Ending::Provider,
            Ok(Some(Ok(frame))) => {
                let Ok(chunk) = frame.into_data() else { continue };
                reader.feed(&chunk);
                if !matches!(timeout(STALL, agent.send(Ok(chunk))).await, Ok(Ok(()))) {
                    drop(agent);
                    return drain(answer, reader).await;
                }
            }
            // Without the error a cut answer would look like a whole one.
            Ok(Some(Err(_))) | Err(_) => {
                let cut = io::Error::new(io::ErrorKind::ConnectionAborted, "the model endpoint broke off");
                let _ = timeout(STALL, agent.send(Err(cut))).await;
                return Ending::Provider;
            }
        }
    }
}

async fn drain(mut answer: Answer, reader: &mut UsageReader) -> Ending {
    let until = Instant::now() + DRAIN;
    let mut bytes = 0;
    while bytes < DRAIN_BYTES {
        match timeout_at(until, answer.frame()).await {
            Ok(None) => return Ending::Provider,
            Ok(Some(Ok(frame))) => {
                if let Ok(chunk) = frame.into_data() {
                    bytes += chunk.len();
                    reader.feed(&chunk);
                }
            }
            Ok(Some(Err(_))) | Err(_) => break,
        }
    }
    Ending::Agent
}
