//! What the operator knows of the cluster: reflected objects, and what it has written itself and not seen yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::mpsc;
use gastown_api::labels;
use gastown_api::placement::Placement;
use gastown_api::pod::pod_name;
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_api::rig::Rig;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::controller::polecat::plan::Word;
use crate::packed::{Packed, Unreadable};
use crate::pod_view::PodView;

/// How long the plan waits for a watch to show what was written; then it decides on what it has.
pub const CATCH_UP: Duration = Duration::from_secs(5);

/// The polecats and pods of one namespace, or of all.
pub struct Scope {
    /// The namespace; none: all.
    pub namespace: Option<String>,
    /// The polecats.
    pub polecats: Store<Packed<Polecat>>,
    /// The pods that carry the polecat label.
    pub pods: Store<Packed<PodView>>,
    /// How far the watch of polecats has come.
    pub polecats_seen: Seen,
    /// How far the watch of pods has come.
    pub pods_seen: Seen,
    /// What was written and not seen yet, by polecat.
    pub written: Written,
    /// What brokers said whose doorbell rings.
    pub words: Words,
    /// Polecats to look at.
    pub wakes: Wakes,
}

impl Scope {
    /// Empty, until watches fill the stores.
    #[must_use]
    pub fn new(
        namespace: Option<String>,
        polecats: Store<Packed<Polecat>>,
        pods: Store<Packed<PodView>>,
    ) -> Self {
        Self {
            namespace,
            polecats,
            pods,
            polecats_seen: Seen::default(),
            pods_seen: Seen::default(),
            written: Written::default(),
            words: Words::default(),
            wakes: Wakes::default(),
        }
    }

    /// Whether there is a polecat of that name.
    #[must_use]
    pub fn has_polecat(&self, namespace: &str, name: &str) -> bool {
        self.polecats
            .get(&ObjectRef::new(name).within(namespace))
            .is_some()
    }

    /// Namespace and name of every polecat.
    #[must_use]
    pub fn every_polecat(&self) -> Vec<(String, String)> {
        self.polecats.state().iter().map(|p| key_of(&**p)).collect()
    }

    /// The pod of the polecat of that name.
    pub fn pod_of(&self, namespace: &str, polecat: &str) -> Result<Option<PodView>, Unreadable> {
        let pod = ObjectRef::new(&pod_name(polecat)).within(namespace);
        self.pods.get(&pod).map(|pod| pod.unpack()).transpose()
    }
}

/// What brokers said whose doorbell rings, by polecat. It is not in the status: after a restart it is read once more.
#[derive(Debug, Default)]
pub struct Words(Mutex<HashMap<(String, String), Word>>);

impl Words {
    /// Remembers what the broker of this polecat said.
    pub fn keep(&self, namespace: &str, name: &str, word: Word) {
        lock(&self.0).insert((namespace.to_owned(), name.to_owned()), word);
    }

    /// What the broker of this polecat said last.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Word> {
        lock(&self.0)
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// The doorbell rings no more.
    pub fn forget(&self, namespace: &str, name: &str) {
        lock(&self.0).remove(&(namespace.to_owned(), name.to_owned()));
    }
}

/// The highest resource version that a watch delivered. Versions of one kind of resource grow, and a watch delivers
/// them in order (KEP-5504).
#[derive(Debug, Default)]
pub struct Seen(AtomicU64);

impl Seen {
    /// Notes an object that the watch delivered.
    pub fn note(&self, meta: &ObjectMeta) {
        self.0.fetch_max(version_of(meta), Ordering::Relaxed);
    }

    fn reached(&self, version: u64) -> bool {
        self.0.load(Ordering::Relaxed) >= version
    }
}

/// The resource version as a number; 0 where it is none, which every watch has reached.
#[must_use]
pub fn version_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

/// What was written and not seen yet. Without it a plan would decide on what it has already changed, and be refused.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<(String, String), Expectation>>);

#[derive(Clone, Copy, Debug)]
struct Expectation {
    polecat: u64,
    pod: u64,
    since: Instant,
}

impl Written {
    /// Notes the version of the polecat that the API server answered with.
    pub fn polecat(&self, namespace: &str, name: &str, meta: &ObjectMeta) {
        let version = version_of(meta);
        self.note(namespace, name, |expectation| expectation.polecat = version);
    }

    /// Notes the version of the polecat's pod that the API server answered with.
    pub fn pod(&self, namespace: &str, polecat: &str, meta: &ObjectMeta) {
        let version = version_of(meta);
        self.note(namespace, polecat, |expectation| expectation.pod = version);
    }

