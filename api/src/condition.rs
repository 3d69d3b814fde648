//! The types of conditions, and how one is set.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::reason::AnyReason;

/// The constants of the types, and what each means: its documentation is what `kubectl gt explain` says.
macro_rules! conditions {
    ($(#[doc = $meaning:literal] $name:ident => $type_:literal,)+) => {
        $(#[doc = $meaning] pub const $name: &str = $type_;)+

        /// Each type, with what it means.
        pub const MEANINGS: &[(&str, &str)] = &[$(($name, $meaning.trim_ascii()),)+];
    };
}

conditions! {
    /// The object is as its spec wants it, or on its way without trouble.
    READY => "Ready",
    /// A pod of the polecat is at work.
    WORKING => "Working",
    /// The object is changing.
    PROGRESSING => "Progressing",
    /// The polecat's result is there to be used.
    AVAILABLE => "Available",
    /// Something needs a person.
    DEGRADED => "Degraded",
    /// The work is on the remote branch; stays True after termination.
    DELIVERED => "Delivered",
    /// The pod waits; its message says for what and until when.
    PARKED => "Parked",
    /// It waits for others to end; the reason says whose limit that is.
    QUEUED => "Queued",
    /// Whether the Rig exists; False is no error.
    RIG_FOUND => "RigFound",
    /// The message lists the fields that have no effect.
    FIELDS_IGNORED => "FieldsIgnored",
    /// The work tree could not be saved while the agent works; the message says why.
    CHECKPOINTS_FAILING => "CheckpointsFailing",
    /// The pod ended without time to save; the message says what may be lost.
    WORK_MAY_BE_LOST => "WorkMayBeLost",
}

/// A condition to set: its transition time is decided by [`merge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// One of the constants of this module.
    pub type_: &'static str,
    /// True or False.
    pub holds: bool,
    /// Why.
    pub reason: String,
    /// For a person.
    pub message: String,
}

impl Assertion {
    /// A condition whose reason is one of the closed lists.
    pub fn new(
        type_: &'static str,
        holds: bool,
        reason: impl Into<AnyReason>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            holds,
            reason: reason.into().name.to_owned(),
            message: message.into(),
        }
    }
}

/// The conditions after `wanted` was asserted at `now`: transition times are kept where the status did not change,
/// and conditions that are not wanted are dropped.
#[must_use]
pub fn merge(
    current: &[Condition],
    wanted: &[Assertion],
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let build = |assertion: &Assertion| {
        let status = if assertion.holds { "True" } else { "False" };
        let before = current
            .iter()
            .find(|c| c.type_ == assertion.type_ && c.status == status);
        Condition {
            type_: assertion.type_.to_owned(),
            status: status.to_owned(),
            reason: assertion.reason.clone(),
            message: assertion.message.clone(),
            observed_generation: generation,
            last_transition_time: before.map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
        }
    };
    wanted.iter().map(build).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let first = merge(
            &[],
            &[Assertion::new(READY, false, Reason::PodStarting, "a")],
            Some(1),
            &at(1),
        );
        let same = merge(
            &first,
            &[Assertion::new(READY, false, Reason::AgentRunning, "b")],
            Some(2),
            &at(2),
        );
        assert_eq!(same[0].last_transition_time, at(1));
        let turned = merge(
            &same,
            &[Assertion::new(READY, true, Reason::Delivered, "c")],
            Some(2),
            &at(3),
        );
        assert_eq!(turned[0].last_transition_time, at(3));
    }
}
