//! A log until its polecat ends: through the wait for the pod, broken connections and later attempts.

use std::time::Duration;

use gastown_api::labels::ATTEMPT;
use gastown_api::pod::pod_name;
use serde_json::Value;

use super::heartbeat::Heartbeat;
use super::{Shown, copy};
use crate::cluster::{Call, Cluster, Resource};
use crate::error::Error;
use crate::logs::Reader;
use crate::session::Session;
use crate::view::{Polecat, of_tokens};
use crate::wait::{Wait, describe};

/// How often a pod is looked at that has nothing to say yet.
const PERIOD: Duration = Duration::from_secs(1);

/// Prints the log until the polecat ends, and says how, if it is Done: any other end is an error of the command, which says
/// it. Ctrl-C stops only the printing.
pub async fn follow(
    session: &mut Session,
    cluster: &Cluster,
    address: &str,
    shown: &Shown,
) -> Result<Polecat, Error> {
    let name = address.rsplit('/').next().unwrap_or(address).to_owned();
    let reporter = session.reporter;
    let polecat = tokio::select! {
        result = follow_attempts(session, cluster, &name, shown) => result?,
        pressed = tokio::signal::ctrl_c() => {
            pressed.map_err(Wait::Listen)?;
            return Err(Wait::interrupted(cluster, address).into());
        }
    };
    if polecat.phase() == "Done" {
        reporter.note(&reporter.style.strong(&summary(&polecat)));
    }
    Ok(polecat)
}

