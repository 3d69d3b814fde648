//! The keeper's life: checkpoints while the agent works, a snapshot when asked, and a last one on SIGTERM.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gastown_api::control_api::UnseenStorage;
use gastown_api::evidence::SnapshotReport;
use gastown_api::work_order::WorkOrder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use super::context::{Context, Purpose};
use super::end::End;
use super::left_out::LeftOut;
use super::requests::{Listen, MAX_REQUEST, Received, Request, RequestListener, SNAPSHOT};
use super::save::Outcome;
use super::store::Store;
use polecat_common::console::{explain, say};
use polecat_common::control::{self, ask};
use polecat_common::disk::{Disk, Look};

/// Between two tries to learn the base.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two questions for the number of model turns.
const TICK: Duration = Duration::from_secs(10);

/// What of the grace period a snapshot leaves to the broker, and the least a snapshot gets.
const SHARE_OF_BROKER: Duration = Duration::from_secs(10);
const LEAST: Duration = Duration::from_secs(10);

/// Reading the remote again gets one part in so many of a last snapshot's time.
const REREAD_SHARE: u32 = 4;

/// A push of new files is made smaller after a failure, down to this.
const LEAST_PUSH: u64 = 16 * 1024 * 1024;

/// The most calls that wait.
const MAX_CALLS: usize = 16;

/// What a keeper works with.
#[derive(Debug)]
pub struct Keeper {
    /// The order.
    pub order: WorkOrder,
    /// Its repository.
    pub store: Store,
    /// Where the clone is made.
    pub work_tree: PathBuf,
    /// The roots of the volumes that the agent can write.
    pub volumes: Vec<PathBuf>,
    /// The most bytes of new files in one push of a snapshot.
    pub push_bytes: AtomicU64,
    /// Its socket.
    pub socket: PathBuf,
    /// The broker's git host.
    pub port: u16,
    /// What is known of the pod's end once it has begun.
    pub end: End,
}

/// What is said of a snapshot.
#[derive(Debug)]
pub(super) struct SnapshotResult {
    /// What it holds, or why there is none.
    pub(super) words: String,
    /// What it lacks.
    left_out: LeftOut,
}

impl SnapshotResult {
    pub(super) fn ending(&self) -> Ending {
        if self.left_out.is_empty() {
            Ending::Whole
        } else {
            Ending::InPart(self.left_out.report())
        }
    }
}

/// What became of the last snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All is on the remote.
    Whole,
    /// All but this is.
    InPart(SnapshotReport),
    /// There is none; with why.
    Failed(SnapshotReport),
}

impl Keeper {
    /// Serves until SIGTERM; says what became of the last snapshot.
    pub async fn serve(self: Arc<Self>, disk: Disk) -> Result<Ending, Listen> {
        let (sender, mut calls) = mpsc::channel(MAX_CALLS);
        tokio::spawn(RequestListener::open(&self.socket)?.receive(sender));
        let filling = Arc::new(Notify::new());
        tokio::spawn(watch_disk(disk, self.port, Arc::clone(&filling)));
        let (mut watch, mut asked) = (None, None);
        loop {
            tokio::select! {
                // The end goes before any checkpoint that is due as well.
                biased;
                Some(Received { request, at }) = calls.recv() => match request {
                    Request::Stop(why) => return Ok(self.stop(why, asked, at).await),
                    Request::Snapshot(stream) => {
                        asked = Some(at);
                        self.answer(stream, at).await;
                    }
                },
                () = filling.notified() => {
                    drop(self.snapshot("a volume is nearly full", Purpose::Checkpoint, Instant::now()).await);
                }
                () = tokio::time::sleep(if watch.is_some() { TICK } else { PAUSE }) => match &mut watch {
                    Some(watch) => self.look(watch).await,
                    None => watch = self.learn().await,
                },
            }
        }
    }

    async fn answer(self: &Arc<Self>, mut stream: tokio::net::UnixStream, heard: Instant) {
        let mut request = Vec::new();
        let read = (&mut stream).take(MAX_REQUEST).read_to_end(&mut request).await;
        if read.is_err() || request != SNAPSHOT {
            return;
        }
        self.end.forget();
        let asked = self.snapshot("asked", Purpose::Asked, heard).await;
        self.report(&ending(&asked));
        let answer = asked.map_or_else(|words| words, |told| told.words);
        // Who asked may have gone away; the snapshot is made.
        let _asker_is_gone = stream.write_all(answer.as_bytes()).await;
    }

    /// The last snapshot, on a signal that was received `at`. The grace has run since the snapshot was asked for before it.
    pub(super) async fn stop(
        self: &Arc<Self>,
        why: &'static str,
        asked: Option<Instant>,
        at: Instant,
    ) -> Ending {
        let grace = Duration::from_secs(self.order.limits.grace_seconds);
        let begun = asked.filter(|asked| *asked + grace > at);
        if begun.is_none() {
            self.end.forget();
        }
        let last = self.snapshot(why, Purpose::Last, begun.unwrap_or(at)).await;
        let ending = ending(&last);
        self.report(&ending);
        ending
    }

