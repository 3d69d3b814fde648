//! Polecats of a world, and waiting for what becomes of them.

use std::fmt::Debug;
use std::time::Duration;

use futures::AsyncReadExt as _;
use gastown_api::condition;
use gastown_api::pod::pod_name;
use gastown_api::polecat::{Attempt, Polecat, PolecatPhase};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::Resource;
use kube::api::{DeleteParams, EvictParams, ListParams, LogParams};
use kube::runtime::wait::await_condition;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{World, dump, within};

/// How long a polecat may take for what tests ask of it, on two cores shared by four tests.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// A polecat without a Rig that works over SSH with all the testbed's credentials. `script` names the model's script in
/// `tests/scripts`.
#[must_use]
pub fn polecat(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "gastown.gastown.io/v1alpha1",
        "kind": "Polecat",
        "metadata": {"name": name},
        "spec": {
            "rig": "no-such-rig",
            "desiredState": "Working",
            "agentConfig": {
                "provider": "anthropic",
                "model": "claude-sonnet-4-5",
                "modelProvider": {"endpoint": "http://testbed:8080"},
            },
            "kubernetes": {
                "gitRepository": "git@testbed:/srv/git/calculator.git",
                "gitSecretRef": {"name": "git-ssh-key"},
                "claudeCredsSecretRef": {"name": "claude-creds"},
            },
            "task": {"description": format!("Do what the script says. [[script:{script}]]")},
        },
    })
}

/// The condition of that type, as `Status/Reason: message`.
#[must_use]
pub fn condition(polecat: &Polecat, type_: &str) -> Option<(bool, String, String)> {
    let conditions = &polecat.status.as_ref()?.conditions;
    let found = conditions.iter().find(|c| c.type_ == type_)?;
    Some((
        found.status == "True",
        found.reason.clone(),
        found.message.clone(),
    ))
}

/// The reason of the condition Ready.
#[must_use]
pub fn reason(polecat: &Polecat) -> String {
    condition(polecat, condition::READY).map_or_else(String::new, |(_, reason, _)| reason)
}

/// Whether a pod's condition is True.
pub(super) fn pod_condition(pod: &Pod, type_: &str) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == type_ && c.status == "True"))
}

