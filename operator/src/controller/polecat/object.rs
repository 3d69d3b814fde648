//! Polecats as cache, index and metrics take them.

use gastown_api::labels;
use gastown_api::placement::Placement;
use gastown_api::polecat::{Polecat, PolecatPhase};

use crate::cache::{Indexed, Prune, prune_meta};

impl Indexed for Polecat {
    type Phase = Option<PolecatPhase>;

    fn rig(&self) -> &str {
        &self.spec.rig
    }

    fn phase(&self) -> Option<PolecatPhase> {
        self.status.as_ref().and_then(|status| status.phase)
    }
}

impl Prune for Polecat {
    /// A polecat that is Done or Terminated is not built again, so its task goes too.
    fn prune(&mut self) {
        prune_meta(&mut self.metadata, &[labels::RETRY_REQUESTED_AT]);
        if is_settled(self.phase()) {
            self.spec.task = None;
            self.spec.task_description = None;
            self.spec.agent_config = None;
            self.spec.resources = None;
            if let Some(kubernetes) = &mut self.spec.kubernetes {
                kubernetes.pod.resources = None;
                kubernetes.pod.placement = Placement::default();
            }
        }
    }
}

/// Whether a polecat in this phase is not built again.
pub(super) fn is_settled(phase: Option<PolecatPhase>) -> bool {
    matches!(phase, Some(PolecatPhase::Done | PolecatPhase::Terminated))
}

/// The phase in metrics; of a polecat that was not reconciled yet, `New`.
pub(super) fn phase_name(phase: Option<PolecatPhase>) -> &'static str {
    match phase {
        None => "New",
        Some(PolecatPhase::Idle) => "Idle",
        Some(PolecatPhase::Working) => "Working",
        Some(PolecatPhase::Done) => "Done",
        Some(PolecatPhase::Stuck) => "Stuck",
        Some(PolecatPhase::Terminated) => "Terminated",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    #[test]
    fn a_settled_polecat_keeps_no_task_in_memory() {
        let pruned = |phase: &str| {
            let status = json!({"phase": phase, "podActive": false, "conditions": []});
            let mut polecat = Polecat::clone(&testing::polecat(json!({"status": status})));
            polecat.prune();
            polecat
        };
        assert_eq!(pruned("Done").spec.task, None);
        assert!(pruned("Stuck").spec.task.is_some());
    }
}
