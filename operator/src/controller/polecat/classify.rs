//! How an attempt ended, from what its pod left behind.
//!
//! Done is granted by the broker's evidence alone; what the agent's container says can only withhold it. Evidence
//! first, then the pod's own reason, then the containers': restart counts and last states mislead.

mod confirmed;
mod lost;

use gastown_api::evidence::{Evidence, InitReport, RunReport};
use gastown_api::git::Sha;
use gastown_api::pod;
use gastown_api::polecat::AttemptOutcome;
use gastown_api::reason::Reason;
use gastown_api::text::escape;

use super::build::pod::SHAPE;
use crate::attempt::failure::{self, Known, OOM_KILLED, Why, killed_for_memory};
use crate::attempt::{Wanted, evidence_of, parse};
use crate::pod_view::PodView;
use crate::types::Refusal;
use confirmed::{
    base_of, delivered, refusal_reason, report, unconfirmed, unconfirmed_work, with_what_the_run_said,
};
use lost::{agent_may_have_run, keeper_failed, keeper_saved, may_be_lost, where_to_look};

pub use lost::last_snapshot;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// Delivered, failed or stopped.
    pub outcome: AttemptOutcome,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
    /// The broker's last word, if it left one.
    pub evidence: Option<Evidence>,
    /// What was pushed by an agent that ended well, and was not seen on the remote after that.
    pub unconfirmed: Option<Sha>,
    /// What may be lost, in words; none: everything the agent changed is on the remote.
    pub may_be_lost: Option<String>,
    /// Whether its agent ran, and so may have called the model.
    pub may_have_spent: bool,
    /// The snapshot that this attempt started from, if everything that it held is now on the branch or in the attempt's
    /// own snapshot.
    pub supersedes: Option<Sha>,
}

/// What is asked of a pod that ended.
#[derive(Clone, Copy, Debug)]
pub struct AttemptContext<'a> {
    /// The number of the attempt.
    pub attempt: i32,
    /// What the first attempt found.
    pub base: Option<&'a str>,
    /// Why the operator stopped the pod, if it did.
    pub wanted: Wanted,
    /// Why else the operator deleted the pod, if it did: whoever deletes a pod, its agent did not fail by that.
    pub given_up: Option<&'a Refusal>,
    /// Whether `claude` runs an image of the polecat's own.
    pub own_image: bool,
    /// Whether the status of the polecat says that the agent was seen at work.
    pub seen_at_work: bool,
}

/// How the attempt ended.
#[must_use]
pub fn classify(pod: &PodView, context: &AttemptContext<'_>) -> Classification {
    let evidence: Option<Evidence> = evidence_of(pod, context.attempt);
    let (outcome, reason, message) = if let Some(message) = delivered(pod, evidence.as_ref(), context.base) {
        (AttemptOutcome::Delivered, Reason::Delivered, message)
    } else if let Wanted::Stop(reason) = context.wanted {
        (
            AttemptOutcome::Stopped,
            reason,
            "the pod was stopped on request".to_owned(),
        )
    } else {
        let (reason, message) = failure(pod, evidence.as_ref(), context);
        (AttemptOutcome::Failed, reason, message)
    };
    let delivered = outcome == AttemptOutcome::Delivered;
    let wip_dropped = evidence.as_ref().is_some_and(|evidence| evidence.wip_dropped);
    let supersedes = pod.was_started(pod::CLAUDE) && keeper_saved(pod);
    Classification {
        outcome,
        reason,
        // Whoever shows a status must not be steered by the agent, which wrote some of these words.
        message: escape(&message),
        unconfirmed: evidence
            .as_ref()
            .filter(|_| outcome == AttemptOutcome::Failed)
            .and_then(|evidence| unconfirmed_work(pod, evidence, context.base)),
        may_have_spent: agent_may_have_run(pod, context.seen_at_work),
        may_be_lost: may_be_lost(pod, evidence.as_ref(), context.seen_at_work)
            .filter(|_| !delivered || keeper_failed(pod) || wip_dropped),
        supersedes: evidence
            .as_ref()
            .filter(|_| supersedes)
            .and_then(|e| e.resumed.clone()),
        evidence,
    }
}

fn failure(pod: &PodView, evidence: Option<&Evidence>, context: &AttemptContext<'_>) -> Why {
    let known = Known {
        shape: SHAPE,
        broker: evidence.map(|evidence| &evidence.state),
        given_up: context.given_up,
        own_image: context.own_image,
    };
    failure::failure(pod, &known, || init_failure(pod).or_else(|| out_of_memory(pod)))
        .unwrap_or_else(|| agent_end(pod, evidence, context))
}

