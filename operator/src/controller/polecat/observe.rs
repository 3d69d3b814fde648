//! What the next step of a polecat depends on, from the caches.

use std::sync::Arc;

use gastown_api::pod::pod_name;
use gastown_api::polecat::Polecat;

use super::Polecats;
use super::plan::Observed;
use crate::attempt;
use crate::cache::Unreadable;
use crate::types::Key;

/// What the caches hold for this polecat.
pub(super) fn observe(polecats: &Polecats, polecat: Arc<Polecat>) -> Result<Observed, Unreadable> {
    let key = Key::of(&*polecat);
    let pod = Key::new(&key.namespace, pod_name(&key.name));
    let (bound, lends_at) = polecats.dispatch.standing(&key);
    Ok(Observed {
        rig: polecats.rigs.get(&Key::cluster(&polecat.spec.rig))?,
        attempt: attempt::observe(&polecats.pods, &polecats.reports, &key, &pod)?,
        image: None,
        bound,
        lends_at,
        polecat,
    })
}