    fn note(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Expectation)) {
        let mut map = lock(&self.0);
        let now = Instant::now();
        let expectation = map
            .entry((namespace.to_owned(), name.to_owned()))
            .or_insert(Expectation {
                polecat: 0,
                pod: 0,
                since: now,
            });
        expectation.since = now;
        change(expectation);
    }

    /// Whether the watches have shown everything that was written for this polecat, or had their time.
    pub fn is_seen(&self, namespace: &str, name: &str, polecats: &Seen, pods: &Seen) -> bool {
        let mut map = lock(&self.0);
        let key = (namespace.to_owned(), name.to_owned());
        let Some(expectation) = map.get(&key) else {
            return true;
        };
        let caught_up = polecats.reached(expectation.polecat) && pods.reached(expectation.pod);
        let seen = caught_up || expectation.since.elapsed() > CATCH_UP;
        if seen {
            map.remove(&key);
        }
        seen
    }

    /// Forgets a polecat that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        lock(&self.0).remove(&(namespace.to_owned(), name.to_owned()));
    }
}

/// Names of objects to look at; while this replica does not lead, nobody listens and nothing is kept.
#[derive(Debug)]
pub struct Wakes<T = (String, String)>(Mutex<Option<mpsc::UnboundedSender<T>>>);

impl<T> Default for Wakes<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Wakes<T> {
    /// Asks for a look at the object.
    pub fn send(&self, name: T) {
        if let Some(sender) = lock(&self.0).as_ref() {
            // A closed channel means that this replica has stopped leading.
            drop(sender.unbounded_send(name));
        }
    }

    /// Asks for a look at each of the objects.
    pub fn send_all(&self, names: impl IntoIterator<Item = T>) {
        for name in names {
            self.send(name);
        }
    }

    /// Listens from now on, in place of who listened before.
    pub fn listen(&self) -> mpsc::UnboundedReceiver<T> {
        let (sender, receiver) = mpsc::unbounded();
        *lock(&self.0) = Some(sender);
        receiver
    }

    /// Nobody listens any more.
    pub fn close(&self) {
        *lock(&self.0) = None;
    }
}

/// How many polecats each rig has, kept up to date by the watches of polecats.
#[derive(Debug, Default)]
pub struct Census(Mutex<CensusTables>);

#[derive(Debug, Default)]
struct CensusTables {
    polecats: HashMap<(String, String), Entry>,
    rigs: HashMap<String, Count>,
    phases: HashMap<Option<PolecatPhase>, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    rig: String,
    phase: Option<PolecatPhase>,
}

/// How many polecats a rig has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that are not Terminated.
    pub polecats: i32,
    /// Those that are Working.
    pub working: i32,
}

impl Census {
    /// Counts a polecat anew; answers the rig whose count changed.
    pub fn note(&self, polecat: &Polecat) -> Option<String> {
        let phase = polecat.status.as_ref().and_then(|s| s.phase);
        let rig = polecat.spec.rig.clone();
        self.replace(key_of(polecat), Some(Entry { rig, phase }))
    }

    /// Counts a polecat no more; answers the rig whose count changed.
    pub fn forget(&self, polecat: &Polecat) -> Option<String> {
        self.replace(key_of(polecat), None)
    }

    /// Drops the polecats of a scope that a new list does not hold; answers the rigs whose counts changed.
    pub fn retain(&self, namespace: Option<&str>, exists: impl Fn(&(String, String)) -> bool) -> Vec<String> {
        let gone: Vec<_> = {
            let tables = lock(&self.0);
            let in_scope = |key: &&(String, String)| namespace.is_none_or(|n| n == key.0);
            let keys = tables.polecats.keys().filter(in_scope);
            keys.filter(|key| !exists(key)).cloned().collect()
        };
        gone.into_iter()
            .filter_map(|key| self.replace(key, None))
            .collect()
    }

    fn replace(&self, key: (String, String), entry: Option<Entry>) -> Option<String> {
        let mut tables = lock(&self.0);
        let before = tables.polecats.get(&key).cloned();
        if before == entry {
            return None;
        }
        if let Some(before) = &before {
            tables.add(before, -1);
        }
        if let Some(entry) = &entry {
            tables.add(entry, 1);
            tables.polecats.insert(key, entry.clone());
        } else {
            tables.polecats.remove(&key);
        }
        entry.or(before).map(|e| e.rig)
    }

    /// The polecats of a rig that are neither Done nor Terminated: those that may still take something from it.
    #[must_use]
    pub fn unsettled(&self, rig: &str) -> Vec<(String, String)> {
        let of_rig = |entry: &Entry| entry.rig == rig && !is_settled(entry.phase);
        let tables = lock(&self.0);
        let found = tables.polecats.iter().filter(|(_, entry)| of_rig(entry));
        found.map(|(key, _)| key.clone()).collect()
    }

    /// The counts of a rig.
    #[must_use]
    pub fn of(&self, rig: &str) -> Count {
        lock(&self.0).rigs.get(rig).copied().unwrap_or_default()
    }

