//! What triggers a polecat, besides itself: its pod, and its rig where the polecat may still take something from it.

use std::collections::HashMap;
use std::sync::Arc;

use gastown_api::labels;
use gastown_api::pod::pod_name;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;

use super::object::is_settled;
use crate::cache::ReconcileTriggers;
use crate::controller::Caches;
use crate::types::Key;

/// A pod triggers its polecat. A new list triggers every polecat of its namespaces, for pods that are gone since the last
/// one were not named, and those whose pods it names.
pub(super) fn on_pods(caches: &Caches, triggers: &Arc<ReconcileTriggers>) {
    let (polecats, triggers) = (caches.polecats.clone(), triggers.clone());
    caches.pods.listen(move |delivery| match delivery.event {
        Event::Apply(pod) | Event::Delete(pod) => {
            if let Some(polecat) = pod.label(labels::POLECAT) {
                triggers.send(Key::new(pod.namespace().unwrap_or_default(), polecat));
            }
        }
        Event::Init | Event::InitApply(_) => {}
        Event::InitDone => {
            triggers.send_all(polecats.keys_of(delivery.scope.namespace()));
            triggers.send_all(delivery.scope.keys().iter().filter_map(polecat_of));
        }
    });
}

/// The polecat that a pod of this name belongs to.
fn polecat_of(pod: &Key) -> Option<Key> {
    let name = pod.name.strip_prefix(&pod_name(""))?;
    Some(Key::new(&pod.namespace, name))
}

/// A rig whose spec changed, or that came or went, triggers the polecats that may still take something from it.
pub(super) fn on_rigs(caches: &Caches, triggers: Arc<ReconcileTriggers>) {
    let polecats = caches.polecats_by_rig.clone();
    let mut generations: HashMap<String, Option<i64>> = HashMap::new();
    let mut changed: Vec<String> = Vec::new();
    caches.rigs.listen(move |delivery| {
        match delivery.event {
            Event::Apply(rig) | Event::InitApply(rig) => {
                let (name, generation) = (rig.name_any(), rig.metadata.generation);
                if generations.insert(name.clone(), generation) != Some(generation) {
                    changed.push(name);
                }
            }
            Event::Delete(rig) => {
                changed.extend(generations.remove_entry(&rig.name_any()).map(|(name, _)| name));
            }
            Event::Init | Event::InitDone => {}
        }
        for rig in delivery.gone {
            changed.extend(generations.remove_entry(&rig.name).map(|(name, _)| name));
        }
        // The rigs of a new list are held once it is complete.
        if !matches!(delivery.event, Event::Init | Event::InitApply(_)) {
            for rig in changed.drain(..) {
                triggers.send_all(polecats.of_rig(&rig, |phase| !is_settled(phase)));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::UnboundedReceiver;
    use gastown_api::polecat::Polecat;
    use serde_json::json;

    use super::*;
    use crate::cache::{Indexer, Reflected};
    use crate::testing;

    struct World {
        caches: Caches,
        triggered: UnboundedReceiver<Key>,
    }

    impl World {
        fn new() -> Self {
            let polecats = Arc::new(Reflected::new(&[None]));
            let caches = Caches {
                rigs: Arc::new(Reflected::new(&[None])),
                polecats_by_rig: Indexer::of(&polecats),
                polecats,
                pods: Arc::new(Reflected::new(&[None])),
            };
            let triggers = Arc::new(ReconcileTriggers::new(&[None]));
            on_pods(&caches, &triggers);
            on_rigs(&caches, triggers.clone());
            let triggered = triggers.listen(None);
            Self { caches, triggered }
        }

        fn polecat(&self, name: &str, phase: &str) {
            let status = json!({"phase": phase, "podActive": false, "conditions": []});
            let polecat = testing::polecat(json!({"metadata": {"name": name}, "status": status}));
            let event = Event::Apply(Polecat::clone(&polecat));
            self.caches
                .polecats
                .deliver(&self.caches.polecats.scopes()[0], event);
        }

        fn rig(
            &self,
            event: impl FnOnce(gastown_api::rig::Rig) -> Event<gastown_api::rig::Rig>,
            generation: i64,
        ) {
            let mut rig = gastown_api::rig::Rig::clone(&testing::rig());
            rig.metadata.generation = Some(generation);
            self.caches
                .rigs
                .deliver(&self.caches.rigs.scopes()[0], event(rig));
        }

        fn pods(&self, event: Event<crate::pod_view::PodView>) {
            self.caches.pods.deliver(&self.caches.pods.scopes()[0], event);
        }

        fn triggered(&mut self) -> Vec<String> {
            let mut keys: Vec<_> = std::iter::from_fn(|| self.triggered.try_recv().ok())
                .map(|key| key.to_string())
                .collect();
            keys.sort();
            keys
        }
    }

    #[test]
    fn a_rig_whose_spec_changes_triggers_polecats_that_may_take_something_from_it() {
        let mut world = World::new();
        world.polecat("a", "Working");
        world.polecat("b", "Done");
        world.rig(Event::Apply, 1);
        assert_eq!(world.triggered(), ["town/a"]);
        // Its status changed.
        world.rig(Event::Apply, 1);
        assert!(world.triggered().is_empty());
        world.rig(Event::Apply, 2);
        assert_eq!(world.triggered(), ["town/a"]);
        world.rig(Event::Delete, 2);
        assert_eq!(world.triggered(), ["town/a"]);
    }

    #[test]
    fn a_rig_that_changed_while_no_watch_was_open_triggers_once_the_new_list_is_held() {
        let mut world = World::new();
        world.polecat("a", "Working");
        world.rig(Event::Apply, 1);
        assert_eq!(world.triggered(), ["town/a"]);
        world.rig(|_| Event::Init, 1);
        world.rig(Event::InitApply, 2);
        assert!(world.triggered().is_empty());
        world.rig(|_| Event::InitDone, 2);
        assert_eq!(world.triggered(), ["town/a"]);
        // It was deleted meanwhile.
        world.rig(|_| Event::Init, 2);
        world.rig(|_| Event::InitDone, 2);
        assert_eq!(world.triggered(), ["town/a"]);
    }

    #[test]
    fn a_new_list_of_pods_triggers_every_polecat_and_those_that_are_gone_but_have_a_pod() {
        let mut world = World::new();
        world.polecat("a", "Done");
        world.pods(Event::Apply(testing::pod(json!({}))));
        assert_eq!(world.triggered(), ["town/furiosa"]);
        world.pods(Event::Init);
        world.pods(Event::InitApply(testing::pod(json!({}))));
        assert!(world.triggered().is_empty());
        world.pods(Event::InitDone);
        assert_eq!(world.triggered(), ["town/a", "town/furiosa"]);
    }
}
