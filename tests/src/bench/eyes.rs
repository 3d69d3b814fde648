//! What a watcher of pods and polecats sees, and when.

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::TryStreamExt as _;
use gastown_api::polecat::PolecatPhase;
use kube::core::{ApiResource, GroupVersionKind, Object};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::cluster::NAMESPACE;

/// What has been seen of the objects that exist.
#[derive(Debug, Default)]
pub struct Seen {
    /// When each pod was first seen, by its name.
    pub pods: HashMap<String, Instant>,
    /// When each polecat was first seen in each phase, by its name.
    pub phases: HashMap<String, HashMap<PolecatPhase, Instant>>,
    /// When each polecat that exists was first seen, by its name.
    pub polecats: HashMap<String, Instant>,
}

impl Seen {
    /// When the polecat `name` was first seen in `phase`.
    #[must_use]
    pub fn phase(&self, name: &str, phase: PolecatPhase) -> Option<Instant> {
        self.phases.get(name)?.get(&phase).copied()
    }
}

/// Watches pods and polecats until it is dropped.
pub struct Eyes {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<()>,
    _watches: JoinSet<()>,
}

/// The part of an object that is not looked at, so that watching costs little.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Unread {}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Status {
    phase: Option<PolecatPhase>,
}

impl Eyes {
    /// Begins to watch.
    #[must_use]
    pub fn open(client: &Client) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (change, changed) = watch::channel(());
        let change = Arc::new(change);
        let mut watches = JoinSet::new();
        let pods = Api::<Object<Unread, Unread>>::namespaced_with(
            client.clone(),
            NAMESPACE,
            &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod")),
        );
        watches.spawn(follow(pods, seen.clone(), change.clone(), note_pod));
        let kind = GroupVersionKind::gvk(gastown_api::GROUP, gastown_api::VERSION, "Polecat");
        let polecats = Api::<Object<Unread, Status>>::namespaced_with(
            client.clone(),
            NAMESPACE,
            &ApiResource::from_gvk(&kind),
        );
        watches.spawn(follow(polecats, seen.clone(), change, note_polecat));
        Self {
            seen,
            changed,
            _watches: watches,
        }
    }

    /// What has been seen.
    pub fn look<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.seen.lock())
    }

    /// Waits until `holds`, for at most `limit`.
    pub async fn wait(&self, what: &str, limit: Duration, holds: impl Fn(&Seen) -> bool) -> Result<()> {
        let mut changed = self.changed.clone();
        let until = async {
            while !self.look(&holds) {
                if changed.changed().await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(limit, until).await.is_err() {
            let (pods, polecats) = self.look(|seen| (seen.pods.len(), seen.polecats.len()));
            bail!(
                "{what} did not happen within {} s; there are {polecats} polecats and {pods} pods",
                limit.as_secs()
            );
        }
        Ok(())
    }
}

type Note<K> = fn(&mut Seen, &K, Instant, Change);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    There,
    Gone,
}

async fn follow<S>(
    api: Api<Object<Unread, S>>,
    seen: Arc<Mutex<Seen>>,
    change: Arc<watch::Sender<()>>,
    note: Note<Object<Unread, S>>,
) where
    S: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let mut events = pin!(watcher::watcher(api, watcher::Config::default()));
    loop {
        // A failed watch is taken up again by the next poll of the stream.
        let Ok(event) = events.try_next().await else {
            continue;
        };
        let now = Instant::now();
        let (object, what) = match event {
            Some(Event::Apply(object) | Event::InitApply(object)) => (object, Change::There),
            Some(Event::Delete(object)) => (object, Change::Gone),
            Some(Event::Init | Event::InitDone) => continue,
            None => return,
        };
        note(&mut seen.lock(), &object, now, what);
        change.send_replace(());
    }
}

fn note_pod(seen: &mut Seen, pod: &Object<Unread, Unread>, now: Instant, change: Change) {
    if change == Change::There {
        seen.pods.entry(pod.name_any()).or_insert(now);
    } else {
        seen.pods.remove(&pod.name_any());
    }
}

fn note_polecat(seen: &mut Seen, polecat: &Object<Unread, Status>, now: Instant, change: Change) {
    let name = polecat.name_any();
    if change == Change::Gone {
        seen.polecats.remove(&name);
        seen.phases.remove(&name);
        return;
    }
    if let Some(phase) = polecat.status.as_ref().and_then(|status| status.phase) {
        let phases = seen.phases.entry(name.clone()).or_default();
        phases.entry(phase).or_insert(now);
    }
    seen.polecats.entry(name).or_insert(now);
}
