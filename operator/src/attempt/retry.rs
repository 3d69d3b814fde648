//! When a failed attempt is repeated by itself, after a pause that doubles.
//!
//! The moment follows from the status alone (when the last attempt ended, and how many retries in a row it was), so
//! that it costs no write and outlives the operator.

use gastown_api::reason::Reason;
use jiff::{SignedDuration, Timestamp};

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
        | Reason::Idle | Reason::Terminated | Reason::RigFound | Reason::FieldsIgnored
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

/// An attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its number.
    pub number: i32,
    /// How many retries in a row it was.
    pub retry: i32,
    /// Why it failed.
    pub reason: Reason,
    /// When it ended.
    pub ended: Timestamp,
}

/// The attempt that follows a failed one of the object with this UID, if a repetition can help; `limit` bounds how many
/// follow one another.
#[must_use]
pub fn coming(failed: &Failed, uid: &str, limit: i32) -> Option<Coming> {
    let of = match retry(failed.reason) {
        Retry::Never => return None,
        Retry::Limited if failed.retry >= limit => return None,
        Retry::Limited => Some(limit),
        Retry::UntilItFits => None,
    };
    Some(Coming {
        number: failed.number.checked_add(1)?,
        retry: failed.retry.saturating_add(1),
        of,
        at: later(failed.ended, pause(failed.retry, uid)),
    })
}

/// The reason of that name, as far as this version knows it.
#[must_use]
pub fn reason_named(name: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == name)
}

/// Doubles with each retry. Up to a quarter is the object's own, so that the pods of a lost node do not all come back
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
    use super::*;

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
}
