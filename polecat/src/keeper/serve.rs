//! The keeper's life: learns the base as soon as the broker serves, takes checkpoints while the agent works, a snapshot
//! when asked, and a last one on SIGTERM.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gastown_api::work_order::{Limits, WorkOrder};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::disk::Disk;
use super::schedule::Schedule;
use super::snapshot::{Context, Outcome};
use super::store::Store;
use super::survey::{self, Fingerprint};
use crate::clone::wait;
use crate::console::{explain, say};
use crate::loopback::{self, DISK_FULL, DiskFull, TURNS};

/// Between two tries to learn the base.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two questions for the number of model turns.
const TICK: Duration = Duration::from_secs(10);

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
    /// The broker's git host.
    pub port: u16,
}

/// What a snapshot is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The agent goes on.
    Checkpoint,
    /// It has ended, or is about to.
    Last,
}

/// What the keeper remembers between two checkpoints.
#[derive(Debug)]
pub(super) struct Watch {
    schedule: Schedule,
    /// The tree of which everything is saved.
    saved: Option<Fingerprint>,
}

impl Watch {
    /// Nothing is saved yet.
    pub(super) fn starting(limits: &Limits) -> Self {
        Self {
            schedule: Schedule::new(limits, Instant::now()),
            saved: None,
        }
    }
}

impl Keeper {
    /// Serves until SIGTERM; says whether the last snapshot succeeded.
    pub async fn serve(self: Arc<Self>, disk: Disk) -> Result<bool, Serve> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let listener = self.listen()?;
        let filling = Arc::new(Notify::new());
        tokio::spawn(watch_disk(disk, self.port, Arc::clone(&filling)));
        let mut watch = None;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(self.snapshot("told to stop", Purpose::Last).await.is_ok()),
                _ = interrupt.recv() => return Ok(self.snapshot("interrupted", Purpose::Last).await.is_ok()),
                () = filling.notified() => drop(self.snapshot("a volume is nearly full", Purpose::Checkpoint).await),
                () = tokio::time::sleep(if watch.is_some() { TICK } else { PAUSE }) => match &mut watch {
                    Some(watch) => self.look(watch).await,
                    None => watch = self.learn().await,
                },
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
    async fn learn(self: &Arc<Self>) -> Option<Watch> {
        let watch = Watch::starting(&self.order.limits);
        match wait::ask(self.port).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            // Nothing will ever be cloned.
            Err(_) => return Some(watch),
        }
        match self.store.refresh(self.deadline(Purpose::Last)) {
            Ok(_) => Some(watch),
            Err(error) => {
                say(&format!("polecat keeper: {}", explain(&error)));
                None
            }
        }
    }

    /// Takes a checkpoint where one is due and something changed.
    pub(super) async fn look(self: &Arc<Self>, watch: &mut Watch) {
        let turns = self.turns().await;
        if !watch.schedule.is_due(Instant::now(), turns) {
            return;
        }
        let seen = {
            let keeper = Arc::clone(self);
            let deadline = self.deadline(Purpose::Checkpoint);
            let survey = move || survey::fingerprint(&keeper.work_tree, deadline);
            tokio::task::spawn_blocking(survey).await.unwrap_or_default()
        };
        let unchanged = seen.is_some() && seen == watch.saved;
        let saved = unchanged || self.snapshot("checkpoint", Purpose::Checkpoint).await.is_ok();
        watch.saved = seen.filter(|_| saved);
        watch.schedule.looked(Instant::now(), turns, saved);
    }

    /// None: the broker is away, or too busy.
    async fn turns(&self) -> Option<u64> {
        let (status, body) = loopback::call(self.port, Method::GET, TURNS, Vec::new())
            .await
            .ok()?;
        status.is_success().then_some(body)?.parse().ok()
    }

    async fn answer(self: &Arc<Self>, mut stream: tokio::net::UnixStream) {
        let mut request = Vec::new();
        let read = (&mut stream).take(MAX_REQUEST).read_to_end(&mut request).await;
        if read.is_err() || request != ASK {
            return;
        }
        let answer = match self.snapshot("asked", Purpose::Last).await {
            Ok(words) | Err(words) => words,
        };
        // Who asked may have gone away; the snapshot is made.
        let _asker_is_gone = stream.write_all(answer.as_bytes()).await;
    }

    /// When a snapshot that starts now must be over. The end of the pod may be asked for in the middle of a checkpoint,
    /// and the last snapshot must still fit the grace.
    fn deadline(&self, purpose: Purpose) -> Instant {
        let grace = Duration::from_secs(self.order.limits.grace_seconds);
        let all = grace.saturating_sub(SHARE_OF_BROKER).max(LEAST);
        Instant::now()
            + match purpose {
                Purpose::Checkpoint => all / 2,
                Purpose::Last => all,
            }
    }

    /// On a thread of its own: signals, requests and the volumes are still attended to.
    async fn snapshot(self: &Arc<Self>, why: &'static str, purpose: Purpose) -> Result<String, String> {
        let keeper = Arc::clone(self);
        let taken = tokio::task::spawn_blocking(move || keeper.take(why, purpose)).await;
        taken.unwrap_or_else(|error| Err(format!("failed to save the work tree: {error}")))
    }

    fn take(&self, why: &str, purpose: Purpose) -> Result<String, String> {
        let started = Instant::now();
        let context = Context {
            order: &self.order,
            store: &self.store,
            work_tree: &self.work_tree,
            deadline: self.deadline(purpose),
            purpose,
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

/// Looks at the volumes, and tells the broker, until it has heard, which one is about to exceed its limit.
async fn watch_disk(mut disk: Disk, port: u16, filling: Arc<Notify>) {
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let (full, pause) = disk.look();
            (disk, full, pause)
        });
        let Ok((returned, full, pause)) = looked.await else {
            return;
        };
        disk = returned;
        if let Some(full) = full {
            say(&format!(
                "polecat keeper: the volume {:?} holds {} bytes",
                full.volume, full.used
            ));
            filling.notify_one();
            if tell(port, full).await {
                return;
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn tell(port: u16, full: DiskFull) -> bool {
    let Ok(body) = serde_json::to_vec(&full) else {
        return false;
    };
    let told = loopback::call(port, Method::POST, DISK_FULL, body).await;
    told.is_ok_and(|(status, _)| status.is_success())
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