fn init_failure(pod: &PodView) -> Option<Why> {
    let end = pod.terminated(pod::GIT_INIT).filter(|t| t.exit_code != 0)?;
    if end.reason.as_deref() == Some(OOM_KILLED) {
        return Some((
            Reason::OutOfMemory,
            format!("container {} was killed", pod::GIT_INIT),
        ));
    }
    let message = end.message.as_deref().unwrap_or_default();
    let report: Option<InitReport> = parse(message);
    let is_named = report.as_ref().is_some_and(|r| r.reason != Reason::CloneFailed);
    if pod.is_deleting() && !is_named {
        // It was told to stop while it waited or cloned.
        return None;
    }
    Some(report.map_or_else(
        || {
            (
                Reason::CloneFailed,
                format!("git-init exited with {}: {}", end.exit_code, message.trim()),
            )
        },
        |report| (report.reason, report.message),
    ))
}

/// Where one process of the container was killed, the supervisor lives to report which.
fn out_of_memory(pod: &PodView) -> Option<Why> {
    let end = killed_for_memory(pod, pod::CLAUDE)?;
    let report: Option<RunReport> = end.message.as_deref().and_then(parse);
    let words = match report {
        None => "container claude was killed, all of it at once".to_owned(),
        Some(report) if report.agent_exit == 137 => "the agent in container claude was killed".to_owned(),
        Some(report) => format!(
            "a process that the agent had started was killed in container claude, and the agent exited with {}",
            report.agent_exit
        ),
    };
    Some((Reason::OutOfMemory, words))
}

fn agent_end(pod: &PodView, evidence: Option<&Evidence>, context: &AttemptContext<'_>) -> Why {
    let report = report(pod);
    let Some(end) = pod.terminated(pod::CLAUDE).filter(|end| !end.is_made_up()) else {
        let words = if agent_may_have_run(pod, context.seen_at_work) {
            "the agent's container is gone, and nobody saw how it ended: its node may have been restarted"
        } else {
            "the pod ended before its agent was started"
        };
        return (Reason::EvidenceMissing, words.to_owned());
    };
    let refused = evidence.and_then(|e| e.refused.as_ref());
    let refused = refused.map(|r| format!("push to {} was refused: {}", r.ref_name, r.why));
    if let (Some(words), true) = (&report.failed, end.exit_code != 0) {
        let words = format!("the agent exited with 0, but its result says that it failed: {words}");
        return (Reason::AgentFailed, words);
    }
    if end.exit_code != 0 {
        let push_failed = report.agent_exit == 0 && !report.pushed && end.message.is_some();
        return if push_failed {
            let reason = evidence.map_or(Reason::PushRefused, refusal_reason);
            (reason, refused.unwrap_or(report.message))
        } else {
            let words = format!("the agent exited with {}: {}", end.exit_code, report.message);
            (Reason::AgentFailed, words.trim_end_matches([':', ' ']).to_owned())
        };
    }
    let Some(evidence) = evidence else {
        return (
            Reason::EvidenceMissing,
            with_what_the_run_said(
                format!(
                    "the agent exited with 0, but the broker left no evidence; {}",
                    where_to_look(pod)
                ),
                &report,
            ),
        );
    };
    if let Some(unconfirmed) = unconfirmed(evidence, context.base) {
        return unconfirmed;
    }
    if let Some(refused) = refused {
        return (refusal_reason(evidence), refused);
    }
    if evidence.is_unmetered() {
        return (
            Reason::NothingMetered,
            with_what_the_run_said(
                "the agent exited with 0 without a single model call through the broker".to_owned(),
                &report,
            ),
        );
    }
    let remote = evidence
        .head
        .as_ref()
        .map(Sha::as_str)
        .or(base_of(evidence, context.base));
    let unpushed = report
        .local_head
        .as_ref()
        .filter(|local| Some(local.as_str()) != remote);
    match unpushed {
        Some(local) => {
            let words = format!(
                "commit {} did not reach the remote: {}",
                local.as_str(),
                report.message
            );
            (Reason::PushRefused, words.trim_end_matches([':', ' ']).to_owned())
        }
        None => (
            Reason::NothingChanged,
            with_what_the_run_said(
                "the agent exited with 0, and the branch is as it was".to_owned(),
                &report,
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
