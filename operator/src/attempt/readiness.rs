//! The broker's readiness: while a pod runs, the broker turns it False when it parks or stops, and the operator reads the
//! end of its log once to learn why.

use gastown_api::budget::Share;
use gastown_api::evidence::BrokerState;
use gastown_api::pod;
use gastown_api::reason::Reason;
use jiff::{SignedDuration, Timestamp};

use super::evidence::{Evidence, evidence_of};
use super::observed::BrokerReport;
use crate::pod_view::{PodView, Shape};
use crate::types::later;

/// A container is not ready before its first probe; that is no signal.
const FIRST_PROBE: SignedDuration = SignedDuration::from_secs(5);
/// When a log is read again that did not say why: the broker goes on, or the kubelet's probe is behind.
const UNCLEAR: SignedDuration = SignedDuration::from_secs(10);

/// What a broker's readiness says.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// Nothing.
    Quiet,
    /// Nothing yet: ask again then.
    Later(Timestamp),
    /// It is False, and nobody has read why.
    Unread,
    /// The broker waits.
    Parked {
        /// For what.
        reason: Reason,
        /// In words.
        message: String,
        /// When to read again, where the broker named a time.
        wake: Option<Timestamp>,
    },
    /// The broker holds calls until so much of the budget is set aside.
    Asks {
        /// How much.
        share: Share,
        /// When to read again, once it has been told.
        again: Timestamp,
    },
    /// The broker serves no more: the pod is to end.
    Stopped {
        /// Why.
        reason: Reason,
        /// In words.
        message: String,
    },
}

/// What the readiness of attempt `attempt`'s broker says at `now`.
#[must_use]
pub fn listen<E: Evidence>(
    pod: &PodView,
    shape: Shape,
    attempt: i32,
    report: Option<&BrokerReport<E>>,
    now: Timestamp,
) -> Signal {
    let main_ended = pod.terminated(shape.main).is_some();
    let Some(broker) = pod.container(pod::BROKER).filter(|_| !main_ended) else {
        return Signal::Quiet;
    };
    let Some(running) = &broker.state.running else {
        return restarting::<E>(pod, attempt);
    };
    if broker.ready {
        return Signal::Quiet;
    }
    let Some(report) = report.filter(|report| report.pod_uid == pod.uid()) else {
        let probed = running.started_at.as_ref().map(|at| later(at.0, FIRST_PROBE));
        return probed
            .filter(|at| *at > now)
            .map_or(Signal::Unread, Signal::Later);
    };
    if let Some(share) = report.evidence.as_ref().and_then(asked) {
        let again = later(report.read_at, UNCLEAR);
        return if pod.granted().covers(share) && again <= now {
            Signal::Unread
        } else {
            Signal::Asks { share, again }
        };
    }
    let warns = report.evidence.as_ref().is_some_and(Evidence::warns);
    match report.evidence.as_ref().map(Evidence::state) {
        Some(BrokerState::Starting | BrokerState::Serving) if warns => Signal::Quiet,
        Some(BrokerState::Stopped { reason, message }) => stopped(*reason, message),
        Some(BrokerState::Parked {
            reason,
            message,
            until,
        }) => parked(report.read_at, *reason, message, *until, now),
        Some(BrokerState::Starting | BrokerState::Serving) | None => {
            again_after(later(report.read_at, UNCLEAR), now)
        }
    }
}

/// The share that a running broker asks for; one that has stopped asks for nothing.
fn asked(evidence: &impl Evidence) -> Option<Share> {
    let stopped = matches!(evidence.state(), BrokerState::Stopped { .. });
    evidence.asks().filter(|_| !stopped)
}

/// A pod that was parked until a time and is still parked after it has something new to say.
fn parked(
    read_at: Timestamp,
    reason: Reason,
    message: &str,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Signal {
    let wake = until.map(|until| later(until, FIRST_PROBE).max(later(read_at, UNCLEAR)));
    if wake.is_some_and(|wake| wake <= now) {
        return Signal::Unread;
    }
    let until = until.map_or_else(String::new, |until| format!("; expected to go on at {until}"));
    Signal::Parked {
        reason,
        message: format!("{message}{until}"),
        wake,
    }
}

fn again_after(time: Timestamp, now: Timestamp) -> Signal {
    if time <= now {
        Signal::Unread
    } else {
        Signal::Later(time)
    }
}

/// A broker that ends for good is restarted by the kubelet, in vain; its last message says why.
fn restarting<E: Evidence>(pod: &PodView, attempt: i32) -> Signal {
    let evidence: Option<E> = evidence_of(pod, attempt);
    match evidence.as_ref().map(Evidence::state) {
        Some(BrokerState::Stopped { reason, message }) => stopped(*reason, message),
        _ => Signal::Quiet,
    }
}

fn stopped(reason: Reason, message: &str) -> Signal {
    let message = message.to_owned();
    Signal::Stopped { reason, message }
}