    fn report(&self, ending: &Ending) {
        self.end.report(match ending {
            Ending::Whole => None,
            Ending::InPart(lacking) | Ending::Failed(lacking) => Some(lacking),
        });
    }

    /// When a snapshot must be over that is due since `since`. The end of the pod may be asked for in the middle of a
    /// checkpoint, which then ends first: it takes half the grace at most, and the snapshots of the end get the other half.
    pub(super) fn deadline(&self, purpose: Purpose, since: Instant) -> Instant {
        let grace = Duration::from_secs(self.order.limits.grace_seconds);
        let all = grace.saturating_sub(SHARE_OF_BROKER).max(LEAST);
        match purpose {
            Purpose::Checkpoint => since + all / 2,
            Purpose::Asked => (since + all / 4 * 3).max(Instant::now() + LEAST),
            Purpose::Last => (since + all).max(Instant::now() + LEAST),
        }
    }

    /// On a thread of its own: meanwhile signals and requests are heard, and the volumes watched.
    pub(super) async fn snapshot(
        self: &Arc<Self>,
        why: &'static str,
        purpose: Purpose,
        since: Instant,
    ) -> Result<SnapshotResult, String> {
        let keeper = Arc::clone(self);
        let deadline = self.deadline(purpose, since);
        if purpose != Purpose::Checkpoint {
            self.reread(deadline).await;
        }
        let taken = tokio::task::spawn_blocking(move || keeper.take(why, purpose, deadline)).await;
        taken.unwrap_or_else(|error| Err(format!("failed to save the work tree: {error}")))
    }

    /// A branch may have been moved or deleted on the host since the push; what it dropped must be saved.
    async fn reread(&self, deadline: Instant) {
        let share = deadline.saturating_duration_since(Instant::now()) / REREAD_SHARE;
        let words = match tokio::time::timeout(share, control::reread(self.port)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => explain(&error),
            Err(_) => format!("it took longer than {} s", share.as_secs()),
        };
        say(&format!(
            "polecat keeper: going by what the broker read before: {words}"
        ));
    }

    pub(super) fn take(
        &self,
        why: &str,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<SnapshotResult, String> {
        let started = Instant::now();
        let push_bytes = self.push_bytes.load(Ordering::Relaxed);
        let context = Context {
            order: &self.order,
            store: &self.store,
            work_tree: &self.work_tree,
            volumes: &self.volumes,
            deadline,
            purpose,
            end: (purpose != Purpose::Checkpoint).then_some(&self.end),
            push_bytes,
        };
        let outcome = match context.take() {
            Ok(Outcome::Saved {
                commit,
                words,
                left_out,
            }) => Ok(SnapshotResult {
                words: format!("saved {commit} as {}: {words}", self.store.wip()),
                left_out,
            }),
            Ok(Outcome::Nothing { reason, left_out }) => Ok(SnapshotResult {
                words: format!("nothing to save: {reason}"),
                left_out,
            }),
            Ok(Outcome::NoClone) => Ok(SnapshotResult {
                words: "nothing to save: no clone was found".to_owned(),
                left_out: LeftOut::no_clone(self.work_tree.as_path()),
            }),
            Err(error) => {
                // It may have been too much for the time or for the host.
                let less = (push_bytes / 2).max(LEAST_PUSH);
                self.push_bytes.store(less, Ordering::Relaxed);
                Err(format!("failed to save the work tree: {}", explain(&error)))
            }
        };
        let words = outcome.as_ref().map_or_else(|words| words, |told| &told.words);
        say(&format!(
            "polecat keeper: {why}: {words} ({} ms)",
            started.elapsed().as_millis()
        ));
        outcome
    }
}

fn ending(taken: &Result<SnapshotResult, String>) -> Ending {
    match taken {
        Ok(result) => result.ending(),
        Err(words) => {
            let left_out = LeftOut {
                notes: vec![words.clone()],
                ..LeftOut::default()
            };
            Ending::Failed(left_out.report())
        }
    }
}

/// Looks at the volumes, and tells the broker, until it has heard, which one is about to exceed its limit.
async fn watch_disk(mut disk: Disk, port: u16, filling: Arc<Notify>) {
    let mut unseen = 0;
    loop {
        // A broker that is away uses what it used before.
        unseen = ask(port, &UnseenStorage {})
            .await
            .map_or(unseen, |used| used.bytes);
        let looked = tokio::task::spawn_blocking(move || {
            let look = disk.look(unseen);
            (disk, look)
        });
        let Ok((returned, Look { full, pause, .. })) = looked.await else {
            return;
        };
        disk = returned;
        if let Some(full) = full {
            say(&format!(
                "polecat keeper: the volume {:?} holds {} bytes",
                full.volume, full.used
            ));
            filling.notify_one();
            if ask(port, &full).await.is_ok() {
                return;
            }
        }
        tokio::time::sleep(pause).await;
    }
}
