//! What of the agent's work may not be on the remote, in words.

use gastown_api::evidence::{Evidence, SnapshotReport};
use gastown_api::reason::Reason;
use gastown_api::{labels, pod};
use jiff::Timestamp;

use crate::attempt::failure::{KUBELETS_ENDS, of_pod};
use crate::attempt::parse;
use crate::controller::polecat::build::pod::SHAPE;
use crate::pod_view::PodView;

/// Whether there may be work that nobody saved. An agent that never ran has nothing to lose, but that has to be known:
/// a status without containers, and the last report of a node that is lost, do not say it.
pub(super) fn agent_may_have_run(pod: &PodView, seen_at_work: bool) -> bool {
    let got_a_node = pod.condition("PodScheduled").is_some_and(|c| c.status == "True")
        || pod.status.start_time.is_some()
        || pod.status.reason.is_some()
        || pod.containers().next().is_some();
    if seen_at_work || pod.was_started(pod::CLAUDE) {
        return true;
    }
    let reported = pod.container(pod::CLAUDE).is_some();
    got_a_node && (node_is_lost(pod) || (!reported && was_ended_by_the_kubelet(pod)))
}

/// The kubelet's last report may be minutes older than the end.
fn node_is_lost(pod: &PodView) -> bool {
    let is_named = pod.status.reason.as_deref() == Some("NodeLost");
    is_named || matches!(of_pod(pod, SHAPE), Some((Reason::NodeLost, _)))
}

/// Pods that the kubelet refuses have other reasons, such as `OutOfcpu`, `NodeAffinity` or `UnexpectedAdmissionError`.
/// A kubelet that was restarted may refuse a pod that runs, and then drops what it had reported of its containers: that
/// the agent was at work stands in the polecat's status alone.
fn was_ended_by_the_kubelet(pod: &PodView) -> bool {
    let reason = pod.status.reason.as_deref();
    reason.is_some_and(|reason| reason == "DeadlineExceeded" || KUBELETS_ENDS.contains(&reason))
}

/// The keeper ends with 0 once everything is saved: the broker has re-read on the remote what it pushed. One that was
/// killed and started again is judged by its last end.
pub(super) fn keeper_saved(pod: &PodView) -> bool {
    pod.terminated(pod::KEEPER).is_some_and(|t| t.exit_code == 0)
}

/// The keeper's own list of what is not saved. A keeper that was killed may have written it before its last push.
fn keepers_words(pod: &PodView) -> Option<String> {
    let ended = pod.terminated(pod::KEEPER)?;
    let report: Option<SnapshotReport> = ended.message.as_deref().and_then(parse);
    report?.words()
}

/// Whether the keeper ended by itself with all saved but what it named.
fn keeper_saved_in_part(pod: &PodView) -> bool {
    let ended = pod.terminated(pod::KEEPER);
    ended.is_some_and(|ended| ended.exit_code == i32::from(pod::KEEPER_SAVED_IN_PART))
}

/// It said itself that it could not save something. Where nobody knows, what was delivered is what there was.
pub(super) fn keeper_failed(pod: &PodView) -> bool {
    pod.terminated(pod::KEEPER).is_some_and(|t| t.exit_code != 0)
}

pub(super) fn may_be_lost(pod: &PodView, evidence: Option<&Evidence>, seen_at_work: bool) -> Option<String> {
    if !agent_may_have_run(pod, seen_at_work) {
        return None;
    }
    if let Some(dropped) = evidence.filter(|evidence| evidence.wip_dropped) {
        let name = dropped
            .wip
            .as_ref()
            .map_or_else(String::new, |wip| format!(" {}", wip.name));
        return Some(format!(
            "the snapshot{name} was deleted or moved on the remote, and could not be pushed again"
        ));
    }
    if keeper_saved(pod) {
        return None;
    }
    let keepers = keepers_words(pod);
    if keeper_saved_in_part(pod) {
        let in_general = "something is not saved; the message of the last snapshot says what";
        return Some(keepers.unwrap_or_else(|| in_general.to_owned()));
    }
    let mut words = last_snapshot(evidence, ended_at(pod));
    if let Some(keepers) = keepers {
        words = format!("{keepers}; {words}");
    }
    if evidence.is_none() {
        words = format!("{words}; {}", where_to_look(pod));
    }
    Some(words)
}

/// When the agent could change something for the last time, as far as the pod tells.
fn ended_at(pod: &PodView) -> Option<Timestamp> {
    let end = pod.terminated(pod::CLAUDE).and_then(|t| t.finished_at.as_ref());
    end.or(pod.metadata.deletion_timestamp.as_ref())
        .map(|time| time.0)
}

/// What is on the remote, where the last changes may be missing, and how old that was at the end.
#[must_use]
pub fn last_snapshot(evidence: Option<&Evidence>, ended_at: Option<Timestamp>) -> String {
    let Some(evidence) = evidence else {
        return "the broker left no evidence: what changed after the last checkpoint may be lost".to_owned();
    };
    let Some(wip) = &evidence.wip else {
        return "no snapshot reached the remote: uncommitted changes may be lost".to_owned();
    };
    // Broker and kubelet keep the same clock; a snapshot after the end may have been begun before it.
    let age = ended_at.map(|end| end.duration_since(wip.at).as_secs().max(0));
    let age = age
        .map(|age| format!(", {age} s before the end,"))
        .unwrap_or_default();
    format!("what changed after the snapshot of {}{age} may be lost", wip.at)
}

/// Where the broker puts snapshots, for a pod of which nobody says whether there is one.
pub(super) fn where_to_look(pod: &PodView) -> String {
    let polecat = pod.label(labels::POLECAT).unwrap_or("NAME");
    let short: String = pod.uid().chars().take(8).collect();
    format!("a snapshot would be refs/gastown/wip/{polecat}/{short} of the remote")
}