async fn follow_attempts(
    session: &mut Session,
    cluster: &Cluster,
    name: &str,
    shown: &Shown,
) -> Result<Polecat, Error> {
    let pod = pod_name(name);
    let mut said = String::new();
    let mut read_to_end = String::new();
    let mut reading = (String::new(), Reader::default());
    let mut heartbeat = Heartbeat::start(cluster, name);
    loop {
        let polecat = match patiently(session, cluster.get(Resource::POLECATS, name).await)? {
            Some(object) => Polecat::read(&object),
            None => continue_later().await,
        };
        let found = patiently(session, cluster.find(Resource::PODS, &pod).await)?.flatten();
        if let Some(pod) = &found {
            shown.is_of(pod)?;
        }
        let ready = found
            .as_ref()
            .filter(|pod| uid(pod) == reading.0 || !is_superseded(pod, &polecat))
            .map(|pod| (uid(pod), container_state(pod, &shown.container)))
            .filter(|(uid, state)| *state != State::Waiting && *uid != read_to_end);
        if let Some((uid, state)) = ready {
            if reading.0 != uid {
                reading = (uid.clone(), Reader::default());
            }
            let resume = reading.1.resume();
            let stream = cluster.log(&pod, &shown.parameters(true, resume)).await;
            if let Some(stream) = patiently(session, stream)? {
                let whole = copy(session, shown, &mut reading.1, stream, Some(&mut heartbeat)).await?;
                if whole && state == State::Ended {
                    read_to_end = uid;
                }
            }
        } else if polecat.is_settled() {
            return Ok(polecat);
        } else if !polecat.metadata.name.is_empty() {
            let read = found.as_ref().is_some_and(|pod| uid(pod) == read_to_end);
            let now = waits_for(&polecat, read);
            if now != said {
                session.reporter.note(&session.reporter.style.faint(&now));
                said = now;
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// What there is to wait for. Where the container's log was read to its end, that its agent runs is no longer so: the operator
/// only has not said what came of it.
fn waits_for(polecat: &Polecat, read: bool) -> String {
    if read && polecat.phase() == "Working" && polecat.parked().is_none() {
        format!(
            "{}: its container has ended; waits for the outcome",
            polecat.metadata.name
        )
    } else {
        describe(polecat)
    }
}

/// A polecat that could not be read this time.
async fn continue_later() -> Polecat {
    tokio::time::sleep(PERIOD).await;
    Polecat::default()
}

/// What another try may cure is told and tried again.
fn patiently<T>(session: &Session, result: Result<T, Call>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_passing() || is_starting(&error) => {
            session.reporter.tries_again(&error);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The API server refuses the log of a container that is being made.
fn is_starting(error: &Call) -> bool {
    matches!(error, Call::Invalid { words, .. } if words.contains("waiting to start") || words.contains("PodInitializing"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Ended,
}

fn container_state(pod: &Value, container: &str) -> State {
    let lists = ["containerStatuses", "initContainerStatuses"];
    let status = lists
        .iter()
        .filter_map(|list| pod["status"][list].as_array())
        .flatten()
        .find(|status| status["name"] == container);
    match status.map(|status| &status["state"]) {
        Some(state) if state.get("terminated").is_some() => State::Ended,
        Some(state) if state.get("running").is_some() => State::Running,
        _ => State::Waiting,
    }
}

/// Whether the pod is of an attempt that another one follows: its log is that of an outcome that does not count any more.
fn is_superseded(pod: &Value, polecat: &Polecat) -> bool {
    let label = pod["metadata"]["labels"][ATTEMPT].as_str();
    let number: Option<i64> = label.and_then(|label| label.parse().ok());
    let last = polecat.status.attempts.last().map_or(0, |last| last.number);
    number.is_some_and(|number| number < last || (number == last && polecat.retry_is_open()))
}

fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// `furiosa is Done: branch x, 12.3k tokens, $0.12`.
pub fn summary(polecat: &Polecat) -> String {
    let mut parts = Vec::new();
    if polecat.phase() == "Done" && !polecat.status.branch.is_empty() {
        parts.push(format!("branch {}", polecat.status.branch));
    }
    if polecat.phase() == "Stuck" {
        parts.push(format!("{}: {}", polecat.reason(), polecat.message()));
    }
    if polecat.status.usage.requests > 0 {
        parts.push(of_tokens(polecat.status.usage.tokens()));
    }
    if !polecat.status.cost.is_empty() {
        parts.push(polecat.status.cost.clone());
    }
    let head = format!("{} is {}", polecat.metadata.name, polecat.phase());
    if parts.is_empty() {
        head
    } else {
        crate::view::escape(&format!("{head}: {}", parts.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_log_of_an_attempt_that_another_one_follows_is_not_shown() {
        let pod = |attempt: &str| json!({"metadata": {"labels": {"gastown.io/attempt": attempt}}});
        let polecat = |phase: &str, number: i64, asked: &str| {
            Polecat::read(&json!({
                "metadata": {"name": "a", "annotations": {"gastown.io/retry-requested-at": asked}},
                "status": {
                    "phase": phase, "retryHandled": "1", "attempts": [{"number": number, "reason": "AgentFailed"}],
                    "conditions": [{"type": "Ready", "status": "False", "reason": "AgentFailed"}],
                },
            }))
        };
        for (attempt, phase, number, asked, superseded) in [
            ("1", "Stuck", 1, "2", true),
            ("1", "Stuck", 1, "1", false),
            ("1", "Working", 2, "1", true),
            ("2", "Working", 2, "1", false),
            // The pod exists a moment before the status says so.
            ("2", "Stuck", 1, "2", false),
            ("", "Stuck", 1, "2", false),
        ] {
            let polecat = polecat(phase, number, asked);
            let found = is_superseded(&pod(attempt), &polecat);
            assert_eq!(found, superseded, "{attempt} {phase} {number} {asked}");
        }
    }

    #[test]
    fn an_agent_whose_log_has_ended_is_not_said_to_run() {
        let polecat = |parked: &str| {
            Polecat::read(
                &json!({"metadata": {"name": "a"}, "status": {"phase": "Working", "conditions": [
                    {"type": "Ready", "status": "True", "reason": "AgentRunning"},
                    {"type": "Parked", "status": parked, "reason": "GitHostUnreachable", "message": "m"},
                ]}}),
            )
        };
        assert_eq!(waits_for(&polecat("False"), false), "a: Working, AgentRunning");
        let ended = waits_for(&polecat("False"), true);
        assert_eq!(ended, "a: its container has ended; waits for the outcome");
        let parked = waits_for(&polecat("True"), true);
        assert_eq!(parked, "a: Working, parked, GitHostUnreachable: m");
    }

    #[test]
    fn a_container_is_found_among_both_kinds() {
        let pod = json!({"status": {
            "initContainerStatuses": [{"name": "broker", "state": {"running": {}}}],
            "containerStatuses": [{"name": "claude", "state": {"terminated": {"exitCode": 0}}}],
        }});
        assert_eq!(container_state(&pod, "broker"), State::Running);
        assert_eq!(container_state(&pod, "claude"), State::Ended);
        assert_eq!(container_state(&pod, "git-init"), State::Waiting);
    }
}
