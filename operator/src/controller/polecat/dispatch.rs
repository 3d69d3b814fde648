//! Which polecats may start: the slots are told what the caches hold of polecats and rigs, and whoever is given a slot is
//! reconciled.
//!
//! Nothing of it is stored: who is at work and who waits is in the objects, so that another replica, or this one started
//! anew, comes to the same.

use std::sync::{Arc, OnceLock};

use gastown_api::polecat::{DEFAULT_PRIORITY, DesiredState, Polecat, PolecatStatus};
use gastown_api::rig::{Rig, Suspend};
use gastown_api::{condition, labels};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;

use super::object::is_settled;
use crate::cache::{Indexed as _, ReconcileTriggers};
use crate::controller::Caches;
use crate::slots::{Bound, Limits, Rank, Seen, Slots, Standing};
use crate::types::{Key, Settings, later};

/// The slots, and whom to trigger.
pub(super) struct Dispatch {
    slots: Mutex<Slots>,
    triggers: OnceLock<Arc<ReconcileTriggers>>,
}

impl Dispatch {
    /// The slots of the polecats and rigs in the caches.
    pub(super) fn follow(caches: &Caches, settings: &Settings) -> Arc<Self> {
        let dispatch = Arc::new(Self {
            slots: Mutex::new(Slots::new(settings.config.max_polecats)),
            triggers: OnceLock::new(),
        });
        let held = SignedDuration::from_secs(settings.config.parking_holds_slot_seconds.into());
        let follower = dispatch.clone();
        caches.polecats.listen(move |delivery| {
            match delivery.event {
                Event::Apply(polecat) | Event::InitApply(polecat) => {
                    let (key, seen) = (Key::of(polecat), seen(polecat, held));
                    follower.change(|slots| slots.see(&key, &polecat.spec.rig, seen));
                }
                Event::Delete(polecat) => follower.change(|slots| slots.forget(&Key::of(polecat))),
                Event::Init | Event::InitDone => {}
            }
            // At once, so that none of them is given what another one leaves.
            follower.change(|slots| delivery.gone.iter().for_each(|key| slots.forget(key)));
        });
        let follower = dispatch.clone();
        caches.rigs.listen(move |delivery| {
            match delivery.event {
                Event::Apply(rig) | Event::InitApply(rig) => {
                    follower.change(|slots| slots.limit(&rig.name_any(), limits(rig)));
                }
                Event::Delete(rig) => {
                    follower.change(|slots| slots.limit(&rig.name_any(), Limits::default()));
                }
                Event::Init | Event::InitDone => {}
            }
            for key in delivery.gone {
                follower.change(|slots| slots.limit(&key.name, Limits::default()));
            }
        });
        dispatch
    }

    /// Triggers whoever is given a slot from now on.
    pub(super) fn trigger(&self, triggers: &Arc<ReconcileTriggers>) {
        let _set_once = self.triggers.set(triggers.clone());
    }

    /// This replica leads from now on.
    pub(super) fn begin(&self) {
        self.change(Slots::begin);
    }

    /// Why a polecat that has asked waits, and when the slot of one that is parked is lent.
    pub(super) fn standing(&self, key: &Key) -> (Option<Bound>, Option<Timestamp>) {
        self.change(|slots| {
            slots.lend(Timestamp::now());
            (bound(slots.standing(key)), slots.lent_from(key))
        })
    }

    /// Asks for a slot; none: it has one.
    pub(super) fn ask(&self, polecat: &Polecat) -> Option<Bound> {
        let key = Key::of(polecat);
        bound(Some(
            self.change(|slots| slots.ask(&key, &polecat.spec.rig, rank(polecat))),
        ))
    }

    /// A status was written, of which the cache may not tell yet: whoever neither works nor waits by it does not start after
    /// all. Whoever works keeps its slot, or another one would be given it until the cache tells.
    pub(super) fn wrote(&self, polecat: &Polecat) {
        match seen(polecat, SignedDuration::ZERO) {
            Seen::AtWork { .. } | Seen::Waiting(_) => {}
            Seen::Undecided | Seen::Resting => self.withdraw(&Key::of(polecat)),
        }
    }