    /// How many polecats are in each phase; none: not looked at yet.
    #[must_use]
    pub fn phases(&self) -> Vec<(Option<PolecatPhase>, i64)> {
        lock(&self.0)
            .phases
            .iter()
            .map(|(phase, count)| (*phase, *count))
            .collect()
    }
}

impl CensusTables {
    fn add(&mut self, entry: &Entry, by: i32) {
        *self.phases.entry(entry.phase).or_default() += i64::from(by);
        let count = self.rigs.entry(entry.rig.clone()).or_default();
        if entry.phase != Some(PolecatPhase::Terminated) {
            count.polecats += by;
        }
        if entry.phase == Some(PolecatPhase::Working) {
            count.working += by;
        }
        if *count == Count::default() && by < 0 {
            self.rigs.remove(&entry.rig);
        }
    }
}

/// Namespace and name of a polecat.
#[must_use]
pub fn key_of(polecat: &impl ResourceExt) -> (String, String) {
    (polecat.namespace().unwrap_or_default(), polecat.name_any())
}

/// Whether it is not built again.
fn is_settled(phase: Option<PolecatPhase>) -> bool {
    matches!(phase, Some(PolecatPhase::Done | PolecatPhase::Terminated))
}

/// Leaves out what no plan reads. A polecat that is Done or Terminated is not built again, so its task goes too.
pub fn prune_polecat(polecat: &mut Polecat) {
    prune_meta(&mut polecat.metadata);
    if is_settled(polecat.status.as_ref().and_then(|s| s.phase)) {
        polecat.spec.task = None;
        polecat.spec.task_description = None;
        polecat.spec.agent_config = None;
        polecat.spec.resources = None;
        if let Some(kubernetes) = &mut polecat.spec.kubernetes {
            kubernetes.pod.resources = None;
            kubernetes.pod.placement = Placement::default();
        }
    }
}

/// Leaves out what no plan reads.
pub fn prune_rig(rig: &mut Rig) {
    prune_meta(&mut rig.metadata);
}

fn prune_meta(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    meta.self_link = None;
    meta.generate_name = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| key == labels::RETRY_REQUESTED_AT);
    }
    meta.annotations = meta.annotations.take().filter(|a| !a.is_empty());
}

/// A lock that another task poisoned holds plain values; they are used as they are.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polecat(name: &str, rig: &str, phase: &str) -> Polecat {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"rig": rig, "task": {"description": "x"}},
            "status": {"phase": phase, "podActive": false, "conditions": []},
        }))
        .unwrap()
    }

    fn meta(version: &str) -> ObjectMeta {
        ObjectMeta {
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn counts_follow_phase_changes_and_deletions() {
        let census = Census::default();
        let count = |polecats, working| Count { polecats, working };
        assert_eq!(census.note(&polecat("a", "r", "Working")).as_deref(), Some("r"));
        census.note(&polecat("b", "r", "Working"));
        assert_eq!(census.of("r"), count(2, 2));
        assert_eq!(census.note(&polecat("a", "r", "Working")), None);
        census.note(&polecat("a", "r", "Done"));
        assert_eq!(census.of("r"), count(2, 1));
        census.note(&polecat("a", "r", "Terminated"));
        assert_eq!(census.of("r"), count(1, 1));
        census.forget(&polecat("b", "r", "Working"));
        assert_eq!(census.of("r"), count(0, 0));
    }

    #[test]
    fn a_new_list_drops_what_it_does_not_hold() {
        let census = Census::default();
        census.note(&polecat("a", "r", "Working"));
        census.note(&polecat("b", "s", "Working"));
        assert_eq!(census.retain(Some("n"), |key| key.1 == "b"), ["r"]);
        assert_eq!(census.of("r"), Count::default());
        assert!(census.retain(Some("other"), |_| false).is_empty());
        assert_eq!(census.of("s").working, 1);
    }

    #[test]
    fn what_was_written_is_awaited_until_the_watch_shows_it() {
        let (written, polecats, pods) = (Written::default(), Seen::default(), Seen::default());
        assert!(written.is_seen("n", "a", &polecats, &pods));
        written.polecat("n", "a", &meta("7"));
        written.pod("n", "a", &meta("9"));
        polecats.note(&meta("8"));
        assert!(!written.is_seen("n", "a", &polecats, &pods));
        pods.note(&meta("9"));
        assert!(written.is_seen("n", "a", &polecats, &pods));
    }

    #[test]
    fn a_settled_polecat_keeps_no_task_in_memory() {
        let mut done = polecat("a", "r", "Done");
        prune_polecat(&mut done);
        assert_eq!(done.spec.task, None);
        let mut stuck = polecat("a", "r", "Stuck");
        prune_polecat(&mut stuck);
        assert!(stuck.spec.task.is_some());
    }
}
