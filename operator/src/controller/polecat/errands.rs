//! What nobody waits for: events, and the release of pods that have ended. It has a lane of its own, so that of many
//! polecats that end at once each is Done before any of this is done.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use gastown_api::pod::pod_name;
use gastown_api::polecat::Polecat;
use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::sync::Semaphore;

use crate::cache::Scope;
use crate::cluster::{Call, Cluster};
use crate::types::Transition;

/// Errands that are run at once. Each call that waits for the API server is one that a status waits behind.
const LANES: usize = 2;
/// When a release that failed is looked at again.
const RETRY: Duration = Duration::from_secs(5);

/// Errands to run.
#[derive(Debug)]
pub struct Errands {
    queue: UnboundedSender<Errand>,
    /// UIDs of the pods whose release is queued.
    releasing: Mutex<HashSet<String>>,
    lanes: Semaphore,
}

#[derive(Debug)]
pub enum Errand {
    Publish {
        polecat: Arc<Polecat>,
        transition: Transition,
        at: Timestamp,
    },
    Release {
        namespace: String,
        polecat: String,
        uid: String,
    },
}

impl Errands {
    /// None, and where they arrive.
    #[must_use]
    pub fn new() -> (Self, UnboundedReceiver<Errand>) {
        let (queue, arriving) = unbounded();
        let errands = Self {
            queue,
            releasing: Mutex::default(),
            lanes: Semaphore::new(LANES),
        };
        (errands, arriving)
    }

    /// Tells of a transition of a polecat.
    pub fn publish(&self, polecat: Arc<Polecat>, transition: Transition) {
        let at = Timestamp::now();
        self.add(Errand::Publish {
            polecat,
            transition,
            at,
        });
    }

    /// Takes our finalizer off an ended pod, once.
    pub fn release(&self, namespace: &str, polecat: &str, uid: String) {
        if self.releasing().insert(uid.clone()) {
            let (namespace, polecat) = (namespace.to_owned(), polecat.to_owned());
            self.add(Errand::Release {
                namespace,
                polecat,
                uid,
            });
        }
    }

    /// The queue is closed only when this replica has stopped leading; the next leader plans the release anew.
    fn add(&self, errand: Errand) {
        drop(self.queue.unbounded_send(errand));
    }

    fn releasing(&self) -> MutexGuard<'_, HashSet<String>> {
        self.releasing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more; [`Self::run`] ends with what it has.
    pub fn close(&self) {
        self.queue.close_channel();
    }

    /// Runs what arrives, until no more is taken and all is done.
    pub async fn run(&self, arriving: UnboundedReceiver<Errand>, cluster: &Cluster, scope: &Scope) {
        let run = |errand| self.run_one(errand, cluster, scope);
        arriving.for_each_concurrent(None, run).await;
    }

    async fn run_one(&self, errand: Errand, cluster: &Cluster, scope: &Scope) {
        let lane = self.lanes.acquire().await;
        match errand {
            // An event that cannot be made is no reason to decide anew.
            Errand::Publish {
                polecat,
                transition,
                at,
            } => {
                if let Err(error) = cluster.publish(&polecat, &transition, at).await {
                    let (namespace, name) = (polecat.namespace(), polecat.name_any());
                    tracing::warn!(error = ?error, namespace, name, "failed to publish an event");
                }
            }
            Errand::Release {
                namespace,
                polecat,
                uid,
            } => {
                let released = cluster.release_pod(&namespace, &pod_name(&polecat), &uid).await;
                if let Ok(Some(pod)) = &released {
                    scope.written.pod(&namespace, &polecat, &pod.metadata);
                }
                self.releasing().remove(&uid);
                // Nobody waits behind one that waits to be tried again.
                drop(lane);
                match released {
                    Ok(_) => {}
                    Err(Call::Conflict { .. } | Call::Gone { .. }) => scope.wakes.send((namespace, polecat)),
                    Err(error) => {
                        tracing::warn!(error = ?error, namespace, polecat, "failed to release an ended pod; tries again");
                        tokio::time::sleep(RETRY).await;
                        scope.wakes.send((namespace, polecat));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_queued_for_release_once() {
        let (errands, mut arriving) = Errands::new();
        errands.release("n", "a", "1".to_owned());
        errands.release("n", "a", "1".to_owned());
        errands.release("n", "a", "2".to_owned());
        let uids: Vec<_> = std::iter::from_fn(|| arriving.try_recv().ok())
            .map(|errand| match errand {
                Errand::Release { uid, .. } => uid,
                Errand::Publish { .. } => unreachable!(),
            })
            .collect();
        assert_eq!(uids, ["1", "2"]);
    }
}