    /// The polecat does not start after all.
    pub(super) fn withdraw(&self, key: &Key) {
        self.change(|slots| slots.withdraw(key));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Slots) -> T) -> T {
        let (outcome, given) = {
            let mut slots = self.slots.lock();
            (change(&mut slots), slots.take_given())
        };
        if let Some(triggers) = self.triggers.get() {
            triggers.send_all(given);
        }
        outcome
    }
}

fn bound(standing: Option<Standing>) -> Option<Bound> {
    match standing {
        Some(Standing::Waits(bound)) => Some(bound),
        Some(Standing::Holds) | None => None,
    }
}

fn limits(rig: &Rig) -> Limits {
    let most = rig.spec.settings.as_ref().and_then(|s| s.max_polecats);
    Limits {
        most: most.and_then(|most| u32::try_from(most).ok()),
        weight: rig.spec.weight.and_then(|w| u32::try_from(w).ok()).unwrap_or(1),
        open: rig.spec.suspend == Suspend::None,
    }
}

fn rank(polecat: &Polecat) -> Rank {
    let created = polecat.metadata.creation_timestamp.as_ref();
    Rank::new(
        polecat.spec.priority.map_or(DEFAULT_PRIORITY, i64::from),
        created.map_or(Timestamp::UNIX_EPOCH, |created| created.0),
    )
}

/// What an object says. One whose attempt is claimed is at work before it has a pod, and until its end is written down.
fn seen(polecat: &Polecat, held: SignedDuration) -> Seen {
    let status = polecat.status.as_ref();
    let attempts = status.map(|s| s.attempts.as_slice()).unwrap_or_default();
    let is_open = attempts.last().is_some_and(|last| last.outcome.is_none());
    if is_open || (attempts.is_empty() && is_claimed(polecat)) {
        let parked = status.and_then(|status| holds_since(status, condition::PARKED));
        return Seen::AtWork {
            lent_from: parked.map(|since| later(since, held)),
        };
    }
    if !may_start(polecat) {
        Seen::Resting
    } else if status.is_some_and(is_queued) {
        Seen::Waiting(rank(polecat))
    } else {
        Seen::Undecided
    }
}

/// The first attempt is claimed by the finalizer, before a status tells of it: until then there is none, or it still says
/// that the polecat waits. One that really waits has no finalizer of ours: the plan takes it off first.
fn is_claimed(polecat: &Polecat) -> bool {
    let mut finalizers = polecat.finalizers().iter();
    let has_begun = match &polecat.status {
        Some(status) if status.phase.is_some() => is_queued(status) && may_start(polecat),
        _ => true,
    };
    has_begun && finalizers.any(|finalizer| finalizer == labels::POLECAT_FINALIZER)
}

fn may_start(polecat: &Polecat) -> bool {
    polecat.spec.desired_state == DesiredState::Working
        && polecat.metadata.deletion_timestamp.is_none()
        && !is_settled(polecat.phase())
}

/// Whether a status says that the polecat waits for a slot.
pub(super) fn is_queued(status: &PolecatStatus) -> bool {
    holds_since(status, condition::QUEUED).is_some()
}

