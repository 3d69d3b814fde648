//! Where to find objects of a kind without a look at all of them: by rig, and how many there are by phase.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;

use super::{Delivery, Reflected, Stored};
use crate::types::Key;

/// What an index takes from an object of a kind.
pub trait Indexed: ResourceExt {
    /// The phases of the kind; with the one of an object that was not reconciled yet.
    type Phase: Copy + Eq + Hash + Debug + Send;

    /// The rig that it belongs to.
    fn rig(&self) -> &str;

    /// Its phase.
    fn phase(&self) -> Self::Phase;
}

/// The objects of one kind by rig, with their phases, kept up to date by the watches of the kind.
pub struct Indexer<K: Indexed> {
    tables: Mutex<Tables<K::Phase>>,
    listeners: Mutex<Vec<Listener>>,
}

type Listener = Box<dyn Fn(&str) + Send>;

#[derive(Debug)]
struct Tables<P> {
    entries: HashMap<Arc<Key>, Entry<P>>,
    rigs: HashMap<Arc<str>, Members<P>>,
    phases: HashMap<P, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<P> {
    rig: Arc<str>,
    phase: P,
}

/// The objects of one rig.
#[derive(Debug)]
struct Members<P> {
    keys: HashSet<Arc<Key>>,
    phases: HashMap<P, i64>,
}

impl<K: Indexed> Default for Indexer<K> {
    fn default() -> Self {
        let tables = Tables {
            entries: HashMap::new(),
            rigs: HashMap::new(),
            phases: HashMap::new(),
        };
        Self {
            tables: Mutex::new(tables),
            listeners: Mutex::default(),
        }
    }
}

impl<K: Indexed + 'static> Indexer<K> {
    /// An index of `objects`.
    #[must_use]
    pub fn of<S: Stored<Object = K>>(objects: &Reflected<S>) -> Arc<Self> {
        let index = Arc::new(Self::default());
        let follower = index.clone();
        objects.listen(move |delivery| follower.follow(delivery));
        index
    }

    /// Tells `listener` of each rig of which objects came, went or changed their phase.
    pub fn listen(&self, listener: impl Fn(&str) + Send + 'static) {
        self.listeners.lock().push(Box::new(listener));
    }

    fn follow<S: Stored<Object = K>>(&self, delivery: &Delivery<'_, S>) {
        match delivery.event {
            Event::Apply(object) | Event::InitApply(object) => {
                let (rig, phase) = (object.rig().into(), object.phase());
                self.replace(&Key::of(object), Some(Entry { rig, phase }));
            }
            Event::Delete(object) => self.replace(&Key::of(object), None),
            Event::Init | Event::InitDone => {}
        }
        for key in delivery.gone {
            self.replace(key, None);
        }
    }

    fn replace(&self, key: &Key, entry: Option<Entry<K::Phase>>) {
        let changed = self.tables.lock().replace(key, entry);
        for rig in changed {
            self.listeners.lock().iter().for_each(|listener| listener(&rig));
        }
    }

    /// The objects of a rig whose phase is `wanted`.
    #[must_use]
    pub fn of_rig(&self, rig: &str, wanted: impl Fn(K::Phase) -> bool) -> Vec<Key> {
        let tables = self.tables.lock();
        let keys = tables.rigs.get(rig).map(|members| members.keys.iter());
        let wanted = |key: &&Arc<Key>| tables.entries.get(*key).is_some_and(|e| wanted(e.phase));
        keys.into_iter()
            .flatten()
            .filter(wanted)
            .map(|key| Key::clone(key))
            .collect()
    }

    /// How many objects of a rig are in each phase.
    #[must_use]
    pub fn phases_of(&self, rig: &str) -> Vec<(K::Phase, i64)> {
        let tables = self.tables.lock();
        tables
            .rigs
            .get(rig)
            .map(|m| listed(&m.phases))
            .unwrap_or_default()
    }

    /// How many objects are in each phase.
    #[must_use]
    pub fn phases(&self) -> Vec<(K::Phase, i64)> {
        listed(&self.tables.lock().phases)
    }
}

fn listed<P: Copy>(phases: &HashMap<P, i64>) -> Vec<(P, i64)> {
    phases.iter().map(|(phase, count)| (*phase, *count)).collect()
}

impl<P: Copy + Eq + Hash> Tables<P> {
    /// Puts `entry` in the place of what was known of the object; answers the rigs whose counts changed.
    fn replace(&mut self, key: &Key, entry: Option<Entry<P>>) -> Vec<Arc<str>> {
        let before = self.entries.remove_entry(key);
        if before.as_ref().map(|(_, before)| before) == entry.as_ref() {
            self.entries.extend(before);
            return Vec::new();
        }
        let mut changed: Vec<Arc<str>> = Vec::new();
        let key = match before {
            Some((key, before)) => {
                self.remove(&key, &before);
                changed.push(before.rig);
                key
            }
            None => Arc::new(key.clone()),
        };
        if let Some(entry) = entry {
            self.add(&key, &entry);
            if !changed.contains(&entry.rig) {
                changed.push(entry.rig.clone());
            }
            self.entries.insert(key, entry);
        }
        changed
    }

    fn add(&mut self, key: &Arc<Key>, entry: &Entry<P>) {
        *self.phases.entry(entry.phase).or_default() += 1;
        let members = self.rigs.entry(entry.rig.clone()).or_insert_with(|| Members {
            keys: HashSet::new(),
            phases: HashMap::new(),
        });
        members.keys.insert(key.clone());
        *members.phases.entry(entry.phase).or_default() += 1;
    }

    fn remove(&mut self, key: &Arc<Key>, entry: &Entry<P>) {
        *self.phases.entry(entry.phase).or_default() -= 1;
        if let Some(members) = self.rigs.get_mut(&entry.rig) {
            members.keys.remove(key);
            *members.phases.entry(entry.phase).or_default() -= 1;
            if members.keys.is_empty() {
                self.rigs.remove(&entry.rig);
            }
        }
    }
}
