//! Requests to the keeper: signals, and a socket on its own volume that no other container mounts.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use polecat_common::console::say;

/// The most bytes of a request.
pub const MAX_REQUEST: u64 = 64;

/// The request for a snapshot, as `stop` writes it.
pub const SNAPSHOT: &[u8] = b"snapshot\n";

/// Why requests cannot be received.
#[derive(Debug, thiserror::Error)]
pub enum Listen {
    /// The socket cannot be made.
    #[error("failed to listen on {path:?}; the keeper needs its volume")]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Signals cannot be handled.
    #[error("failed to listen for signals")]
    HandleSignals {
        /// What the system said.
        #[from]
        source: io::Error,
    },
}

/// A request, and when it was received: its time runs from then on, whatever the keeper was doing.
#[derive(Debug)]
pub struct Received {
    /// The request.
    pub request: Request,
    /// When it was received.
    pub at: Instant,
}

/// What is asked of the keeper.
#[derive(Debug)]
pub enum Request {
    /// A last snapshot, and then the end; with why.
    Stop(&'static str),
    /// Perhaps a snapshot: the client has not been read yet.
    Snapshot(tokio::net::UnixStream),
}

/// Receives requests from all sources.
#[derive(Debug)]
pub struct RequestListener {
    terminate: Signal,
    interrupt: Signal,
    listener: UnixListener,
}

impl RequestListener {
    /// Listens on `socket` and for signals.
    pub fn open(socket: &Path) -> Result<Self, Listen> {
        // One that a killed keeper left would refuse the name.
        let _there_was_none = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).map_err(|source| Listen::Bind {
            path: socket.to_owned(),
            source,
        })?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            listener,
        })
    }

    /// Passes requests on until nobody takes them any more.
    pub async fn receive(mut self, requests: mpsc::Sender<Received>) {
        loop {
            let request = tokio::select! {
                _ = self.terminate.recv() => Request::Stop("told to stop"),
                _ = self.interrupt.recv() => Request::Stop("interrupted"),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => Request::Snapshot(stream),
                    Err(error) => {
                        say(&format!("polecat keeper: failed to accept a request: {error}"));
                        continue;
                    }
                },
            };
            let at = Instant::now();
            if requests.send(Received { request, at }).await.is_err() {
                return;
            }
        }
    }
}

/// Asks the keeper that listens on `socket` for a snapshot and waits for it.
pub fn ask(socket: &Path, patience: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(SNAPSHOT)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}
