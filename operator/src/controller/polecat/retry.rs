//! When a failed attempt is repeated by itself: a new attempt on the same branch, after a pause that doubles.
//!
//! The moment follows from the status alone (when the last attempt ended, and how many retries in a row it was), so
//! that it costs no write and outlives the operator.

use gastown_api::polecat::{Attempt, AttemptOutcome, Polecat, PolecatStatus};
use gastown_api::reason::Reason;
use gastown_api::rig::Rig;
use jiff::{SignedDuration, Timestamp};

use crate::config::Config;
use crate::types::later;

/// The pause before the first retry, and the longest one: those of a Job.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(360);

/// Whether another attempt can go better although nobody changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would end the same way, or is not for the operator to decide.
    Never,
    /// It may, as often as `backoffLimit` says.
    Limited,
    /// It will, as soon as others make room; waiting for that has cost nothing.
    UntilItFits,
}

/// Whether an attempt that ended for `reason` is repeated.
#[must_use]
pub fn retry(reason: Reason) -> Retry {
    match reason {
        // The node or someone else took the pod away: that says nothing about the task.
        Reason::Evicted | Reason::NodeLost | Reason::PodDeleted | Reason::PodLost
        // A broker or a container that broke down has lost its state, and a new pod starts afresh.
        | Reason::EvidenceMissing | Reason::SidecarOutOfMemory | Reason::ContainerCannotStart
        // A host, a registry or a network that was down comes back.
        | Reason::GitHostUnreachable | Reason::ImagePullFailed
        // A proxy that failed is served by someone, who sees it too.
        | Reason::ProxyFailed
        // A model or a network that let an agent wait for ever answers the next one.
        | Reason::AgentHung
        // The clone failed in a way that nobody foresaw: a full or slow volume is the usual one.
        | Reason::CloneFailed => Retry::Limited,

        // Other pods end, and the quota then allows this one.
        Reason::QuotaExceeded => Retry::UntilItFits,

        // An image is looked at before an attempt starts, and again as soon as that can help.
        Reason::ImageUnsigned | Reason::ImageSignatureInvalid | Reason::ImageNotPinned | Reason::RegistryUnreachable
        // Those who wait for a credential, a host key, a policy or a field wait for a person.
        | Reason::GitCredentialRefused | Reason::HostKeyUnknown | Reason::GitHostNotAllowed
        | Reason::ModelCredentialRefused | Reason::RepositoryNotFound | Reason::BranchNotFound | Reason::RefBlocked
        | Reason::AdmissionRefused | Reason::PodNameTaken | Reason::SpecIncomplete | Reason::SpecNotAllowed
        | Reason::ProviderUnsupportedByAgent | Reason::EndpointNotAllowed | Reason::ModelNotAllowed
        | Reason::CertificateUntrusted | Reason::SecretInvalid | Reason::SettingsInvalid | Reason::ImageIsNotAnAgent | Reason::ContainerConfigInvalid
        | Reason::PriceMissing | Reason::BeadTextMissing | Reason::RigNotFound | Reason::NothingToDo
        // The pod waited for this as long as it may; another one would wait as long.
        | Reason::ParkedTooLong | Reason::SecretMissing | Reason::RateLimited | Reason::Overloaded
        | Reason::CredentialExpired | Reason::UsageLimitReached | Reason::ModelUnreachable
        | Reason::Unschedulable
        // The same task has the same need of memory, time and tokens, and would spend them again.
        | Reason::OutOfMemory | Reason::DiskFull | Reason::DeadlineExceeded | Reason::BudgetSpent
        // The agent had its say: asking it once more without a word of advice costs the same for the same.
        | Reason::AgentFailed | Reason::NothingChanged | Reason::NothingMetered
        // The rule that refused the push refuses it again, and who dropped the branch had a reason.
        | Reason::PushRefused | Reason::DeliveryUndone
        // Who changed it may do so again.
        | Reason::WorkOrderChanged
        // No failure.
        | Reason::RigAtCapacity | Reason::TownAtCapacity | Reason::RigSuspended
        | Reason::Idle | Reason::Terminated | Reason::RigReady | Reason::RigFound | Reason::FieldsIgnored
        | Reason::PodStarting | Reason::AgentRunning | Reason::Stopping | Reason::Retrying
        | Reason::Resumed | Reason::CheckpointFailed | Reason::Delivered => Retry::Never,
    }
}

/// The attempt that follows a failed one by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coming {
    /// Its number.
    pub number: i32,
    /// How many retries in a row it will be.
    pub retry: i32,
    /// How many there may be; none: as many as it takes.
    pub of: Option<i32>,
    /// When it starts.
    pub at: Timestamp,
}

/// How often a failed attempt is repeated: Polecat, Rig, configuration.
#[must_use]
pub fn backoff_limit(polecat: &Polecat, rig: Option<&Rig>, config: &Config) -> i32 {
    let of_rig = rig.and_then(|r| r.spec.polecat_defaults.as_ref()?.backoff_limit);
    let limit = polecat.spec.backoff_limit.or(of_rig);
    limit.unwrap_or_else(|| i32::try_from(config.backoff_limit).unwrap_or(i32::MAX))
}

