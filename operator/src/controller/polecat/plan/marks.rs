//! What the operator put on a polecat and its pod, and others took off: while an attempt is under way it is put back.

use gastown_api::labels;
use kube::ResourceExt as _;

use super::Plan;
use super::step::Act;
use crate::attempt::{PodAct, missing, restore_pod};
use crate::controller::polecat::build::pod::pod_labels;
use crate::controller::polecat::validate::labels_of;
use crate::pod_view::PodView;

impl Plan<'_> {
    /// The API server adds no finalizer to what is being deleted.
    pub(super) fn restore_polecat(&self) -> Option<Act> {
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

    /// The pod goes on working on the bead that it was made for.
    pub(super) fn restore_pod(&self, number: i32, pod: &PodView) -> Option<PodAct> {
        let is_settled = |key: &str| key == labels::BEAD && pod.label(key).is_some();
        let wanted = pod_labels(self.polecat(), number).into_iter();
        restore_pod(pod, wanted.filter(|(key, _)| !is_settled(key)))
    }
}
