//! Waits for what a polecat becomes, by watching it.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use gastown_api::{GROUP, VERSION};
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;

use crate::cluster::{Call, Cluster, Resource};
use crate::exit::Exit;
use crate::reporter::Reporter;
use crate::view::{Polecat, facts, remedy};

/// The state to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Goal {
    /// The operator has created the pod.
    Working,
    /// The agent is running.
    Ready,
    /// The work is on the remote branch.
    Done,
}

/// Why the wait failed.
#[derive(Debug, thiserror::Error)]
pub enum Wait {
    /// The polecat ended in another state.
    #[error("polecat {address:?} is {phase}: {why}; {next}")]
    Ended {
        /// Its rig and name.
        address: String,
        /// Its phase.
        phase: String,
        /// Why.
        why: String,
        /// What to do.
        next: String,
    },
    /// The timeout passed.
    #[error(
        "polecat {address:?} is still {phase} after {seconds} s{why}; it goes on: `kubectl gt polecat status {typed}` shows it, --timeout waits longer"
    )]
    TooLong {
        /// Its rig and name.
        address: String,
        /// The same as it is typed.
        typed: String,
        /// Its phase.
        phase: String,
        /// `: …`, where something is known.
        why: String,
        /// How long the command waited.
        seconds: u64,
    },
    /// Ctrl-C.
    #[error(
        "interrupted; polecat {address:?} goes on: `kubectl gt polecat status {typed}` shows it, `kubectl gt polecat nuke {typed}` ends it"
    )]
    Interrupted {
        /// Its rig and name.
        address: String,
        /// The same as it is typed.
        typed: String,
    },
    /// Someone deleted it.
    #[error(
        "polecat {name:?} was deleted while it was waited for; `kubectl gt sling` dispatches its work again"
    )]
    Deleted {
        /// Its name.
        name: String,
    },
    /// The signal handler cannot be installed.
    #[error("failed to listen for Ctrl-C: {0}; repeat without waiting")]
    Listen(std::io::Error),
    /// The cluster does not let it be watched.
    #[error(transparent)]
    Call(#[from] Call),
}

impl Wait {
    /// Ctrl-C while the polecat at `address` goes on.
    pub fn interrupted(cluster: &Cluster, address: &str) -> Self {
        Self::Interrupted {
            address: address.to_owned(),
            typed: cluster.typed(address),
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Ended { .. } | Self::Deleted { .. } => Exit::NotDone,
            Self::TooLong { .. } => Exit::Timeout,
            Self::Interrupted { .. } => Exit::Interrupted,
            Self::Listen(_) => Exit::Failure,
            Self::Call(call) => call.exit(),
        }
    }
}

/// How far a polecat is from a goal.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The polecat has reached it.
    Reached,
    /// It can still reach it without a person.
    OnItsWay,
    /// It cannot reach it any more.
    Missed,
}

/// How far `polecat` is from `goal`. A retry counts once the operator has acted on it.
pub fn progress_to(polecat: &Polecat, goal: Goal) -> Progress {
    if polecat.retry_is_open() {
        return Progress::OnItsWay;
    }
    if polecat.status.observed_generation < polecat.metadata.generation && polecat.phase() != "Done" {
        return Progress::OnItsWay;
    }
    match (polecat.phase(), goal) {
        ("Done", _) | ("Working", Goal::Working) => Progress::Reached,
        ("Working", Goal::Ready) if polecat.status.pod_active => Progress::Reached,
        ("Stuck" | "Terminated", _) => Progress::Missed,
        _ if polecat.has_nothing_to_do() => Progress::Missed,
        _ => Progress::OnItsWay,
    }
}

/// How a wait ended.
#[derive(Debug)]
pub struct Waited {
    /// The polecat as last seen; `None` if it never was.
    pub object: Option<Value>,
    /// Whether it reached the goal.
    pub outcome: Result<(), Wait>,
}

/// Waits until the polecat reaches `goal`, and reports progress on standard error.
pub async fn wait_for(
    cluster: &Cluster,
    reporter: Reporter,
    address: &str,
    goal: Goal,
    timeout: Option<Duration>,
) -> Waited {
    let mut object = None;
    let outcome = wait_until(cluster, reporter, address, goal, timeout, &mut object).await;
    Waited { object, outcome }
}

