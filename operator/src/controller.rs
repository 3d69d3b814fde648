//! The kinds: each is a folder here and a line in [`register`].

pub mod polecat;
pub mod rig;

use std::sync::Arc;

use gastown_api::labels;
use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;

use crate::cache::{Indexer, Packed, Reflected};
use crate::driver::Roster;
use crate::pod_view::PodView;
use crate::types::Settings;

/// The caches that more than one kind reads.
pub struct Caches {
    /// The rigs.
    pub rigs: Arc<Reflected<Rig>>,
    /// The polecats.
    pub polecats: Arc<Reflected<Packed<Polecat>>>,
    /// The polecats by rig.
    pub polecats_by_rig: Arc<Indexer<Polecat>>,
    /// The pods of polecats.
    pub pods: Arc<Reflected<Packed<PodView>>>,
}

/// Registers every kind.
pub fn register(roster: &mut Roster, settings: &Arc<Settings>) {
    let polecats = roster.namespaced();
    let caches = Caches {
        rigs: roster.of_the_cluster(),
        polecats_by_rig: Indexer::of(&polecats),
        polecats,
        pods: roster.pods(labels::POLECAT),
    };
    polecat::register(roster, &caches, settings);
    rig::register(roster, &caches, settings);
}
