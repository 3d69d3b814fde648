//! What the broker of a pod reports: in its termination message, and in its log while it runs.

use std::fmt::Debug;

use gastown_api::budget::Share;
use gastown_api::evidence::BrokerState;
use gastown_api::pod;
use serde::de::DeserializeOwned;

use crate::pod_view::PodView;

/// The report of the container that holds the keys, which alone is evidence.
pub trait Evidence: DeserializeOwned + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// How many lines at the end of the broker's log are read: a report is the last thing it says, but its logs share
    /// the stream.
    const LOG_LINES: i64 = 20;

    /// The number of the attempt that it is of.
    fn attempt(&self) -> u32;

    /// The state of the broker.
    fn state(&self) -> &BrokerState;

    /// The part of a budget that a serving broker waits for.
    fn asks(&self) -> Option<Share> {
        None
    }

    /// Whether readiness is False for something that the owner's status says while the pod goes on.
    fn warns(&self) -> bool {
        false
    }
}

/// The broker's evidence in a pod, if it is of this attempt.
#[must_use]
pub fn evidence_of<E: Evidence>(pod: &PodView, attempt: i32) -> Option<E> {
    let broker = pod.container(pod::BROKER)?;
    let ends = [&broker.state, &broker.last_state];
    let messages = ends
        .into_iter()
        .filter_map(|s| s.terminated.as_ref()?.message.as_deref());
    messages.filter_map(parse).find(|e| is_of(e, attempt))
}

/// The last line of a broker's log that is evidence of this attempt.
#[must_use]
pub fn evidence_in_log<E: Evidence>(log: &str, attempt: i32) -> Option<E> {
    log.lines().rev().filter_map(parse).find(|e| is_of(e, attempt))
}

fn is_of(evidence: &impl Evidence, attempt: i32) -> bool {
    i64::from(evidence.attempt()) == i64::from(attempt)
}

/// A container's message as JSON, if it is such.
#[must_use]
pub fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text.trim()).ok()
}