impl World {
    /// Waits, by watch, until `holds` of the object; none while it does not exist.
    pub async fn until<K>(
        &self,
        name: &str,
        limit: Duration,
        what: &str,
        holds: impl Fn(Option<&K>) -> bool,
    ) -> Option<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        <K as Resource>::DynamicType: Default,
    {
        let seen = async {
            loop {
                match await_condition(self.api::<K>(), name, &holds).await {
                    Ok(seen) => return seen,
                    Err(error) => eprintln!("the watch of {name:?} begins anew: {error}"),
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(limit, seen)
            .await
            .unwrap_or_else(|_| panic!("{name:?} not within {} s: {what}", limit.as_secs()))
    }

    /// Waits until `holds` of a polecat.
    pub async fn polecat_until(&self, name: &str, what: &str, holds: impl Fn(&Polecat) -> bool) -> Polecat {
        let seen = self.until(name, PATIENCE, what, |polecat: Option<&Polecat>| {
            polecat.is_some_and(&holds)
        });
        seen.await.unwrap_or_else(|| panic!("{name:?} is gone"))
    }

    /// Waits until a polecat ends in `phase`, and fails as soon as it ends in another.
    pub async fn ends(&self, name: &str, phase: PolecatPhase) -> Polecat {
        let ended = |polecat: &Polecat| {
            let now = polecat.status.as_ref().and_then(|status| status.phase);
            matches!(
                now,
                Some(PolecatPhase::Done | PolecatPhase::Stuck | PolecatPhase::Terminated)
            ) || now == Some(phase)
        };
        let polecat = self
            .polecat_until(name, &format!("it ends {phase:?}"), ended)
            .await;
        let status = polecat.status.clone().unwrap_or_default();
        assert_eq!(
            status.phase,
            Some(phase),
            "{:?}",
            condition(&polecat, condition::READY)
        );
        polecat
    }

    /// Waits until a polecat is Stuck for `reason`; its Ready condition's message comes back.
    pub async fn is_stuck(&self, name: &str, reason: &str) -> (Polecat, String) {
        let polecat = self.ends(name, PolecatPhase::Stuck).await;
        let (holds, found, message) = condition(&polecat, condition::READY).unwrap();
        assert!(!holds && found == reason, "Stuck for {found}: {message}");
        (polecat, message)
    }

    /// Waits until an attempt has an outcome, whatever comes after it.
    pub async fn attempt_ends(&self, name: &str, number: i32) -> (Polecat, Attempt) {
        let attempt = |polecat: &Polecat| {
            let attempts = &polecat.status.as_ref()?.attempts;
            attempts
                .iter()
                .find(|attempt| attempt.number == number && attempt.outcome.is_some())
                .cloned()
        };
        let polecat = self
            .polecat_until(name, &format!("attempt {number} has an outcome"), |polecat| {
                attempt(polecat).is_some()
            })
            .await;
        let attempt = attempt(&polecat).unwrap();
        (polecat, attempt)
    }

    /// Evicts the pod of a polecat through the API, as a drain does.
    pub async fn evict(&self, polecat: &str) {
        self.api::<Pod>()
            .evict(&pod_name(polecat), &EvictParams::default())
            .await
            .unwrap_or_else(|error| panic!("failed to evict the pod of {polecat:?}: {error}"));
    }

    /// Creates a polecat.
    pub async fn sling(&self, object: Value) -> Polecat {
        self.create(object).await
    }

    /// The pod of a polecat, if there is one.
    pub async fn pod_of(&self, polecat: &str) -> Option<Pod> {
        let found = self.api::<Pod>().get_opt(&pod_name(polecat)).await;
        found.unwrap_or_else(|error| panic!("failed to read the pod of {polecat:?}: {error}"))
    }

    /// Every pod of a polecat, whatever it is called.
    pub async fn pods_of(&self, polecat: &str) -> Vec<Pod> {
        let labelled = ListParams::default().labels(&format!("gastown.io/polecat={polecat}"));
        self.api::<Pod>().list(&labelled).await.unwrap().items
    }

    /// Waits until no pod of a polecat is left.
    pub async fn pods_are_gone(&self, polecat: &str) {
        within(PATIENCE, &format!("no pod of {polecat:?} is left"), async || {
            let left = self.pods_of(polecat).await.len();
            if left == 0 {
                Ok(())
            } else {
                Err(format!("{left} are"))
            }
        })
        .await;
    }

    /// Waits until the log of a container holds `text`; gives the log.
    pub async fn log_holds(&self, polecat: &str, container: &str, text: &str) -> String {
        let what = format!("the log of {container} of {polecat:?} holds {text:?}");
        within(PATIENCE, &what, async || {
            let log = self.log(polecat, container).await;
            if log.contains(text) {
                Ok(log)
            } else {
                Err(format!("it is:\n{log}"))
            }
        })
        .await
    }

    /// All that the container `claude` of a polecat's pod says until it ends, with the pod or before it.
    pub async fn whole_log(&self, polecat: &str) -> String {
        self.log_holds(polecat, "claude", "\n").await;
        let which = LogParams {
            container: Some("claude".to_owned()),
            follow: true,
            ..LogParams::default()
        };
        let stream = self.api::<Pod>().log_stream(&pod_name(polecat), &which).await;
        let mut stream = stream.unwrap_or_else(|error| panic!("failed to follow {polecat:?}: {error}"));
        let mut log = Vec::new();
        // The stream breaks off where the pod is gone; what was read until then counts.
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut log)).await;
        if let Ok(Err(error)) = read {
            eprintln!("the log of {polecat:?} breaks off: {error}");
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The log of a container of a polecat that has said something.
    pub async fn words(&self, polecat: &str, container: &str) -> String {
        self.log_holds(polecat, container, "\n").await
    }

    /// The log of a container of a polecat; empty while it has none.
    async fn log(&self, polecat: &str, container: &str) -> String {
        let which = LogParams {
            container: Some(container.to_owned()),
            ..LogParams::default()
        };
        let log = self.api::<Pod>().logs(&pod_name(polecat), &which).await;
        log.unwrap_or_default()
    }

    /// Whatever a reader of this world may see: statuses, events, and the logs of every container.
    pub async fn shown(&self) -> String {
        dump::whole(self).await
    }

    /// Waits until `holds` of the reason and note of an event about a polecat; gives all events about it, oldest first.
    /// The operator tells of a transition only after it has written it, so that a status seen is no event made.
    pub async fn told(&self, polecat: &str, holds: impl Fn(&str, &str) -> bool) -> Vec<(String, String)> {
        within(
            PATIENCE,
            &format!("the event about {polecat:?} is there"),
            async || {
                let told = self.events_of(polecat).await;
                if told.iter().any(|(reason, note)| holds(reason, note)) {
                    Ok(told)
                } else {
                    Err(format!("there are {told:?}"))
                }
            },
        )
        .await
    }

    /// The events about a polecat: reason and note, oldest first.
    async fn events_of(&self, polecat: &str) -> Vec<(String, String)> {
        let all = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        let about = |event: &Event| {
            let regarding = event.regarding.as_ref();
            regarding
                .is_some_and(|r| r.kind.as_deref() == Some("Polecat") && r.name.as_deref() == Some(polecat))
        };
        let said = |event: Event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
        all.into_iter().filter(about).map(said).collect()
    }

    /// Deletes a polecat and waits until it is gone.
    pub async fn delete_polecat(&self, name: &str) {
        self.api::<Polecat>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        self.until(name, PATIENCE, "it is gone", |polecat: Option<&Polecat>| {
            polecat.is_none()
        })
        .await;
    }
}

/// The statuses of all containers of a pod.
pub(super) fn containers(pod: &Pod) -> Vec<ContainerStatus> {
    let status = pod.status.clone().unwrap_or_default();
    let init = status.init_container_statuses.unwrap_or_default();
    init.into_iter()
        .chain(status.container_statuses.unwrap_or_default())
        .collect()
}
