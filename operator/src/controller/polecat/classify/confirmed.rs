//! What the broker's evidence confirms, and what the agent's container says beside it.

use gastown_api::evidence::{Evidence, FinalRead, RunReport};
use gastown_api::git::Sha;
use gastown_api::pod;
use gastown_api::reason::Reason;

use crate::attempt::parse;
use crate::pod_view::PodView;

/// Ended well, and the head that was re-read at the end is another than the base, and holds what was pushed. What another
/// hand alone put there is no work of the polecat; with a budget, by calls that it was charged for.
pub(super) fn delivered(pod: &PodView, evidence: Option<&Evidence>, base: Option<&str>) -> Option<String> {
    let ended_well = pod.terminated(pod::CLAUDE)?.exit_code == 0;
    let evidence = evidence?;
    let head = evidence.head.as_ref()?;
    let work = match evidence.final_read {
        Some(FinalRead::Read { .. }) if !evidence.dropped => evidence.pushed.as_ref()?,
        // A broker of an older version neither reads at the end nor says what it pushed.
        None => head,
        Some(_) => return None,
    };
    let base = base_of(evidence, base)?;
    let moved = work.as_str() != base && head.as_str() != base;
    (ended_well && moved && !evidence.is_unmetered()).then(|| {
        let mut message = format!("{} is on the remote branch", work.as_str());
        if work != head {
            message = format!("{message}, which another hand has moved on to {}", head.as_str());
        }
        with_what_is_left(message, &report(pod))
    })
}

/// What `polecat run` says. The agent runs as the same user and may have written it: these are words, and no evidence.
pub(super) fn report(pod: &PodView) -> RunReport {
    let message = pod.terminated(pod::CLAUDE).and_then(|end| end.message.as_deref());
    message.and_then(parse).unwrap_or_default()
}

fn with_what_is_left(message: String, report: &RunReport) -> String {
    if report.not_delivered.is_empty() {
        message
    } else {
        format!("{message}; {}", report.not_delivered)
    }
}

/// Everything that `polecat run` said: where nothing was delivered, its words are the only explanation. Its message is cut
/// and may have lost what is in `not_delivered`.
pub(super) fn with_what_the_run_said(mut message: String, report: &RunReport) -> String {
    if !report.message.is_empty() {
        message = format!("{message}; {}", report.message);
    }
    if message.contains(&report.not_delivered) {
        message
    } else {
        with_what_is_left(message, report)
    }
}

pub(super) fn base_of<'a>(evidence: &'a Evidence, base: Option<&'a str>) -> Option<&'a str> {
    base.or_else(|| evidence.base.as_ref().map(Sha::as_str))
}

/// A credential that has expired or a host that is away is no rule.
pub(super) fn refusal_reason(evidence: &Evidence) -> Reason {
    let refused = evidence.refused.as_ref();
    refused
        .and_then(|refused| refused.reason)
        .unwrap_or(Reason::PushRefused)
}

/// What was pushed by an agent that ended well, where the broker did not come to read the remote again. The broker saw it
/// there before, and the agent's calls were charged for: a repeat has only to look.
pub(super) fn unconfirmed_work(pod: &PodView, evidence: &Evidence, base: Option<&str>) -> Option<Sha> {
    let ended_well = pod.terminated(pod::CLAUDE)?.exit_code == 0;
    let unread = matches!(
        evidence.final_read,
        Some(FinalRead::Failed { .. } | FinalRead::Pending | FinalRead::Unknown)
    );
    let work = evidence.pushed.clone()?;
    let is_work = Some(work.as_str()) != base_of(evidence, base);
    let is_whole = report(pod).local_head.is_none_or(|local| local == work);
    let counts = ended_well && unread && is_work && is_whole && !evidence.dropped && !evidence.is_unmetered();
    counts.then_some(work)
}

/// Work was on the branch, and at the end it was not, or nobody could see whether it was.
pub(super) fn unconfirmed(evidence: &Evidence, base: Option<&str>) -> Option<(Reason, String)> {
    let base = base_of(evidence, base);
    let is_work = |sha: &&Sha| Some(sha.as_str()) != base;
    let work = evidence
        .pushed
        .as_ref()
        .or(evidence.head.as_ref())
        .filter(is_work)?;
    let before = format!("commit {} was on the remote branch", work.as_str());
    match &evidence.final_read {
        _ if evidence.dropped => {
            let now = evidence.head.as_ref().map_or_else(
                || "the branch is gone".to_owned(),
                |head| format!("the branch is at {}, which does not hold it", head.as_str()),
            );
            Some((Reason::DeliveryUndone, format!("{before}; at the end {now}")))
        }
        Some(FinalRead::Failed { reason, message }) => Some((
            *reason,
            format!("{before}; at the end the branch could not be read: {message}"),
        )),
        Some(FinalRead::Pending) => Some((
            Reason::EvidenceMissing,
            format!("{before}; the broker ended before it could read the branch again"),
        )),
        Some(FinalRead::Unknown) => Some((
            Reason::EvidenceMissing,
            format!(
                "{before}; what a newer broker says of its reading at the end is not known to this operator"
            ),
        )),
        Some(FinalRead::Read { .. }) | None => None,
    }
}