/// Since when a condition is True.
fn holds_since(status: &PolecatStatus, type_: &str) -> Option<Timestamp> {
    let mut conditions = status.conditions.iter();
    let condition = conditions.find(|c| c.type_ == type_ && c.status == "True")?;
    Some(condition.last_transition_time.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::controller::polecat::fixture::{Fixture, named};
    use crate::testing;

    /// A town of one slot, in which a replica leads.
    fn town() -> (Fixture, Arc<Dispatch>) {
        let town = Fixture::new();
        let mut settings = testing::settings();
        settings.config.max_polecats = Some(1);
        let dispatch = Dispatch::follow(&town.caches, &settings);
        dispatch.trigger(&town.triggers);
        (town, dispatch)
    }

    fn status(phase: &str, attempts: &Value, conditions: &[&str]) -> Value {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|type_| {
                json!({"type": type_, "status": "True", "reason": "x", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        json!({"status": {"phase": phase, "podActive": false, "attempts": attempts, "conditions": conditions}})
    }

    fn at_work() -> Value {
        status("Working", &json!([{"number": 1}]), &[])
    }

    fn done() -> Value {
        status("Done", &json!([{"number": 1, "outcome": "Delivered"}]), &[])
    }

    #[test]
    fn a_replica_that_begins_to_lead_counts_who_is_at_work_and_starts_the_next_when_one_ends() {
        let (mut world, dispatch) = town();
        world.polecat("waits", status("Idle", &json!([]), &["Queued"]));
        world.polecat("works", at_work());
        dispatch.begin();
        assert!(world.triggered().is_empty());
        world.polecat("works", done());
        assert_eq!(world.triggered(), ["town/waits"]);
        assert_eq!(dispatch.standing(&Key::new("town", "waits")).0, None);
    }

    #[test]
    fn an_attempt_that_is_claimed_has_its_slot_before_a_status_tells_of_it() {
        for mut claimed in [json!({}), status("Idle", &json!([]), &["Queued"])] {
            testing::merge(
                &mut claimed,
                json!({"metadata": {"finalizers": [labels::POLECAT_FINALIZER]}}),
            );
            let mut urgent = status("Idle", &json!([]), &["Queued"]);
            testing::merge(&mut urgent, json!({"spec": {"priority": 900}}));
            let (mut world, dispatch) = town();
            world.polecat("claimed", claimed.clone());
            world.polecat("urgent", urgent);
            dispatch.begin();
            assert!(world.triggered().is_empty());
            assert_eq!(dispatch.ask(&named("claimed", claimed.clone())), None);
            // One that says that it waits and has no pod has nothing to end: it is at rest at once.
            if claimed["status"].is_object() {
                testing::merge(&mut claimed, json!({"spec": {"desiredState": "Idle"}}));
                world.polecat("claimed", claimed);
                assert_eq!(world.triggered(), ["town/urgent"]);
            }
        }
    }

    #[test]
    fn whoever_begins_to_work_keeps_its_slot_though_the_cache_does_not_tell_yet() {
        let waits = || status("Idle", &json!([]), &["Queued"]);
        for (written, next) in [(at_work(), None), (waits(), None), (done(), Some("town/second"))] {
            let (mut world, dispatch) = town();
            dispatch.begin();
            assert_eq!(dispatch.ask(&named("first", json!({}))), None);
            world.polecat("second", waits());
            dispatch.wrote(&named("first", written));
            assert_eq!(world.triggered(), Vec::from_iter(next));
        }
    }

    #[test]
    fn who_is_deleted_idle_or_gone_waits_no_more() {
        for leave in [
            |world: &Fixture| world.polecat("first", json!({"spec": {"desiredState": "Idle"}})),
            |world: &Fixture| {
                world.polecat(
                    "first",
                    json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                );
            },
            |world: &Fixture| world.deliver(Event::Delete(Polecat::clone(&named("first", json!({}))))),
            |world: &Fixture| {
                world.deliver(Event::Init);
                let second = status("Idle", &json!([]), &["Queued"]);
                world.deliver(Event::InitApply(Polecat::clone(&named("second", second))));
                world.deliver(Event::InitDone);
            },
        ] {
            let (mut world, dispatch) = town();
            world.polecat("works", at_work());
            dispatch.begin();
            world.polecat("first", status("Idle", &json!([]), &["Queued"]));
            world.polecat("second", status("Idle", &json!([]), &["Queued"]));
            leave(&world);
            world.deliver(Event::Delete(Polecat::clone(&named("works", json!({})))));
            assert_eq!(world.triggered(), ["town/second"]);
        }
    }

    #[test]
    fn a_parked_polecat_lends_its_slot_and_one_whose_rig_says_so_waits() {
        let (mut world, dispatch) = town();
        // It has been parked for months.
        world.polecat("parked", status("Working", &json!([{"number": 1}]), &["Parked"]));
        dispatch.begin();
        world.polecat("waits", status("Idle", &json!([]), &["Queued"]));
        assert!(world.triggered().is_empty());
        dispatch.standing(&Key::new("town", "parked"));
        assert_eq!(world.triggered(), ["town/waits"]);
        let mut rig = Rig::clone(&testing::rig());
        rig.spec.suspend = Suspend::Dispatch;
        world.rig(Event::Apply(rig.clone()));
        assert_eq!(dispatch.ask(&named("third", json!({}))), Some(Bound::Closed));
        world.polecat("waits", done());
        assert!(world.triggered().is_empty());
        world.rig(Event::Delete(rig));
        assert_eq!(world.triggered(), ["town/third"]);
    }
}
