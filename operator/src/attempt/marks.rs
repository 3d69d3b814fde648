//! Finalizers and labels that the operator added, and that others took off: `kubectl replace` with the original manifest
//! does, and so does an edit. While an attempt is under way they are put back.

use std::collections::BTreeMap;

use super::act::PodAct;
use crate::pod_view::PodView;

type Labels = BTreeMap<String, String>;

/// What is missing on a pod that is to have these labels, and our finalizer. The API server adds no finalizer to what is
/// being deleted.
#[must_use]
pub fn restore_pod(pod: &PodView, wanted: impl Iterator<Item = (String, String)>) -> Option<PodAct> {
    let labels = missing(pod.metadata.labels.as_ref(), wanted);
    let is_whole = pod.holds_evidence() && labels.is_empty();
    (!pod.is_deleting() && !is_whole).then(|| PodAct::Restore {
        uid: pod.uid().to_owned(),
        labels,
    })
}

/// Those of `wanted` that `present` does not have, or has with another value.
#[must_use]
pub fn missing<K: Into<String>>(
    present: Option<&Labels>,
    wanted: impl Iterator<Item = (K, String)>,
) -> Labels {
    wanted
        .map(|(key, value)| (key.into(), value))
        .filter(|(key, value)| present.and_then(|p| p.get(key)) != Some(value))
        .collect()
}
