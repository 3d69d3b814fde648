//! The safety list of the design: what is demanded of each act, and of what has come to rest.

use gastown_api::labels::POLECAT_FINALIZER;
use gastown_api::polecat::PolecatPhase;

use super::*;
use crate::controller::polecat::plan::StatusUpdate;

impl Town {
    pub(super) fn demand(&self, holds: bool, law: &str) {
        assert!(holds, "{law}: {}", self.story());
    }

    pub(super) fn check_creation(&mut self, uid: &str, number: i32) {
        self.demand(
            self.machines.iter().all(|m| !m.is_live(self.now)),
            "never two live pods of one polecat",
        );
        self.demand(!self.delivered, "what is Done is not run again");
        let is_new = self.numbers.values().all(|n| *n != number) && !self.outcomes.contains_key(&number);
        self.numbers.insert(uid.to_owned(), number);
        self.demand(is_new, "an attempt number is never used twice");
    }

    pub(super) fn check_release(&self, uid: &str, number: i32) {
        let is_told = self.polecat.is_none() || self.outcomes.contains_key(&number);
        self.demand(
            is_told,
            "the outcome is in the status before the pod's finalizer goes",
        );
        let machine = self.machines.iter().find(|m| m.uid == uid);
        let agent_runs = machine.is_some_and(|m| m.runs() && m.claude.is_none());
        self.demand(!agent_runs, "a pod is not let go while its agent runs");
    }

    pub(super) fn check_release_of_the_polecat(&self) {
        let held = self.pod.as_ref().is_some_and(PodView::holds_evidence);
        self.demand(!held, "a polecat waits for its pod");
    }

    pub(super) fn check_status(&mut self, report: &StatusUpdate) {
        let status = &report.status;
        let numbers: Vec<_> = status.attempts.iter().map(|a| a.number).collect();
        self.demand(numbers.is_sorted_by(|a, b| a < b), "attempts are in order");
        for attempt in &status.attempts {
            let before = self.outcomes.get(&attempt.number).copied();
            self.demand(
                before.is_none() || before == attempt.outcome,
                "an outcome is final",
            );
            if let Some(outcome) = attempt.outcome {
                self.outcomes.insert(attempt.number, outcome);
                let proof = self.machines.iter().any(|m| {
                    m.attempt == attempt.number && m.claude == Some(0) && m.head_moved && m.broker_ended
                });
                let is_new = before.is_none() && outcome == AttemptOutcome::Delivered;
                self.demand(
                    !is_new || proof,
                    "Done only with evidence, and a head that is not the base",
                );
                self.delivered |= outcome == AttemptOutcome::Delivered;
            }
        }
        let open = status.attempts.iter().filter(|a| a.outcome.is_none()).count();
        self.demand(open <= 1, "one attempt at a time");
        let phase = status.phase;
        if self.delivered {
            let is_over = matches!(phase, Some(PolecatPhase::Done | PolecatPhase::Terminated));
            self.demand(is_over, "Done is terminal");
        } else {
            self.demand(phase != Some(PolecatPhase::Done), "Done is a delivery");
        }
        self.tell(format!("  status {phase:?}"));
    }

    /// Settled objects cause no act, whatever the time, and the table of desired states holds.
    pub fn stays_at_rest(&mut self) {
        self.now += 10_000_000;
        let before = self.story.len();
        self.operator_restarts();
        self.look();
        self.demand(self.story.len() == before + 1, "a settled object causes no act");
        let Some(polecat) = &self.polecat else {
            return self.demand(
                !self.pod.as_ref().is_some_and(PodView::holds_evidence),
                "nothing is left of it",
            );
        };
        let phase = polecat.status.as_ref().and_then(|s| s.phase);
        let expected: &[PolecatPhase] = match polecat.spec.desired_state {
            DesiredState::Idle => &[PolecatPhase::Idle, PolecatPhase::Done, PolecatPhase::Terminated],
            DesiredState::Working => &[PolecatPhase::Done, PolecatPhase::Stuck, PolecatPhase::Terminated],
            DesiredState::Terminated => &[PolecatPhase::Terminated],
        };
        self.demand(
            phase.is_some_and(|phase| expected.contains(&phase)),
            "the table holds",
        );
        self.demand(
            polecat.metadata.deletion_timestamp.is_none(),
            "a deleted polecat goes",
        );
        let finalizer = polecat.finalizers().iter().any(|f| f == POLECAT_FINALIZER);
        self.demand(
            self.machines.is_empty() || finalizer || self.robbed,
            "the finalizer stays until the end",
        );
    }
}
