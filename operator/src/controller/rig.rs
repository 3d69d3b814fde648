//! Rigs: whether they can be used, and how many polecats they have.

mod object;
mod plan;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gastown_api::labels::PREDECESSOR_RIG_FINALIZER;
use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use jiff::Timestamp;
use parking_lot::Mutex;

use self::plan::{Act, Count, Observed, next};
use super::Caches;
use crate::cache::{Indexer, Unreadable};
use crate::cluster::Call;
use crate::driver::{Controller, Roster, Then, Writes};
use crate::types::{Key, OperatorIdentity, Settings, Step};

/// A rig's counts change with every polecat; its status is written no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Registers the kind. A rig is reconciled when the counts of its polecats change, too.
pub fn register(roster: &mut Roster, caches: &Caches, settings: &Settings) {
    let rigs = Rigs {
        polecats: caches.polecats_by_rig.clone(),
        operator: settings.operator.clone(),
        last_writes: Mutex::default(),
        known: Mutex::default(),
    };
    let triggers = roster.drive(&caches.rigs, rigs);
    caches
        .polecats_by_rig
        .listen(move |rig| triggers.send(Key::cluster(rig)));
}

/// The controller of rigs.
struct Rigs {
    polecats: Arc<Indexer<Polecat>>,
    operator: Arc<OperatorIdentity>,
    /// The generation of each rig, and since when it is known.
    known: Mutex<HashMap<Key, (Option<i64>, Instant)>>,
    /// When the status of a rig was last written.
    last_writes: Mutex<HashMap<Key, Instant>>,
}

impl Rigs {
    /// How long the rig's generation has been known.
    fn known_for(&self, key: &Key, generation: Option<i64>) -> Duration {
        let mut known = self.known.lock();
        let now = Instant::now();
        let entry = known.entry(key.clone()).or_insert((generation, now));
        if entry.0 != generation {
            *entry = (generation, now);
        }
        entry.1.elapsed()
    }
}

impl Controller for Rigs {
    type Stored = Rig;
    type Observed = Observed;
    type Act = Act;
    type Flaw = Infallible;

    const KIND: &'static str = "Rig";
    const SHORTEST_WAIT: Duration = Duration::ZERO;

    fn observe(&self, rig: Arc<Rig>) -> Result<Observed, Unreadable> {
        let key = Key::of(&*rig);
        let last = self.last_writes.lock().get(&key).map(Instant::elapsed);
        Ok(Observed {
            count: Count::of(self.polecats.phases_of(&key.name)),
            known_for: self.known_for(&key, rig.metadata.generation),
            operator: self.operator.clone(),
            pause: last.map_or(Duration::ZERO, |last| PAUSE.saturating_sub(last)),
            rig,
        })
    }

    fn next(&self, observed: &Observed, now: Timestamp) -> Result<Step<Act>, Infallible> {
        Ok(next(observed, now))
    }

    fn name_of(act: &Act) -> &'static str {
        match act {
            Act::Release => "ReleaseRig",
            Act::WriteStatus(_) => "WriteStatus",
        }
    }

    async fn carry_out(&self, act: Act, observed: &mut Observed, writes: &Writes) -> Result<Then, Call> {
        let (rig, key) = (&observed.rig, Key::of(&*observed.rig));
        let written = match act {
            Act::Release => {
                let finalizer = PREDECESSOR_RIG_FINALIZER;
                writes.cluster.release_finalizer(&**rig, finalizer).await?
            }
            Act::WriteStatus(status) => {
                self.last_writes.lock().insert(key.clone(), Instant::now());
                writes.cluster.apply_status(&**rig, &*status).await?
            }
        };
        writes.wrote(&key, &written.metadata);
        Ok(Then::Wait)
    }

    async fn gone(&self, key: &Key, _writes: &Writes) {
        self.last_writes.lock().remove(key);
        self.known.lock().remove(key);
    }
}
