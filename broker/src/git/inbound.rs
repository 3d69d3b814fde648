//! The body of a request: chunked or not, gzip or not, with its inflated size and its pauses bounded.

use std::io::Write as _;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body_util::BodyExt as _;

/// The longest pause between two parts: a client that stalls must not keep others from being served.
const MAX_PAUSE: Duration = Duration::from_secs(20);

/// A client must send this many bytes a second, after a start: it is served alone, and others wait for their turn.
const LEAST_RATE: u64 = 64 * 1024;
const START: Duration = Duration::from_secs(30);

/// How much is inflated at once: gzip makes at most about 1,000 bytes of one, so no more than 4 MiB are in memory.
const SLICE: usize = 4096;

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadBody {
    /// The connection broke.
    #[error("failed to read the request")]
    Receive(#[source] axum::Error),
    /// Nothing came for [`MAX_PAUSE`], or too little in all.
    #[error("the request stalled, or came with less than {LEAST_RATE} bytes a second")]
    Stall,
    /// It is no gzip.
    #[error("failed to inflate the request")]
    Inflate(#[source] std::io::Error),
    /// More than the limit.
    #[error("the request is larger than {limit} bytes")]
    Bound {
        /// The limit on the inflated size.
        limit: u64,
    },
    /// Neither gzip nor plain.
    #[error("the content encoding {encoding:?} is not known; use gzip or none")]
    KnowEncoding {
        /// What the header says.
        encoding: String,
    },
}

/// A request's body, read piece by piece.
pub struct Inbound {
    body: Body,
    inflate: Option<GzDecoder<Vec<u8>>>,
    pending: Bytes,
    taken: u64,
    limit: u64,
    /// What was looked at, and is still to be read.
    ahead: Bytes,
    /// When the first byte was asked for, and how many have come since.
    started: Option<Instant>,
    received: u64,
}

impl Inbound {
    /// The body of `request`, of which at most `limit` inflated bytes are taken.
    pub fn new(request: axum::extract::Request, limit: u64) -> Result<Self, ReadBody> {
        let encoding = request.headers().get(http::header::CONTENT_ENCODING);
        let inflate = match encoding.map(http::HeaderValue::as_bytes) {
            None | Some(b"identity") => None,
            Some(b"gzip" | b"x-gzip") => Some(GzDecoder::new(Vec::new())),
            Some(other) => {
                return Err(ReadBody::KnowEncoding {
                    encoding: other.escape_ascii().to_string(),
                });
            }
        };
        Ok(Self {
            body: request.into_body(),
            inflate,
            pending: Bytes::new(),
            ahead: Bytes::new(),
            taken: 0,
            limit,
            started: None,
            received: 0,
        })
    }

    /// The bytes that [`Self::next`] gives next; empty at the end.
    pub async fn peek(&mut self) -> Result<Bytes, ReadBody> {
        self.ahead = self.next().await?.unwrap_or_default();
        Ok(self.ahead.clone())
    }

    /// The next bytes, never empty; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadBody> {
        if !self.ahead.is_empty() {
            return Ok(Some(std::mem::take(&mut self.ahead)));
        }
        loop {
            if self.pending.is_empty() {
                match self.receive().await? {
                    Some(bytes) => self.pending = bytes,
                    None => return Ok(None),
                }
            }
            let bytes = self.advance()?;
            self.taken = self
                .taken
                .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if self.taken > self.limit {
                return Err(ReadBody::Bound { limit: self.limit });
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    /// Reads to the end for nothing, so that the client gets to read the answer.
    pub async fn drain(&mut self) -> Result<(), ReadBody> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    fn advance(&mut self) -> Result<Bytes, ReadBody> {
        let Some(inflate) = &mut self.inflate else {
            return Ok(std::mem::take(&mut self.pending));
        };
        let slice = self.pending.split_to(self.pending.len().min(SLICE));
        inflate.write_all(&slice).map_err(ReadBody::Inflate)?;
        // What is still in the decoder's window comes out with the flush, so nothing is left over at the end.
        inflate.flush().map_err(ReadBody::Inflate)?;
        Ok(std::mem::take(inflate.get_mut()).into())
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, ReadBody> {
        let started = *self.started.get_or_insert_with(Instant::now);
        loop {
            let patience = patience(started.elapsed(), self.received);
            let frame = tokio::time::timeout(patience, self.body.frame());
            match frame.await.map_err(|_| ReadBody::Stall)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(ReadBody::Receive(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        self.received += u64::try_from(data.len()).unwrap_or(u64::MAX);
                        return Ok(Some(data));
                    }
                    _ => {}
                },
            }
        }
    }
}

/// How long the next bytes are waited for, when so many came in so much time.
fn patience(elapsed: Duration, received: u64) -> Duration {
    let allowed = START + Duration::from_secs(received / LEAST_RATE);
    allowed.saturating_sub(elapsed).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inbound(parts: Vec<Vec<u8>>, encoding: &str, limit: u64) -> Result<Inbound, ReadBody> {
        let parts = parts
            .into_iter()
            .map(|part| Ok::<_, Infallible>(Bytes::from(part)));
        let body = Body::from_stream(futures::stream::iter(parts));
        let request = http::Request::builder().header("content-encoding", encoding);
        Inbound::new(request.body(body).unwrap(), limit)
    }

    async fn read(mut inbound: Inbound) -> Result<Vec<u8>, ReadBody> {
        let mut bytes = Vec::new();
        while let Some(part) = inbound.next().await? {
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    #[test]
    fn a_client_that_drips_is_cut_off_and_one_that_sends_is_not() {
        let seconds = Duration::from_secs;
        assert_eq!(patience(seconds(0), 0), MAX_PAUSE);
        assert_eq!(patience(seconds(29), 29), seconds(1));
        assert_eq!(patience(seconds(30), 30), Duration::ZERO);
        assert_eq!(patience(seconds(300), 100 * 1024 * 1024), MAX_PAUSE);
    }

    #[tokio::test]
    async fn a_body_that_is_late_is_no_longer_read() {
        let mut body = inbound(vec![vec![0; 10], vec![0; 10]], "identity", 100).unwrap();
        assert!(body.next().await.unwrap().is_some());
        body.started = Instant::now().checked_sub(START);
        // What has come already is still taken; what would have to be waited for is not.
        let pending = futures::stream::pending::<Result<Bytes, Infallible>>();
        body.body = Body::from_stream(pending);
        assert!(matches!(body.next().await, Err(ReadBody::Stall)));
    }

    #[tokio::test]
    async fn gzip_is_inflated_however_it_is_cut() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(u32::to_be_bytes).collect();
        let packed = gzip(&text);
        for size in [1, 7, 5000, packed.len()] {
            let parts = packed.chunks(size).map(<[u8]>::to_vec).collect();
            let body = inbound(parts, "gzip", 1_000_000).unwrap();
            assert!(read(body).await.unwrap() == text, "cut to {size}");
        }
    }

    #[tokio::test]
    async fn a_gzip_bomb_ends_at_the_limit() {
        let bomb = gzip(&vec![0; 50_000_000]);
        assert!(bomb.len() < 100_000);
        let body = inbound(vec![bomb], "gzip", 1_000_000).unwrap();
        assert!(matches!(
            read(body).await,
            Err(ReadBody::Bound { limit: 1_000_000 })
        ));
    }

    #[tokio::test]
    async fn what_is_too_large_no_gzip_or_of_another_encoding_is_refused() {
        let plain = inbound(vec![vec![0; 10], vec![0; 10]], "identity", 15).unwrap();
        assert!(matches!(read(plain).await, Err(ReadBody::Bound { .. })));
        let garbage = inbound(vec![b"not gzip at all".to_vec()], "gzip", 100).unwrap();
        assert!(matches!(read(garbage).await, Err(ReadBody::Inflate(_))));
        let brotli = inbound(vec![], "br", 100);
        assert!(matches!(brotli, Err(ReadBody::KnowEncoding { .. })));
    }
}
