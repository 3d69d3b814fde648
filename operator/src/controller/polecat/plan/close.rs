//! The end of an attempt is written down: what it is charged, what its status and its event say.

use gastown_api::budget::Amount;
use gastown_api::money::dollars;
use gastown_api::polecat::{AttemptOutcome, PolecatStatus};
use jiff::SignedDuration;

use super::Plan;
use super::step::{Act, StatusUpdate, Step};
use crate::attempt::Open;
use crate::controller::polecat::judge::Verdict;
use crate::controller::polecat::status::announcement;
use crate::types::{EndedAttempt, Transition};

impl Plan<'_> {
    /// What an attempt is charged that its evidence does not account for: of one whose broker did not end in order, all
    /// that was set aside. The evidence of an older broker, which does not say how it ended, is taken as it is.
    fn charged(&self, number: i32, verdict: &Verdict) -> Amount {
        let evidence = verdict.evidence.as_ref();
        let said = evidence.map(|e| e.unaccounted).unwrap_or_default();
        let unsettled = verdict.may_have_spent && evidence.is_none_or(|e| e.settled == Some(false));
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

    /// The verdict that says what is charged besides.
    fn said(&self, verdict: &Verdict, charged: Amount) -> Verdict {
        let mut verdict = verdict.clone();
        if !charged.is_nothing() {
            let mut parts = Vec::new();
            let limits = self.polecat().spec.budget.unwrap_or_default();
            parts.extend(limits.tokens.map(|_| format!("{} tokens", charged.tokens)));
            let cost = i64::try_from(charged.cost_micros).unwrap_or(i64::MAX);
            parts.extend(limits.usd.map(|_| dollars(cost)));
            let parts = parts.join(" and ");
            verdict.message = format!(
                "{}; its last calls are not accounted for, so {parts} that were set aside count as spent",
                verdict.message
            );
        }
        verdict
    }

    pub(super) fn close(&self, open: &Open, verdict: &Verdict) -> Step {
        let charged = self.charged(open.number, verdict);
        let verdict = &self.said(verdict, charged);
        let status = self
            .canvas
            .closed(open.number, verdict, self.stopped_as(verdict), charged);
        let coming = self.canvas.coming(&status);
        let mut note = closing_words(verdict, &status);
        if let Some(coming) = &coming {
            note = format!("{note}; {}", announcement(coming));
        }
        let transition = Transition {
            warning: verdict.outcome == AttemptOutcome::Failed,
            reason: verdict.reason.into(),
            note,
        };
        let still_waits_for_room = coming.is_some_and(|c| c.of.is_none() && c.retry > 1);
        let ended = self.figures(open, verdict, &status);
        Step::Act(Act::WriteStatus(Box::new(StatusUpdate {
            status,
            transition: Some(transition).filter(|_| !still_waits_for_room),
            ended: Some(ended),
            claims: None,
        })))
    }

    fn figures(&self, open: &Open, verdict: &Verdict, status: &PolecatStatus) -> EndedAttempt {
        let evidence = verdict.evidence.as_ref();
        let attempt = status.attempts.iter().find(|a| a.number == open.number);
        let started = attempt.and_then(|a| a.started_at.as_ref());
        EndedAttempt {
            reason: verdict.reason,
            usage: evidence.map(|e| e.usage).unwrap_or_default(),
            cost_micros: evidence.and_then(|e| i64::try_from(e.cost_micros?).ok()),
            took: started.map_or(SignedDuration::ZERO, |at| self.now.duration_since(at.0)),
            parked_seconds: evidence.map_or(0, |e| e.parked_seconds),
            pushes_refused: evidence.map_or(0, |e| e.refused_count),
        }
    }
}

/// What the event says: the object may go, and then the event alone names what was saved.
fn closing_words(verdict: &Verdict, status: &PolecatStatus) -> String {
    let mut words = verdict.message.clone();
    if verdict.outcome == AttemptOutcome::Delivered {
        let branch = status.branch.as_deref().unwrap_or_default();
        words = format!("{words} {branch:?}");
    }
    let wip = verdict.evidence.as_ref().and_then(|e| e.wip.as_ref());
    if let Some(wip) = wip.filter(|_| verdict.outcome != AttemptOutcome::Delivered) {
        words = format!("{words}; unfinished work is on {} at {}", wip.name, wip.sha);
    }
    if let Some(lost) = &verdict.may_be_lost {
        words = format!("{words}; {lost}");
    }
    words
}
