//! The attempts of a status: how one begins, ends and is added to the totals.

use gastown_api::budget::Amount;
use gastown_api::evidence::{Evidence, FinalRead, truncate};
use gastown_api::money::dollars;
use gastown_api::polecat::{Attempt, PolecatStatus, WipRefStatus};
use gastown_api::usage::Usage;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::controller::polecat::classify::Classification;
use crate::types::whole_seconds;

/// The attempts that are kept.
const ATTEMPTS_KEPT: usize = 10;
/// The schema's limit of an attempt's message.
const MESSAGE_LIMIT: usize = 1024;

/// Attempt `number`, begun now.
pub(super) fn new_attempt(number: i32, now: Timestamp) -> Attempt {
    Attempt {
        number,
        retry: None,
        pod_uid: None,
        started_at: Some(Time(now)),
        finished_at: None,
        outcome: None,
        reason: None,
        message: None,
        granted: None,
        unconfirmed: None,
        usage: None,
        cost_micros: None,
    }
}

pub(super) fn keep_last(attempts: &mut Vec<Attempt>) {
    let surplus = attempts.len().saturating_sub(ATTEMPTS_KEPT);
    attempts.drain(..surplus);
}

pub(super) fn close_attempt(attempt: &mut Attempt, classification: &Classification, now: Timestamp) {
    attempt.finished_at = Some(Time(now));
    attempt.outcome = Some(classification.outcome);
    attempt.reason = Some(classification.reason.as_str().to_owned());
    attempt.message = Some(shortened(&classification.message));
    attempt.unconfirmed = classification
        .unconfirmed
        .as_ref()
        .map(|sha| sha.as_str().to_owned());
    if let Some(evidence) = &classification.evidence {
        attempt.usage = Some(evidence.usage);
        attempt.cost_micros = cost_of(evidence);
    }
}

/// A later attempt must not start from a snapshot whose content the branch has got, or got past, since: it would undo
/// that. What is Done starts no more, and goes on naming what was saved.
pub(super) fn forget_superseded(status: &mut PolecatStatus, classification: &Classification) {
    let named = status.wip.as_ref().map(|wip| wip.sha.as_str());
    if named.is_some()
        && named
            == classification
                .supersedes
                .as_ref()
                .map(gastown_api::git::Sha::as_str)
    {
        status.wip = None;
    }
}

pub(super) fn shortened(message: &str) -> String {
    let mut message = message.to_owned();
    truncate(&mut message, MESSAGE_LIMIT);
    message
}

fn cost_of(evidence: &Evidence) -> Option<i64> {
    evidence.cost_micros.map(|c| i64::try_from(c).unwrap_or(i64::MAX))
}

/// Adds what an attempt used to the totals, once: when it is closed.
pub(super) fn take_evidence(status: &mut PolecatStatus, evidence: &Evidence) {
    let text = |sha: &gastown_api::git::Sha| sha.as_str().to_owned();
    let head = evidence.head.as_ref().map(text);
    status.head = match evidence.final_read {
        // Without a head the branch is not there any more.
        Some(FinalRead::Read { .. }) => head,
        _ => head.or(status.head.take()),
    };
    status.base = status.base.take().or_else(|| evidence.base.as_ref().map(text));
    if let Some(wip) = &evidence.wip {
        status.wip = Some(WipRefStatus {
            name: wip.name.clone(),
            sha: text(&wip.sha),
            at: Time(whole_seconds(wip.at)),
        });
    }
    status.agent_model = evidence.model.clone().or(status.agent_model.take());
    add(status, evidence.usage, cost_of(evidence));
}

/// Of an attempt without evidence, what its broker reported last.
pub(super) fn take_last_report(status: &mut PolecatStatus, number: i32) {
    let attempt = status.attempts.iter().find(|a| a.number == number);
    if let Some((usage, cost)) = attempt.and_then(|a| Some((a.usage?, a.cost_micros))) {
        add(status, usage, cost);
    }
}

fn add(status: &mut PolecatStatus, usage: Usage, cost: Option<i64>) {
    let ended_before = status.usage.is_some();
    let spent = if ended_before { status.cost_micros } else { Some(0) };
    status.usage = Some(status.usage.unwrap_or_default().plus(usage));
    let total = spent.zip(cost).map(|(a, b)| a.saturating_add(b));
    status.cost_micros = total;
    status.cost = total.map(dollars);
}

/// What counts as spent besides.
pub(super) fn take_charge(status: &mut PolecatStatus, charged: Amount) {
    if !charged.is_nothing() {
        status.unaccounted = Some(status.unaccounted.unwrap_or_default().plus(charged));
    }
}
