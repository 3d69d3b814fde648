//! The doorbell: while a pod runs, the broker turns its readiness False when it parks or stops, and the operator reads
//! the end of its log once to learn why.

use gastown_api::budget::Share;
use gastown_api::evidence::{BrokerState, Evidence};
use gastown_api::pod;
use gastown_api::reason::Reason;
use gastown_api::text::escape;
use jiff::{SignedDuration, Timestamp};

use super::BrokerReport;
use crate::controller::polecat::judge::evidence_of;
use crate::controller::polecat::status::Spending;
use crate::pod_view::PodView;
use crate::types::later;

/// A container is not ready before its first probe; that is no ring.
const FIRST_PROBE: SignedDuration = SignedDuration::from_secs(5);
/// When a log is read again that did not say why: the broker goes on, or the kubelet's probe is behind.
const UNCLEAR: SignedDuration = SignedDuration::from_secs(10);

/// What the doorbell says.
#[derive(Clone, Debug, PartialEq)]
pub enum Ring {
    /// Nothing.
    Quiet,
    /// Nothing yet: ask again then.
    Later(Timestamp),
    /// It rang, and nobody has read why.
    Unheard,
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
        /// What it has spent.
        spent: Spending,
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

/// What the doorbell of attempt `attempt` says at `now`.
#[must_use]
pub fn listen(pod: &PodView, attempt: i32, report: Option<&BrokerReport>, now: Timestamp) -> Ring {
    let agent_ended = pod.terminated(pod::CLAUDE).is_some();
    let Some(broker) = pod.container(pod::BROKER).filter(|_| !agent_ended) else {
        return Ring::Quiet;
    };
    let Some(running) = &broker.state.running else {
        return restarting(pod, attempt);
    };
    if broker.ready {
        return Ring::Quiet;
    }
    let Some(report) = report.filter(|w| w.pod_uid == pod.uid()) else {
        let probed = running.started_at.as_ref().map(|at| later(at.0, FIRST_PROBE));
        return probed.filter(|at| *at > now).map_or(Ring::Unheard, Ring::Later);
    };
    if let Some(asked) = report.evidence.as_ref().and_then(asked) {
        let again = later(report.read_at, UNCLEAR);
        return if pod.granted().covers(asked.0) && again <= now {
            Ring::Unheard
        } else {
            Ring::Asks {
                share: asked.0,
                spent: asked.1,
                again,
            }
        };
    }
    let told = failing_checkpoints(pod, Some(report)).is_some();
    match report.evidence.as_ref().map(|e| &e.state) {
        Some(BrokerState::Starting | BrokerState::Serving) if told => Ring::Quiet,
        Some(BrokerState::Stopped { reason, message }) => stopped(*reason, message),
        Some(BrokerState::Parked {
            reason,
            message,
            until,
        }) => parked(report, *reason, message, *until, now),
        Some(BrokerState::Starting | BrokerState::Serving) | None => {
            again_after(later(report.read_at, UNCLEAR), now)
        }
    }
}

/// Why the work of the running agent cannot be saved, in the words of its pod; none: it is, or the pod does not say.
#[must_use]
pub fn failing_checkpoints(pod: &PodView, report: Option<&BrokerReport>) -> Option<String> {
    let report = report.filter(|w| w.pod_uid == pod.uid())?;
    let broker = pod.container(pod::BROKER)?;
    if broker.ready || pod.terminated(pod::CLAUDE).is_some() {
        return None;
    }
    let words = report.evidence.as_ref()?.checkpoints_failing.as_deref()?;
    // The agent may have said them.
    Some(escape(words))
}

/// The share that a running broker asks for; one that has stopped asks for nothing.
fn asked(evidence: &Evidence) -> Option<(Share, Spending)> {
    let share = evidence.asks?;
    let spent = Spending {
        usage: evidence.usage,
        cost_micros: evidence.cost_micros,
    };
    let stopped = matches!(evidence.state, BrokerState::Stopped { .. });
    (!stopped).then_some((share, spent))
}

/// A pod that was parked until a time and is still parked after it has something new to say.
fn parked(
    report: &BrokerReport,
    reason: Reason,
    message: &str,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Ring {
    let wake = until.map(|until| later(until, FIRST_PROBE).max(later(report.read_at, UNCLEAR)));
    if wake.is_some_and(|wake| wake <= now) {
        return Ring::Unheard;
    }
    let until = until.map_or_else(String::new, |until| format!("; expected to go on at {until}"));
    Ring::Parked {
        reason,
        message: format!("{message}{until}"),
        wake,
    }
}

fn again_after(time: Timestamp, now: Timestamp) -> Ring {
    if time <= now {
        Ring::Unheard
    } else {
        Ring::Later(time)
    }
}

/// A broker that ends for good is restarted by the kubelet, in vain; its last message says why.
fn restarting(pod: &PodView, attempt: i32) -> Ring {
    let evidence: Option<Evidence> = evidence_of(pod, attempt);
    match evidence.map(|e| e.state) {
        Some(BrokerState::Stopped { reason, message }) => stopped(reason, &message),
        _ => Ring::Quiet,
    }
}

fn stopped(reason: Reason, message: &str) -> Ring {
    let message = message.to_owned();
    Ring::Stopped { reason, message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pod_view::Ending;
    use crate::testing::{at, merge, pod, running};

    #[test]
    fn a_time_that_no_clock_reaches_stops_nothing() {
        let end = "9999-12-30T22:00:00Z";
        let mut status = running();
        merge(
            &mut status["initContainerStatuses"][0],
            json!({"ready": false, "state": {"running": {"startedAt": end}}}),
        );
        let rung = listen(&pod(json!({"status": status})), 1, None, at(0));
        assert!(matches!(rung, Ring::Later(_)), "{rung:?}");
        status["phase"] = json!("Succeeded");
        status["containerStatuses"][0]["state"] = json!({"terminated": {"exitCode": 0, "finishedAt": end}});
        assert_eq!(
            pod(json!({"status": status})).ending(120),
            Ending::Expected(Timestamp::MAX)
        );
    }
}
