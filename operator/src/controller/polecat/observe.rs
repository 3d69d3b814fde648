//! What the next step of a polecat depends on, from the caches.

use std::sync::Arc;

use gastown_api::pod::{BROKER, pod_name};
use gastown_api::polecat::Polecat;

use super::Polecats;
use super::plan::{Observed, PodLookup};
use crate::cache::Unreadable;
use crate::types::Key;

/// What the caches hold for this polecat.
pub(super) fn observe(polecats: &Polecats, polecat: Arc<Polecat>) -> Result<Observed, Unreadable> {
    let key = Key::of(&*polecat);
    let pod = polecats
        .pods
        .get(&Key::new(&key.namespace, pod_name(&key.name)))?;
    let is_ready = pod
        .as_ref()
        .and_then(|p| p.container(BROKER))
        .is_none_or(|b| b.ready);
    if is_ready {
        polecats.reports.forget(&key);
    }
    let (bound, lends_at) = polecats.dispatch.standing(&key);
    Ok(Observed {
        rig: polecats.rigs.get(&Key::cluster(&polecat.spec.rig))?,
        pod: pod.map_or(PodLookup::NotCached, PodLookup::Found),
        report: polecats.reports.get(&key),
        refusal: None,
        image: None,
        claimed: None,
        restored: false,
        bound,
        lends_at,
        polecat,
    })
}
