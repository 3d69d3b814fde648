//! Finalizers and labels that the operator added, and that others took off: `kubectl replace` with the original manifest
//! does, and so does an edit. While an attempt is under way they are put back.

use std::collections::BTreeMap;

use gastown_api::labels;
use kube::ResourceExt as _;

use super::Plan;
use super::step::Act;
use crate::controller::polecat::build::pod::pod_labels;
use crate::controller::polecat::validate::labels_of;
use crate::pod_view::PodView;

type Labels = BTreeMap<String, String>;

impl Plan<'_> {
    /// What is missing on the polecat, or on the pod of attempt `number`. It is asked for once a look: an admission policy
    /// may take it off again at once. The API server adds no finalizer to what is being deleted.
    pub(super) fn restore_marks(&self, number: i32, pod: &PodView) -> Option<Act> {
        if self.observed.restored {
            return None;
        }
        self.restore_polecat().or_else(|| self.restore_pod(number, pod))
    }

    fn restore_polecat(&self) -> Option<Act> {
        let polecat = self.polecat();
        let mut finalizers = polecat.finalizers().to_vec();
        let holds = finalizers.iter().any(|f| f == labels::POLECAT_FINALIZER);
        let wanted = labels_of(polecat).into_iter();
        let labels = missing(polecat.metadata.labels.as_ref(), wanted);
        if self.is_deleting() || (holds && labels.is_empty()) {
            return None;
        }
        if !holds {
            finalizers.push(labels::POLECAT_FINALIZER.to_owned());
        }
        Some(Act::RestorePolecat { finalizers, labels })
    }

    fn restore_pod(&self, number: i32, pod: &PodView) -> Option<Act> {
        let present = pod.metadata.labels.as_ref();
        // The pod goes on working on the bead that it was made for.
        let is_settled = |key: &str| key == labels::BEAD && present.is_some_and(|p| p.contains_key(key));
        let wanted = pod_labels(self.polecat(), number).into_iter();
        let labels = missing(present, wanted.filter(|(key, _)| !is_settled(key)));
        let is_whole = pod.holds_evidence() && labels.is_empty();
        (!pod.is_deleting() && !is_whole).then(|| Act::RestorePod {
            uid: pod.uid().to_owned(),
            labels,
        })
    }
}

/// Those of `wanted` that `present` does not have, or has with another value.
fn missing<K: Into<String>>(present: Option<&Labels>, wanted: impl Iterator<Item = (K, String)>) -> Labels {
    wanted
        .map(|(key, value)| (key.into(), value))
        .filter(|(key, value)| present.and_then(|p| p.get(key)) != Some(value))
        .collect()
}
