//! A town whose watches are a test's to drive, and what is triggered in it.

use std::sync::Arc;

use futures::channel::mpsc::UnboundedReceiver;
use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use crate::cache::{Indexer, ReconcileTriggers, Reflected};
use crate::controller::Caches;
use crate::pod_view::PodView;
use crate::testing;
use crate::types::Key;

/// A town whose watches are a test's to drive.
pub(super) struct Fixture {
    pub(super) caches: Caches,
    pub(super) triggers: Arc<ReconcileTriggers>,
    triggered: UnboundedReceiver<Key>,
}

impl Fixture {
    /// An empty one.
    pub(super) fn new() -> Self {
        let polecats = Arc::new(Reflected::new(&[None]));
        let caches = Caches {
            rigs: Arc::new(Reflected::new(&[None])),
            polecats_by_rig: Indexer::of(&polecats),
            polecats,
            pods: Arc::new(Reflected::new(&[None])),
        };
        let triggers = Arc::new(ReconcileTriggers::new(&[None]));
        let triggered = triggers.listen(None);
        Self {
            caches,
            triggers,
            triggered,
        }
    }

    /// The watch of polecats delivers this.
    pub(super) fn deliver(&self, event: Event<Polecat>) {
        let polecats = &self.caches.polecats;
        polecats.deliver(&polecats.scopes()[0], event);
    }

    /// The watch of polecats delivers the seed's one by that name, with `changes`.
    pub(super) fn polecat(&self, name: &str, changes: Value) {
        self.deliver(Event::Apply(Polecat::clone(&named(name, changes))));
    }

    /// The watch of rigs delivers this.
    pub(super) fn rig(&self, event: Event<Rig>) {
        let rigs = &self.caches.rigs;
        rigs.deliver(&rigs.scopes()[0], event);
    }

    /// The watch of pods delivers this.
    pub(super) fn pods(&self, event: Event<PodView>) {
        let pods = &self.caches.pods;
        pods.deliver(&pods.scopes()[0], event);
    }

    /// Who has been triggered since the last look.
    pub(super) fn triggered(&mut self) -> Vec<String> {
        let keys = std::iter::from_fn(|| self.triggered.try_recv().ok());
        let mut keys: Vec<_> = keys.map(|key| key.to_string()).collect();
        keys.sort();
        keys
    }
}

/// The seed's polecat by that name, with `changes`.
pub(super) fn named(name: &str, mut changes: Value) -> Arc<Polecat> {
    testing::merge(&mut changes, json!({"metadata": {"name": name}}));
    testing::polecat(changes)
}
