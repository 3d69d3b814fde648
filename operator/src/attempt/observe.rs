//! What the caches hold of an owner's pod when a reconcile begins.

use gastown_api::pod::BROKER;

use super::evidence::Evidence;
use super::observed::{Observed, PodLookup};
use super::reports::ReportCache;
use crate::cache::{Packed, Reflected, Unreadable};
use crate::pod_view::PodView;
use crate::types::Key;

/// What the caches hold of the pod of `owner`. A report counts until the broker is ready again.
pub fn observe<E: Evidence>(
    pods: &Reflected<Packed<PodView>>,
    reports: &ReportCache<E>,
    owner: &Key,
    pod: &Key,
) -> Result<Observed<E>, Unreadable> {
    let pod = pods.get(pod)?;
    let broker = pod.as_ref().and_then(|pod| pod.container(BROKER));
    if broker.is_none_or(|broker| broker.ready) {
        reports.forget(owner);
    }
    Ok(Observed {
        pod: pod.map_or(PodLookup::NotCached, PodLookup::Found),
        report: reports.get(owner),
        refusal: None,
        claimed: None,
        restored: false,
    })
}
