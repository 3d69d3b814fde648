//! The end of an attempt is written down: what it is charged, what its status and its event say.

use gastown_api::budget::Amount;
use gastown_api::money::dollars;
use gastown_api::polecat::{AttemptOutcome, PolecatStatus};
use jiff::SignedDuration;

use super::Plan;
use super::step::{Act, StatusUpdate, Step};
use crate::attempt::Open;
use crate::controller::polecat::classify::Classification;
use crate::controller::polecat::status::announcement;
use crate::types::{EndedAttempt, Transition};

impl Plan<'_> {
    /// What an attempt is charged that its evidence does not account for: of one whose broker did not end in order, all
    /// that was set aside. The evidence of an older broker, which does not say how it ended, is taken as it is.
    fn charged(&self, number: i32, classification: &Classification) -> Amount {
        let evidence = classification.evidence.as_ref();
        let said = evidence.map(|e| e.unaccounted).unwrap_or_default();
        let unsettled = classification.may_have_spent && evidence.is_none_or(|e| e.settled == Some(false));
        let granted = self.granted(number).filter(|_| unsettled);
        let spent = evidence.map_or_else(|| self.reported(number), gastown_api::evidence::Evidence::spent);
        said.plus(granted.map(|granted| granted.beyond(spent)).unwrap_or_default())
    }

    /// What an attempt had spent when its broker last asked for a part of the budget.
    fn reported(&self, number: i32) -> Amount {
        let attempt = self.attempt_numbered(number);
        let cost = attempt.and_then(|a| u64::try_from(a.cost_micros?).ok());
        attempt
            .and_then(|a| a.usage)
            .map_or_else(Amount::default, |usage| Amount::of(&usage, cost))
    }

    /// The classification that says what is charged besides.
    fn said(&self, classification: &Classification, charged: Amount) -> Classification {
        let mut classification = classification.clone();
        if !charged.is_nothing() {
            let mut parts = Vec::new();
            let limits = self.polecat().spec.budget.unwrap_or_default();
            parts.extend(limits.tokens.map(|_| format!("{} tokens", charged.tokens)));
            let cost = i64::try_from(charged.cost_micros).unwrap_or(i64::MAX);
            parts.extend(limits.usd.map(|_| dollars(cost)));
            let parts = parts.join(" and ");
            classification.message = format!(
                "{}; its last calls are not accounted for, so {parts} that were set aside count as spent",
                classification.message
            );
        }
        classification
    }

    pub(super) fn close(&self, open: &Open, classification: &Classification) -> Step {
        let charged = self.charged(open.number, classification);
        let classification = &self.said(classification, charged);
        let status = self.builder.closed(
            open.number,
            classification,
            self.stopped_as(classification),
            charged,
        );
        let coming = self.builder.coming(&status);
        let mut note = closing_words(classification, &status);
        if let Some(coming) = &coming {
            note = format!("{note}; {}", announcement(coming));
        }
        let transition = Transition {
            warning: classification.outcome == AttemptOutcome::Failed,
            reason: classification.reason.into(),
            note,
        };
        let still_waits_for_room = coming.is_some_and(|c| c.of.is_none() && c.retry > 1);
        let ended = self.figures(open, classification, &status);
        Step::Act(Act::WriteStatus(Box::new(StatusUpdate {
            status,
            transition: Some(transition).filter(|_| !still_waits_for_room),
            ended: Some(ended),
            claims: None,
        })))
    }

    fn figures(&self, open: &Open, classification: &Classification, status: &PolecatStatus) -> EndedAttempt {
        let evidence = classification.evidence.as_ref();
        let attempt = status.attempts.iter().find(|a| a.number == open.number);
        let started = attempt.and_then(|a| a.started_at.as_ref());
        EndedAttempt {
            reason: classification.reason,
            usage: evidence.map(|e| e.usage).unwrap_or_default(),
            cost_micros: evidence.and_then(|e| i64::try_from(e.cost_micros?).ok()),
            took: started.map_or(SignedDuration::ZERO, |at| self.now.duration_since(at.0)),
            parked_seconds: evidence.map_or(0, |e| e.parked_seconds),
            pushes_refused: evidence.map_or(0, |e| e.refused_count),
        }
    }
}

/// What the event says: the object may go, and then the event alone names what was saved.
fn closing_words(classification: &Classification, status: &PolecatStatus) -> String {
    let mut words = classification.message.clone();
    if classification.outcome == AttemptOutcome::Delivered {
        let branch = status.branch.as_deref().unwrap_or_default();
        words = format!("{words} {branch:?}");
    }
    let wip = classification.evidence.as_ref().and_then(|e| e.wip.as_ref());
    if let Some(wip) = wip.filter(|_| classification.outcome != AttemptOutcome::Delivered) {
        words = format!("{words}; unfinished work is on {} at {}", wip.name, wip.sha);
    }
    if let Some(lost) = &classification.may_be_lost {
        words = format!("{words}; {lost}");
    }
    words
}
