//! Runs a CGI program for one request: the body goes in as it comes, the answer comes out as it is made.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OwnedSemaphorePermit;

use super::child::{RunGit, read_tail, spawn};
use super::inbound::Inbound;

/// The most bytes of an answer's header.
const MAX_HEADER: usize = 16 * 1024;

/// Why a CGI program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum RunCgi {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] RunGit),
    /// Its output broke.
    #[error("failed to read the answer of git http-backend")]
    ReadAnswer(#[source] std::io::Error),
    /// What it wrote is no CGI header.
    #[error("git http-backend wrote no header of at most {MAX_HEADER} bytes")]
    ParseHeader,
}

/// The answer of a CGI program.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its other headers.
    pub headers: HeaderMap,
    /// What follows.
    pub body: Rest,
}

/// The body that is still being made; the program ends when this is dropped.
pub struct Rest {
    begun: Bytes,
    stdout: ChildStdout,
    /// Killed on drop.
    _child: Child,
}

/// Starts `command` and reads the header of its answer.
pub async fn run(command: Command, mut inbound: Inbound) -> Result<Answer, RunCgi> {
    let mut child = spawn(command)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    tokio::spawn(async move {
        let Some(mut stdin) = stdin else { return };
        loop {
            match inbound.next().await {
                Ok(Some(bytes)) => {
                    // It has read enough, and answers without the rest.
                    if stdin.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "a fetch broke off");
                    return;
                }
            }
        }
    });
    tokio::spawn(async move {
        let words = read_tail(stderr).await.unwrap_or_default();
        if !words.trim().is_empty() {
            tracing::warn!(words = words.trim(), "git http-backend complained");
        }
    });
    let mut stdout = stdout.ok_or(RunCgi::ParseHeader)?;
    let mut begun = BytesMut::with_capacity(4096);
    loop {
        if let Some(end) = find(&begun, b"\r\n\r\n") {
            let header = begun.split_to(end + 4);
            let (status, headers) = parse_header(&header).ok_or(RunCgi::ParseHeader)?;
            let body = Rest {
                begun: begun.freeze(),
                stdout,
                _child: child,
            };
            return Ok(Answer {
                status,
                headers,
                body,
            });
        }
        let count = stdout.read_buf(&mut begun).await.map_err(RunCgi::ReadAnswer)?;
        if count == 0 || begun.len() > MAX_HEADER {
            return Err(RunCgi::ParseHeader);
        }
    }
}

/// The body, part by part; `permit` is held to its end.
pub fn stream(
    rest: Rest,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    futures::stream::try_unfold((rest, permit), async |(mut rest, permit)| {
        if !rest.begun.is_empty() {
            let begun = std::mem::take(&mut rest.begun);
            return Ok(Some((begun, (rest, permit))));
        }
        let mut part = BytesMut::with_capacity(32 * 1024);
        let count = pin!(rest.stdout.read_buf(&mut part)).await?;
        Ok((count > 0).then(|| (part.freeze(), (rest, permit))))
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn parse_header(bytes: &[u8]) -> Option<(StatusCode, HeaderMap)> {
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    for line in str::from_utf8(bytes)
        .ok()?
        .lines()
        .filter(|line| !line.is_empty())
    {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            status = value.split(' ').next()?.parse().ok()?;
        } else {
            let name: HeaderName = name.parse().ok()?;
            headers.append(name, HeaderValue::from_str(value).ok()?);
        }
    }
    Some((status, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_and_without_status_is_read() {
        let (status, headers) = parse_header(b"Status: 404 Not Found\r\nX-A: b\r\n\r\n").unwrap();
        assert_eq!(
            (status, headers["x-a"].as_bytes()),
            (StatusCode::NOT_FOUND, &b"b"[..])
        );
        assert_eq!(parse_header(b"X-A: b\r\n\r\n").unwrap().0, StatusCode::OK);
    }

    #[test]
    fn garbage_is_no_header() {
        for bytes in [
            &b"no colon\r\n\r\n"[..],
            b"Status: x\r\n\r\n",
            b"\xff: a\r\n\r\n",
            b"a b: c\r\n\r\n",
        ] {
            assert!(parse_header(bytes).is_none(), "{bytes:?}");
        }
    }
}
