//! The conditions of a status, and when something last became of the polecat.

use gastown_api::condition::{self, Assertion};
use gastown_api::polecat::{PolecatPhase, PolecatStatus};
use gastown_api::reason::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::StatusBuilder;
use crate::attempt::retry::Coming;
use crate::controller::polecat::retry::reason_of;
use crate::controller::polecat::validate::fields_ignored;
use crate::types::ignored_fields;

impl StatusBuilder<'_> {
    pub(super) fn finish(
        &self,
        mut status: PolecatStatus,
        ready: bool,
        reason: Reason,
        message: &str,
        more: Vec<Assertion>,
    ) -> PolecatStatus {
        status.observed_generation = self.polecat.metadata.generation;
        let mut wanted = self.assertions(&status, ready, reason, message);
        let kept = kept(&status, &more);
        wanted.extend(more);
        wanted.extend(kept);
        status.conditions = condition::merge(
            &status.conditions,
            &wanted,
            self.polecat.metadata.generation,
            &Time(self.now),
        );
        let before = self.polecat.status.as_ref();
        if before.is_none_or(|before| what_became(before) != what_became(&status)) {
            status.last_activity = Some(Time(self.now));
        }
        status
    }

    fn assertions(
        &self,
        status: &PolecatStatus,
        ready: bool,
        reason: Reason,
        message: &str,
    ) -> Vec<Assertion> {
        let phase = status.phase;
        let working = phase == Some(PolecatPhase::Working);
        let retries = phase == Some(PolecatPhase::Stuck)
            && status.attempts.last().and_then(reason_of) == Some(reason)
            && self.coming(status).is_some();
        let new = |type_, holds| Assertion::new(type_, holds, reason, "");
        let mut all = vec![
            Assertion::new(
                condition::READY,
                ready,
                reason,
                with_remedy(ready || retries, reason, message),
            ),
            new(condition::WORKING, working && status.pod_active),
            new(condition::PROGRESSING, (working && ready) || retries),
            new(condition::AVAILABLE, phase == Some(PolecatPhase::Done)),
            new(
                condition::DEGRADED,
                phase == Some(PolecatPhase::Stuck) && !retries,
            ),
        ];
        let rig = if self.rig_found {
            Reason::RigFound
        } else {
            Reason::RigNotFound
        };
        all.push(Assertion::new(condition::RIG_FOUND, self.rig_found, rig, ""));
        all.extend(ignored_fields(&fields_ignored(self.polecat)));
        all
    }
}

/// What the clocks of `ttlSecondsAfterFinished` and `maxIdleSeconds` count from. A Rig that comes or goes, and a spec
/// that is written anew, make no polecat busy.
fn what_became(status: &PolecatStatus) -> PolecatStatus {
    let mut status = status.clone();
    status.last_activity = None;
    status.observed_generation = None;
    let informs = [condition::RIG_FOUND, condition::FIELDS_IGNORED];
    status.conditions.retain(|c| !informs.contains(&c.type_.as_str()));
    for condition in &mut status.conditions {
        condition.observed_generation = None;
    }
    status
}

/// Delivered stays for good; what may be lost, and the fields of a spec whose task is no longer held, stay until
/// the next attempt.
fn kept(status: &PolecatStatus, more: &[Assertion]) -> Vec<Assertion> {
    let phase = status.phase;
    let mut kept = Vec::new();
    if phase == Some(PolecatPhase::Done) {
        let head = status.head.as_deref().unwrap_or_default();
        let branch = status.branch.as_deref().unwrap_or_default();
        let words = format!("{head} is on branch {branch}");
        kept.push(Assertion::new(
            condition::DELIVERED,
            true,
            Reason::Delivered,
            words,
        ));
    }
    let resting = phase != Some(PolecatPhase::Working);
    for type_ in [condition::DELIVERED, condition::WORK_MAY_BE_LOST] {
        let named_already = kept.iter().chain(more).any(|a| a.type_ == type_);
        let before = status
            .conditions
            .iter()
            .find(|c| c.type_ == type_ && c.status == "True");
        if let Some(before) = before.filter(|_| resting && !named_already) {
            kept.push(Assertion {
                type_,
                holds: true,
                reason: before.reason.clone(),
                message: before.message.clone(),
            });
        }
    }
    kept
}

/// When another attempt follows.
#[must_use]
pub fn announcement(coming: &Coming) -> String {
    let Coming {
        number,
        retry,
        of,
        at,
    } = coming;
    let of = of.map_or_else(String::new, |of| format!(" of {of}"));
    format!("attempt {number} starts at {at} (retry {retry}{of})")
}

/// What the user can do is part of the message, where something is wrong.
pub(super) fn with_remedy(ready: bool, reason: Reason, message: &str) -> String {
    let message = if message.is_empty() {
        reason.sentence()
    } else {
        message
    };
    if ready {
        message.to_owned()
    } else {
        reason.explained().with_remedy(message)
    }
}
