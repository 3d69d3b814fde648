//! Background writes (events, and the release of pods that have ended) on a queue of their own, so that status writes go
//! first: of many objects that end at once each has its status before any of this is done. Beside them run errands: what
//! objects wait for that no API server answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::BoxFuture;
use gastown_api::text::chain;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::cache::{Expectations, ObservedVersion, ReconcileTriggers};
use crate::cluster::{Call, Cluster};
use crate::types::{Key, Transition};

/// Writes that are made at once. Each call that waits for the API server is one that a status waits behind.
const AT_ONCE: usize = 2;
/// When the owner of a pod whose release failed is triggered.
const RETRY: Duration = Duration::from_secs(5);

/// Writes that nobody waits for.
#[derive(Debug)]
pub struct BackgroundWrites {
    queue: UnboundedSender<Write>,
    /// UIDs of the pods whose release is queued.
    releasing: Mutex<HashSet<String>>,
    room: Semaphore,
    /// Closed when no more is taken.
    closed: Semaphore,
}

/// What is found out for objects, which are triggered then.
pub type Errand = BoxFuture<'static, Vec<Key>>;

/// A pod that has ended, and whose evidence is in the status of its owner.
#[derive(Clone, Debug)]
pub struct Release {
    /// The object that the pod belongs to.
    pub owner: Key,
    /// The pod.
    pub pod: Key,
    /// The pod's UID.
    pub uid: String,
    /// The watch that will show the pod without our finalizer.
    pub watch: Option<Arc<ObservedVersion>>,
}

pub(super) enum Write {
    Publish {
        regarding: Box<ObjectReference>,
        transition: Transition,
        at: Timestamp,
    },
    Release(Release),
    Run(Errand),
}

/// What the writes need.
pub(super) struct With<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) expectations: &'a Expectations,
    pub(super) triggers: &'a ReconcileTriggers,
}

impl BackgroundWrites {
    /// None, and where they arrive.
    pub(super) fn new() -> (Self, UnboundedReceiver<Write>) {
        let (queue, arriving) = unbounded();
        let writes = Self {
            queue,
            releasing: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
            closed: Semaphore::new(0),
        };
        (writes, arriving)
    }

    /// Tells of a transition of the object `regarding`.
    pub fn publish(&self, regarding: ObjectReference, transition: Transition) {
        self.add(Write::Publish {
            regarding: Box::new(regarding),
            transition,
            at: Timestamp::now(),
        });
    }

    /// Takes our finalizer off an ended pod, once.
    pub fn release(&self, release: Release) {
        if self.releasing.lock().insert(release.uid.clone()) {
            self.add(Write::Release(release));
        }
    }

    /// Runs an errand, unless this replica stops to lead before it is done.
    pub fn run_errand(&self, errand: Errand) {
        self.add(Write::Run(errand));
    }

    /// The queue is closed only when this replica has stopped leading; the next leader plans the release anew.
    fn add(&self, write: Write) {
        drop(self.queue.unbounded_send(write));
    }

    /// Takes no more; [`Self::run`] ends with what it has.
    pub(super) fn close(&self) {
        self.queue.close_channel();
        self.closed.close();
    }

    /// Makes what arrives, until no more is taken and all is done.
    pub(super) async fn run(&self, arriving: UnboundedReceiver<Write>, with: With<'_>) {
        let with = &with;
        let run = |write| self.run_one(write, with);
        arriving.for_each_concurrent(None, run).await;
    }

    async fn run_one(&self, write: Write, with: &With<'_>) {
        let room = self.room.acquire().await;
        match write {
            Write::Run(errand) => {
                // It asks no API server.
                drop(room);
                self.run_unless_closed(errand, with).await;
            }
            // An event that cannot be made is no reason to decide anew.
            Write::Publish {
                regarding,
                transition,
                at,
            } => {
                if let Err(error) = with.cluster.publish(&regarding, &transition, at).await {
                    let (namespace, name) = (&regarding.namespace, &regarding.name);
                    tracing::warn!(error = %chain(&error), namespace, name, "failed to publish an event");
                }
            }
            Write::Release(release) => {
                let released = self.try_release(&release, with).await;
                // Nobody waits behind one that waits to be tried again.
                drop(room);
                follow_up(release.owner, released, with).await;
            }
        }
    }

    /// Nothing is lost by an errand that is dropped: who leads next reconciles every object.
    async fn run_unless_closed(&self, errand: Errand, with: &With<'_>) {
        tokio::select! {
            triggered = errand => with.triggers.send_all(triggered),
            _ = self.closed.acquire() => {}
        }
    }

    async fn try_release(&self, release: &Release, with: &With<'_>) -> Result<(), Call> {
        let Release {
            owner,
            pod,
            uid,
            watch,
        } = release;
        let released = with.cluster.release_pod(&pod.namespace, &pod.name, uid).await;
        if let (Ok(Some(pod)), Some(watch)) = (&released, watch) {
            with.expectations.expect(owner, watch, &pod.metadata);
        }
        self.releasing.lock().remove(uid);
        released.map(drop)
    }
}

/// After a release that failed its owner plans again.
async fn follow_up(owner: Key, released: Result<(), Call>, with: &With<'_>) {
    match released {
        Ok(()) => {}
        Err(Call::Conflict { .. } | Call::Gone { .. }) => with.triggers.send(owner),
        Err(error) => {
            tracing::warn!(error = %chain(&error), %owner, "failed to release an ended pod; tries again");
            tokio::time::sleep(RETRY).await;
            with.triggers.send(owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_errand_triggers_who_waits_and_one_that_hangs_holds_no_end_up() {
        // Another test of this process may have installed it.
        drop(gastown_crypto::install());
        let nowhere = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let cluster = Cluster {
            client: kube::Client::try_from(nowhere).unwrap(),
            identity: "me".to_owned(),
        };
        let (triggers, expectations) = (ReconcileTriggers::new(&[None]), Expectations::default());
        let mut triggered = triggers.listen(None);
        let (writes, arriving) = BackgroundWrites::new();
        writes.run_errand(Box::pin(async { vec![Key::new("n", "a"), Key::new("n", "b")] }));
        writes.run_errand(Box::pin(std::future::pending()));
        let with = With {
            cluster: &cluster,
            expectations: &expectations,
            triggers: &triggers,
        };
        let seen = async {
            let seen = [triggered.next().await, triggered.next().await];
            writes.close();
            seen.map(|key| key.unwrap().name)
        };
        let both = async { futures::join!(seen, writes.run(arriving, with)).0 };
        let seen = tokio::time::timeout(Duration::from_secs(20), both).await;
        assert_eq!(seen.unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_pod_is_queued_for_release_once() {
        let (writes, mut arriving) = BackgroundWrites::new();
        for uid in ["1", "1", "2"] {
            writes.release(Release {
                owner: Key::new("n", "a"),
                pod: Key::new("n", "polecat-a"),
                uid: uid.to_owned(),
                watch: None,
            });
        }
        let uids: Vec<_> = std::iter::from_fn(|| arriving.try_recv().ok())
            .map(|write| match write {
                Write::Release(release) => release.uid,
                Write::Publish { .. } | Write::Run(_) => unreachable!(),
            })
            .collect();
        assert_eq!(uids, ["1", "2"]);
    }
}