async fn wait_until(
    cluster: &Cluster,
    reporter: Reporter,
    address: &str,
    goal: Goal,
    timeout: Option<Duration>,
    seen: &mut Option<Value>,
) -> Result<(), Wait> {
    let name = address.rsplit('/').next().unwrap_or(address);
    let watching = watch_until(cluster, reporter, name, goal, seen);
    let limit = async {
        match timeout.filter(|timeout| !timeout.is_zero()) {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        result = watching => Some(result),
        () = limit => None,
        pressed = tokio::signal::ctrl_c() => {
            pressed.map_err(Wait::Listen)?;
            return Err(Wait::interrupted(cluster, address));
        }
    };
    outcome.unwrap_or_else(|| {
        let seen = seen.as_ref().map(Polecat::read).unwrap_or_default();
        let message = seen
            .parked()
            .map_or_else(|| seen.message(), |parked| &parked.message);
        Err(Wait::TooLong {
            address: address.to_owned(),
            typed: cluster.typed(address),
            phase: seen.phase().to_owned(),
            why: if message.is_empty() {
                String::new()
            } else {
                format!(": {message}")
            },
            seconds: timeout.unwrap_or_default().as_secs(),
        })
    })
}

async fn watch_until(
    cluster: &Cluster,
    reporter: Reporter,
    name: &str,
    goal: Goal,
    seen: &mut Option<Value>,
) -> Result<(), Wait> {
    let mut said = String::new();
    let mut changes = std::pin::pin!(watch(cluster, name));
    let mut existed = false;
    while let Some(change) = changes.next().await {
        let Some(object) = change? else {
            if existed {
                return Err(Wait::Deleted {
                    name: name.to_owned(),
                });
            }
            continue;
        };
        existed = true;
        let polecat = Polecat::read(&object);
        *seen = Some(object);
        let progress = describe(&polecat);
        if progress != said {
            reporter.note(&reporter.style.faint(&progress));
            said = progress;
        }
        match progress_to(&polecat, goal) {
            Progress::Reached => return Ok(()),
            Progress::Missed => return Err(ended(cluster, &polecat)),
            Progress::OnItsWay => {}
        }
    }
    Err(Wait::Deleted {
        name: name.to_owned(),
    })
}

/// The error of a polecat that ended without reaching the goal.
pub fn ended(cluster: &Cluster, polecat: &Polecat) -> Wait {
    ended_at(polecat, &cluster.typed(&polecat.address()))
}

fn ended_at(polecat: &Polecat, typed: &str) -> Wait {
    let address = polecat.address();
    let reason = polecat.reason();
    let message = facts(reason, polecat.message());
    let remedy = remedy(reason).map_or_else(
        || format!("`kubectl gt polecat describe {typed}` shows its attempts"),
        str::to_owned,
    );
    Wait::Ended {
        phase: polecat.phase().to_owned(),
        why: if message.is_empty() {
            reason.to_owned()
        } else {
            format!("{reason}: {message}")
        },
        next: next(polecat, &remedy, typed),
        address,
    }
}

/// What to do about a polecat that missed the goal: its remedy, and the command that tries again, once. One that was
/// refused before an attempt began goes on by itself.
fn next(polecat: &Polecat, remedy: &str, typed: &str) -> String {
    let by_itself = remedy.ends_with("goes on by itself");
    if polecat.phase() != "Stuck" || remedy.contains("polecat retry") || by_itself {
        return remedy.to_owned();
    }
    let has_failed = polecat
        .status
        .attempts
        .iter()
        .any(|a| a.reason == polecat.reason());
    if has_failed || remedy.contains("retry") {
        format!("{remedy}: `kubectl gt polecat retry {typed}`")
    } else {
        format!("{remedy}; the polecat then goes on by itself")
    }
}

/// `furiosa: Working, PodStarting`.
pub fn describe(polecat: &Polecat) -> String {
    let name = &polecat.metadata.name;
    if polecat.retry_is_open() {
        return format!("{name}: {}, another attempt was requested", polecat.phase());
    }
    let (reason, message) = match polecat.parked() {
        Some(parked) => (format!("parked, {}", parked.reason), parked.message.as_str()),
        None => (polecat.reason().to_owned(), polecat.message()),
    };
    // The error of the command that waited says what to do.
    let message = if polecat.is_settled() {
        facts(&reason, message)
    } else {
        message
    };
    let mut text = format!("{name}: {}", polecat.phase());
    if !reason.is_empty() {
        text = format!("{text}, {reason}");
    }
    if !message.is_empty() {
        text = format!("{text}: {}", crate::view::escape(message));
    }
    text
}

/// The polecat of that name at each change, `None` while it does not exist. Reconnects after an error.
pub fn watch(cluster: &Cluster, name: &str) -> impl Stream<Item = Result<Option<Value>, Call>> + use<> {
    let resource = ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "Polecat".to_owned(),
        plural: "polecats".to_owned(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), cluster.namespace(), &resource);
    let (cluster, name) = (cluster.clone(), name.to_owned());
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut exists = false;
    let events = watcher(api, config).default_backoff();
    events.filter_map(move |event| {
        let item = match event {
            Ok(watcher::Event::Apply(found) | watcher::Event::InitApply(found)) => {
                exists = true;
                Some(Ok(serde_json::to_value(found).ok()))
            }
            Ok(watcher::Event::Delete(_)) => {
                exists = false;
                Some(Ok(None))
            }
            Ok(watcher::Event::Init) => {
                exists = false;
                None
            }
            Ok(watcher::Event::InitDone) => (!exists).then_some(Ok(None)),
            Err(error) => fatal(&cluster, &name, error).map(Err),
        };
        futures::future::ready(item)
    })
}

