//! What triggers a polecat, besides itself: its pod, and its rig where the polecat may still take something from it.

use std::collections::HashMap;
use std::sync::Arc;

use gastown_api::labels;
use gastown_api::pod::POD_PREFIX;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;

use super::object::is_settled;
use crate::attempt::trigger_owners;
use crate::cache::ReconcileTriggers;
use crate::controller::Caches;

/// A pod triggers its polecat.
pub(super) fn on_pods(caches: &Caches, triggers: &Arc<ReconcileTriggers>) {
    trigger_owners(
        &caches.pods,
        &caches.polecats,
        triggers,
        labels::POLECAT,
        POD_PREFIX,
    );
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
    use gastown_api::rig::Rig;
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::polecat::fixture::Fixture;
    use crate::testing;

    fn town() -> Fixture {
        let town = Fixture::new();
        on_pods(&town.caches, &town.triggers);
        on_rigs(&town.caches, town.triggers.clone());
        town
    }

    fn in_phase(phase: &str) -> Value {
        json!({"status": {"phase": phase, "podActive": false, "conditions": []}})
    }

    fn rig(generation: i64) -> Rig {
        let mut rig = Rig::clone(&testing::rig());
        rig.metadata.generation = Some(generation);
        rig
    }

    #[test]
    fn a_rig_whose_spec_changes_triggers_polecats_that_may_take_something_from_it() {
        let mut world = town();
        world.polecat("a", in_phase("Working"));
        world.polecat("b", in_phase("Done"));
        world.rig(Event::Apply(rig(1)));
        assert_eq!(world.triggered(), ["town/a"]);
        // Its status changed.
        world.rig(Event::Apply(rig(1)));
        assert!(world.triggered().is_empty());
        world.rig(Event::Apply(rig(2)));
        assert_eq!(world.triggered(), ["town/a"]);
        world.rig(Event::Delete(rig(2)));
        assert_eq!(world.triggered(), ["town/a"]);
    }

    #[test]
    fn a_rig_that_changed_while_no_watch_was_open_triggers_once_the_new_list_is_held() {
        let mut world = town();
        world.polecat("a", in_phase("Working"));
        world.rig(Event::Apply(rig(1)));
        assert_eq!(world.triggered(), ["town/a"]);
        world.rig(Event::Init);
        world.rig(Event::InitApply(rig(2)));
        assert!(world.triggered().is_empty());
        world.rig(Event::InitDone);
        assert_eq!(world.triggered(), ["town/a"]);
        // It was deleted meanwhile.
        world.rig(Event::Init);
        world.rig(Event::InitDone);
        assert_eq!(world.triggered(), ["town/a"]);
    }

    #[test]
    fn a_new_list_of_pods_triggers_every_polecat_and_those_that_are_gone_but_have_a_pod() {
        let mut world = town();
        world.polecat("a", in_phase("Done"));
        world.pods(Event::Apply(testing::pod(json!({}))));
        assert_eq!(world.triggered(), ["town/furiosa"]);
        world.pods(Event::Init);
        world.pods(Event::InitApply(testing::pod(json!({}))));
        assert!(world.triggered().is_empty());
        world.pods(Event::InitDone);
        assert_eq!(world.triggered(), ["town/a", "town/furiosa"]);
    }
}
