//! The keeper's life: learns the base as soon as the broker serves, takes a snapshot when asked, and a last one on
//! SIGTERM.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gastown_api::pod::GIT_PORT;
use gastown_api::work_order::WorkOrder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use super::snapshot::{Context, Outcome};
use super::store::Store;
use crate::clone::wait;
use crate::console::{explain, say};

/// Between two tries to learn the base.
const PAUSE: Duration = Duration::from_secs(1);

/// What of the grace period a snapshot leaves to the broker, and the least a snapshot gets.
const SHARE_OF_BROKER: Duration = Duration::from_secs(10);
const LEAST: Duration = Duration::from_secs(10);

/// The most bytes of a request.
const MAX_REQUEST: u64 = 64;

/// What `stop` asks.
const ASK: &[u8] = b"snapshot\n";

/// Why the keeper cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Serve {
    /// The socket cannot be made.
    #[error("failed to listen on {path:?}; the keeper needs its volume")]
    Listen {
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

/// What a keeper works with.
#[derive(Debug)]
pub struct Keeper {
    /// The order.
    pub order: WorkOrder,
    /// Its repository.
    pub store: Store,
    /// The work tree.
    pub work_tree: PathBuf,
    /// Its socket.
    pub socket: PathBuf,
}

impl Keeper {
    /// Serves until SIGTERM; says whether the last snapshot succeeded.
    pub async fn serve(&self) -> Result<bool, Serve> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let listener = self.listen()?;
        let mut learned = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(self.snapshot("told to stop").is_ok()),
                _ = interrupt.recv() => return Ok(self.snapshot("interrupted").is_ok()),
                () = tokio::time::sleep(PAUSE), if !learned => learned = self.learn().await,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.answer(stream).await,
                    Err(error) => say(&format!("polecat keeper: failed to accept a request: {error}")),
                },
            }
        }
    }

    fn listen(&self) -> Result<UnixListener, Serve> {
        // One that a killed keeper left would refuse the name.
        let _there_was_none = std::fs::remove_file(&self.socket);
        UnixListener::bind(&self.socket).map_err(|source| Serve::Listen {
            path: self.socket.clone(),
            source,
        })
    }

    /// Fetches once the broker serves, so that the base is known before the agent pushes.
    async fn learn(&self) -> bool {
        match wait::ask(GIT_PORT).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return false,
            // Nothing will ever be cloned.
            Err(_) => return true,
        }
        match self.store.refresh(self.deadline()) {
            Ok(_) => true,
            Err(error) => {
                say(&format!("polecat keeper: {}", explain(&error)));
                false
            }
        }
    }

    async fn answer(&self, mut stream: tokio::net::UnixStream) {
        let mut request = Vec::new();
        let read = (&mut stream).take(MAX_REQUEST).read_to_end(&mut request).await;
        if read.is_err() || request != ASK {
            return;
        }
        let answer = match self.snapshot("asked") {
            Ok(words) | Err(words) => words,
        };
        // Who asked may have gone away; the snapshot is made.
        let _asker_is_gone = stream.write_all(answer.as_bytes()).await;
    }

    fn deadline(&self) -> Instant {
        let grace = Duration::from_secs(self.order.limits.grace_seconds);
        Instant::now() + grace.saturating_sub(SHARE_OF_BROKER).max(LEAST)
    }

    fn snapshot(&self, why: &str) -> Result<String, String> {
        let started = Instant::now();
        let context = Context {
            order: &self.order,
            store: &self.store,
            work_tree: &self.work_tree,
            deadline: self.deadline(),
        };
        let outcome = match context.take() {
            Ok(Outcome::Saved { commit, words }) => {
                Ok(format!("saved {commit} as {}: {words}", self.store.wip()))
            }
            Ok(Outcome::Nothing(reason)) => Ok(format!("nothing to save: {reason}")),
            Err(error) => Err(format!("failed to save the work tree: {}", explain(&error))),
        };
        let (Ok(words) | Err(words)) = &outcome;
        say(&format!(
            "polecat keeper: {why}: {words} ({} ms)",
            started.elapsed().as_millis()
        ));
        outcome
    }
}

/// Asks the keeper that listens on `socket` for a snapshot and waits for it.
pub fn ask(socket: &Path, patience: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(ASK)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}