/// The attempt that follows the last one of `status`, if that failed and a repetition can help.
#[must_use]
pub fn coming(status: &PolecatStatus, uid: &str, limit: i32) -> Option<Coming> {
    let last = status.attempts.last()?;
    if last.outcome != Some(AttemptOutcome::Failed) {
        return None;
    }
    let reason = reason_of(last)?;
    let before = last.retry.unwrap_or(0);
    let of = match retry(reason) {
        Retry::Never => return None,
        Retry::Limited if before >= limit => return None,
        Retry::Limited => Some(limit),
        Retry::UntilItFits => None,
    };
    let ended = last.finished_at.as_ref()?.0;
    Some(Coming {
        number: last.number.checked_add(1)?,
        retry: before.saturating_add(1),
        of,
        at: later(ended, pause(before, uid)),
    })
}

/// Why the attempt ended, as far as this version knows the reason.
#[must_use]
pub fn reason_of(attempt: &Attempt) -> Option<Reason> {
    let name = attempt.reason.as_deref()?;
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == name)
}

/// Doubles with each retry. Up to a quarter is the polecat's own, so that the pods of a lost node do not all come back
/// at once.
fn pause(retries_before: i32, uid: &str) -> SignedDuration {
    let doublings = u32::try_from(retries_before).unwrap_or(0).min(16);
    let pause = (FIRST_PAUSE * 2_i32.pow(doublings)).min(LONGEST_PAUSE);
    let sum: i64 = uid.bytes().map(i64::from).sum();
    let own = pause.as_secs() * (sum % 100) / 400;
    pause + SignedDuration::from_secs(own)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{at, polecat, rig, settings};

    fn failed(reason: &str, retry: i32) -> PolecatStatus {
        serde_json::from_value(json!({"attempts": [{
            "number": 7, "retry": retry, "outcome": "Failed", "reason": reason, "finishedAt": "1970-01-01T00:00:00Z",
        }]}))
        .unwrap()
    }

    #[test]
    fn the_pause_doubles_up_to_six_minutes() {
        let moments: Vec<_> = (0..8)
            .map(|retry| coming(&failed("Evicted", retry), "", 1000).unwrap().at)
            .collect();
        assert_eq!(moments, [10, 20, 40, 80, 160, 320, 360, 360].map(at));
        let last = coming(&failed("Evicted", 999), "", 1000).unwrap();
        assert_eq!(last.at, at(360));
    }

    #[test]
    fn each_polecat_has_up_to_a_quarter_of_the_pause_to_itself() {
        let moment = |uid: &str| coming(&failed("Evicted", 3), uid, 9).unwrap().at;
        assert_ne!(moment("a"), moment("q"));
        for uid in ["a", "q", "c0ffee", "\u{7f}"] {
            assert!(moment(uid) >= at(80) && moment(uid) <= at(100), "{uid}");
        }
    }

    #[test]
    fn retries_end_at_the_limit_but_not_those_that_wait_for_room() {
        let of = |reason, before| coming(&failed(reason, before), "", 2).map(|c| (c.number, c.retry, c.of));
        assert_eq!(of("Evicted", 0), Some((8, 1, Some(2))));
        assert_eq!(of("Evicted", 1), Some((8, 2, Some(2))));
        assert_eq!(of("Evicted", 2), None);
        assert_eq!(of("QuotaExceeded", 50), Some((8, 51, None)));
        assert_eq!(of("NothingChanged", 0), None);
        assert_eq!(of("AReasonOfANewerVersion", 0), None);
        assert_eq!(coming(&failed("Evicted", 0), "", 0), None, "a limit of 0 is none");
    }

    #[test]
    fn only_a_failed_attempt_is_repeated() {
        for outcome in ["Delivered", "Stopped"] {
            let mut status = failed("Evicted", 0);
            status.attempts[0].outcome = serde_json::from_value(json!(outcome)).unwrap();
            assert_eq!(coming(&status, "", 9), None);
        }
        assert_eq!(coming(&PolecatStatus::default(), "", 9), None);
    }

    #[test]
    fn a_credential_a_budget_and_an_agent_that_changed_nothing_are_not_tried_again() {
        for reason in [
            Reason::GitCredentialRefused,
            Reason::ModelCredentialRefused,
            Reason::NothingChanged,
            Reason::BudgetSpent,
            Reason::DeadlineExceeded,
            Reason::PushRefused,
        ] {
            assert_eq!(retry(reason), Retry::Never, "{reason}");
        }
    }

    #[test]
    fn the_limit_is_the_polecats_then_the_rigs_then_the_configurations() {
        let config = settings().config;
        let mut of_rig = (*rig()).clone();
        assert_eq!(backoff_limit(&polecat(json!({})), Some(&of_rig), &config), 2);
        of_rig.spec.polecat_defaults = serde_json::from_value(json!({"backoffLimit": 5})).unwrap();
        assert_eq!(backoff_limit(&polecat(json!({})), Some(&of_rig), &config), 5);
        let own = polecat(json!({"spec": {"backoffLimit": 0}}));
        assert_eq!(backoff_limit(&own, Some(&of_rig), &config), 0);
    }
}