/// An error that no retry cures; the watcher retries all others.
fn fatal(cluster: &Cluster, name: &str, error: watcher::Error) -> Option<Call> {
    let source = match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => source,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => return None,
    };
    let call = Call::from_kube("watch", Resource::POLECATS, name, cluster, source);
    let expired = matches!(&call, Call::ServerFailed { code: 410, .. });
    (!call.is_passing() && !expired).then_some(call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn polecat(phase: &str, reason: &str, active: bool) -> Polecat {
        Polecat::read(&json!({
            "metadata": {"name": "a", "generation": 1},
            "spec": {"rig": "demo"},
            "status": {
                "phase": phase, "observedGeneration": 1, "podActive": active,
                "conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": "m"}],
            },
        }))
    }

    #[test]
    fn every_phase_stands_somewhere_to_every_goal() {
        use Progress::{Missed, OnItsWay, Reached};
        let table = [
            ("Idle", "Idle", false, [OnItsWay, OnItsWay, OnItsWay]),
            ("Idle", "NothingToDo", false, [Missed, Missed, Missed]),
            ("Working", "PodStarting", false, [Reached, OnItsWay, OnItsWay]),
            ("Working", "AgentRunning", true, [Reached, Reached, OnItsWay]),
            ("Done", "Delivered", false, [Reached, Reached, Reached]),
            ("Stuck", "AgentFailed", false, [Missed, Missed, Missed]),
            ("Terminated", "Terminated", false, [Missed, Missed, Missed]),
            ("", "", false, [OnItsWay, OnItsWay, OnItsWay]),
        ];
        for (phase, reason, active, wanted) in table {
            let polecat = polecat(phase, reason, active);
            let found = [Goal::Working, Goal::Ready, Goal::Done].map(|goal| progress_to(&polecat, goal));
            assert_eq!(found, wanted, "{phase} {reason}");
        }
    }

    #[test]
    fn a_retry_that_the_operator_has_not_seen_is_on_its_way() {
        let mut polecat = retried("AgentFailed");
        assert_eq!(progress_to(&polecat, Goal::Done), Progress::OnItsWay);
        assert!(!polecat.is_settled());
        assert_eq!(describe(&polecat), "a: Stuck, another attempt was requested");
        polecat.status.retry_handled = Some("before".to_owned());
        assert_eq!(progress_to(&polecat, Goal::Done), Progress::OnItsWay);
        polecat.status.retry_handled = Some("now".to_owned());
        assert_eq!(progress_to(&polecat, Goal::Done), Progress::Missed);
        assert!(polecat.is_settled());
    }

    /// Stuck for that reason after an attempt whose agent failed, and asked to try again.
    fn retried(reason: &str) -> Polecat {
        let mut polecat = polecat("Stuck", reason, false);
        let annotation = gastown_api::labels::RETRY_REQUESTED_AT.to_owned();
        polecat.metadata.annotations.insert(annotation, "now".to_owned());
        polecat.status.attempts = vec![crate::view::Attempt {
            number: 1,
            reason: "AgentFailed".to_owned(),
            ..crate::view::Attempt::default()
        }];
        polecat
    }

    #[test]
    fn an_outcome_is_final_only_if_the_operator_knows_all_that_was_asked() {
        // The operator does not retry what it refuses: nothing more comes of its own.
        let refused = retried("EndpointNotAllowed");
        assert!(refused.is_settled());
        assert_eq!(progress_to(&refused, Goal::Done), Progress::Missed);
        let mut nuked = retried("AgentFailed");
        "Terminated".clone_into(&mut nuked.spec.desired_state);
        assert_eq!(describe(&nuked), "a: Stuck, AgentFailed: m");
        let mut changed = polecat("Stuck", "AgentFailed", false);
        changed.metadata.generation = 2;
        assert!(!changed.is_settled());
        let mut done = polecat("Done", "Delivered", false);
        done.metadata.generation = 2;
        assert!(done.is_settled(), "Done is for ever");
        assert!(!polecat("Working", "AgentRunning", true).is_settled());
        assert!(polecat("Idle", "NothingToDo", false).is_settled());
    }

    #[test]
    fn a_remedy_that_the_message_has_is_not_said_again() {
        let remedy = gastown_api::reason::Reason::OutOfMemory.remedy();
        for message in [
            format!("no room; {remedy}"),
            remedy.to_owned(),
            "no room".to_owned(),
        ] {
            let mut polecat = polecat("Stuck", "OutOfMemory", false);
            polecat.status.conditions[0].message.clone_from(&message);
            let words = ended_at(&polecat, "demo/a").to_string();
            assert_eq!(words.matches(remedy).count(), 1, "{words}");
            let progress = describe(&polecat);
            assert_eq!(progress.matches(remedy).count(), 0, "{progress}");
        }
        let polecat = failed("AgentFailed");
        let with = "do that, then `kubectl gt polecat retry demo/a`";
        assert_eq!(next(&polecat, with, "demo/a"), with);
        assert_eq!(
            next(&polecat, "do that", "demo/a"),
            "do that: `kubectl gt polecat retry demo/a`"
        );
    }

    /// A polecat whose attempt failed for this reason.
    fn failed(reason: &str) -> Polecat {
        let mut polecat = polecat("Stuck", reason, false);
        polecat.status.attempts = vec![crate::view::Attempt {
            reason: reason.to_owned(),
            ..Default::default()
        }];
        polecat
    }

    #[test]
    fn one_that_was_refused_before_an_attempt_goes_on_without_a_retry() {
        let refused = polecat("Stuck", "SpecIncomplete", false);
        let words = next(&refused, "set the field", "demo/a");
        assert_eq!(words, "set the field; the polecat then goes on by itself");
        let both = next(
            &failed("RepositoryNotFound"),
            "a parked pod goes on by itself, a stuck one wants a retry",
            "demo/a",
        );
        assert!(
            both.ends_with("wants a retry: `kubectl gt polecat retry demo/a`"),
            "{both}"
        );
        let once = ended_at(&polecat("Stuck", "EndpointNotAllowed", false), "demo/a").to_string();
        assert!(!once.contains("polecat retry"), "{once}");
        assert_eq!(once.matches("by itself").count(), 1, "{once}");
    }

    #[test]
    fn a_stuck_polecat_is_told_with_reason_and_remedy() {
        let words = ended_at(&failed("OutOfMemory"), "demo/a -n town").to_string();
        for part in [
            "demo/a",
            "Stuck",
            "OutOfMemory",
            "limits.memory",
            "polecat retry demo/a -n town",
        ] {
            assert!(words.contains(part), "{part:?} not in {words}");
        }
    }
}
