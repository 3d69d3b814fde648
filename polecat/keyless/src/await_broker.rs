//! Waits until the broker's git host serves. It answers 503 while it starts or is parked, and 410 once nothing that
//! waiting could cure has stopped it.

use std::time::{Duration, Instant};

use gastown_api::reason::Reason;
use http::{Method, StatusCode};

use polecat_common::console::{escape, explain, say};
use polecat_common::loopback;

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// What a clone asks first.
const REFS: &str = "/repo.git/info/refs?service=git-upload-pack";

/// Why the broker is not waited for any longer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AwaitBroker {
    /// The broker stopped for good.
    #[error("{message}")]
    Stopped {
        /// Its reason.
        reason: Reason,
        /// Its words.
        message: String,
    },
    /// It answers, but as no broker would.
    #[error(
        "failed to reach the broker's git host: it answered {status}; operator and agent image must be of one version"
    )]
    Misunderstand {
        /// The HTTP status.
        status: u16,
    },
    /// It did not serve in time.
    #[error(
        "failed to reach the broker's git host within {} s: {last}; read `kubectl logs -c broker`",
        .patience.as_secs()
    )]
    LoseSilence {
        /// How long was waited.
        patience: Duration,
        /// The last answer.
        last: String,
    },
}

/// Why it is worth asking again.
type NotYet = String;

/// Waits until the git host on loopback `port` serves.
pub async fn for_broker(port: u16, patience: Duration) -> Result<(), AwaitBroker> {
    let start = Instant::now();
    let mut said = String::new();
    loop {
        let Err(not_yet) = ask(port).await? else {
            return Ok(());
        };
        if start.elapsed() >= patience {
            return Err(AwaitBroker::LoseSilence {
                patience,
                last: not_yet,
            });
        }
        if said != not_yet {
            say(&format!("polecat clone: waiting for the broker: {not_yet}"));
            said = not_yet;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks once: ready, not yet, or never.
pub async fn ask(port: u16) -> Result<Result<(), NotYet>, AwaitBroker> {
    match loopback::call(port, Method::GET, REFS, Vec::new()).await {
        Ok((status, body)) => classify(status, &body),
        Err(error) => Ok(Err(explain(&error))),
    }
}

fn classify(status: StatusCode, body: &str) -> Result<Result<(), NotYet>, AwaitBroker> {
    match status {
        StatusCode::OK => Ok(Ok(())),
        StatusCode::GONE => Err(stopped(body)),
        status if status.is_server_error() => Ok(Err(format!("it answers {}", status.as_u16()))),
        status => Err(AwaitBroker::Misunderstand {
            status: status.as_u16(),
        }),
    }
}

/// The body is the reason's name, `": "`, and the message.
fn stopped(body: &str) -> AwaitBroker {
    let body = body.trim();
    let named = body.split_once(": ").and_then(|(name, message)| {
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == name)?;
        Some((*reason, message))
    });
    let (reason, message) = named.unwrap_or((Reason::CloneFailed, body));
    AwaitBroker::Stopped {
        reason,
        message: escape(message),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_stopped_broker_gives_its_reason() {
        let refused = classify(StatusCode::GONE, "GitCredentialRefused: the host said no\n");
        assert_eq!(
            refused,
            Err(AwaitBroker::Stopped {
                reason: Reason::GitCredentialRefused,
                message: "the host said no".to_owned()
            })
        );
        assert_eq!(
            classify(StatusCode::GONE, "Nonsense: \u{1b}x"),
            Err(AwaitBroker::Stopped {
                reason: Reason::CloneFailed,
                message: "Nonsense: \\u{1b}x".to_owned()
            })
        );
    }

    #[test]
    fn a_stranger_on_the_port_is_not_waited_for() {
        assert_eq!(
            classify(StatusCode::NOT_FOUND, ""),
            Err(AwaitBroker::Misunderstand { status: 404 })
        );
    }

    async fn answer(listener: &TcpListener, response: &str) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _some_of_it = stream.read(&mut request).await.unwrap();
        stream.write_all(response.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn refused_connections_and_503_are_waited_out() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let waiting = tokio::spawn(for_broker(port, Duration::from_secs(30)));
        tokio::time::sleep(Duration::from_millis(100)).await;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let unready = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
        answer(&listener, unready).await;
        answer(&listener, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn patience_has_an_end() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let error = for_broker(port, Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, AwaitBroker::LoseSilence { .. }), "{error}");
    }
}
