//! What the kubelet says of a polecat's pod while it lives: no kubelet runs beside this API server.

use anyhow::{Context as _, Result};
use gastown_api::evidence::{BrokerState, Evidence, FinalRead, RunReport};
use gastown_api::pod::{BROKER, CLAUDE, GIT_INIT, KEEPER, pod_name};
use gastown_api::usage::Usage;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::cluster::{Change, Cluster, pods};

/// A step in the life of a pod that the kubelet writes to its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// On a node; nothing runs yet.
    Scheduled,
    /// The broker runs and is ready, the keeper runs, `git-init` clones.
    Cloning,
    /// The agent works.
    Running,
    /// The agent has ended; the sidecars still run.
    AgentEnded,
    /// All containers have ended, and the broker's last word is there.
    Ended,
}

impl Stage {
    /// An ordinary life.
    pub const LIFE: [Self; 5] = [
        Self::Scheduled,
        Self::Cloning,
        Self::Running,
        Self::AgentEnded,
        Self::Ended,
    ];
}

/// Writes the status of the polecat's pod at `stage`.
pub async fn report(cluster: &Cluster, polecat: &str, stage: Stage) -> Result<()> {
    let path = format!("{}/{}/status", pods(), pod_name(polecat));
    let body = json!({"status": status(stage, 1, Timestamp::now())?});
    let _: IgnoredAny = cluster.patch(&path, Change::Merge, &body).await?;
    Ok(())
}

/// What the kubelet says of the pod of attempt `attempt` at `stage`.
pub fn status(stage: Stage, attempt: u32, now: Timestamp) -> Result<Value> {
    let running = json!({"running": {"startedAt": now}});
    let waiting = json!({"waiting": {"reason": "PodInitializing"}});
    let ended = |message: &str| json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now, "message": message}});
    let sidecar = |last_word: &str| match stage {
        Stage::Scheduled => waiting.clone(),
        Stage::Ended => ended(last_word),
        _ => running.clone(),
    };
    let clone = match stage {
        Stage::Scheduled => waiting.clone(),
        Stage::Cloning => running.clone(),
        _ => ended(""),
    };
    let agent = match stage {
        Stage::Scheduled | Stage::Cloning => waiting.clone(),
        Stage::Running => running.clone(),
        Stage::AgentEnded | Stage::Ended => ended(&report_of_run()?),
    };
    let phase = match stage {
        Stage::Scheduled | Stage::Cloning => "Pending",
        Stage::Running | Stage::AgentEnded => "Running",
        Stage::Ended => "Succeeded",
    };
    let holds = |type_: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        json!({"type": type_, "status": status, "lastTransitionTime": now})
    };
    let ready = stage == Stage::Running;
    Ok(json!({
        "phase": phase,
        "startTime": now,
        "conditions": [
            holds("PodScheduled", true),
            holds("Initialized", stage >= Stage::Running),
            holds("ContainersReady", ready),
            holds("Ready", ready),
        ],
        "initContainerStatuses": [
            container(BROKER, &sidecar(&evidence(attempt)?.to_json())),
            container(KEEPER, &sidecar("")),
            container(GIT_INIT, &clone),
        ],
        "containerStatuses": [container(CLAUDE, &agent)],
    }))
}

/// The kubelet calls a container ready when it runs and its probe agrees, and an init container when it has succeeded.
fn container(name: &str, state: &Value) -> Value {
    let runs = state.get("running").is_some();
    let cloned = name == GIT_INIT && state.get("terminated").is_some();
    json!({
        "name": name,
        "image": "registry.example.com/polecat-agent",
        "imageID": "",
        "restartCount": 0,
        "ready": runs || cloned,
        "started": runs,
        "state": state,
    })
}

/// The word of a broker whose agent has delivered.
fn evidence(attempt: u32) -> Result<Evidence> {
    Ok(Evidence {
        state: BrokerState::Serving,
        base: Some("1".repeat(40).parse().context("forty digits are an object id")?),
        head: Some("2".repeat(40).parse().context("forty digits are an object id")?),
        pushed: Some("2".repeat(40).parse().context("forty digits are an object id")?),
        final_read: Some(FinalRead::Read {
            at: "2026-01-05T09:00:00Z".parse().context("this is a time")?,
        }),
        usage: Usage {
            input_tokens: 12_000,
            output_tokens: 900,
            cache_write_tokens: 8_000,
            cache_read_tokens: 64_000,
            requests: 14,
        },
        cost_micros: Some(98_700),
        model: Some("claude-sonnet-4-5".to_owned()),
        ..Evidence::starting(attempt)
    })
}

fn report_of_run() -> Result<String> {
    let report = RunReport {
        local_head: evidence(1)?.head,
        pushed: true,
        ..RunReport::default()
    };
    serde_json::to_string(&report).context("failed to write the agent's report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_last_word_is_there_at_the_end_and_not_before() {
        let word = |stage| {
            let status = status(stage, 1, Timestamp::UNIX_EPOCH).unwrap();
            let message = &status["initContainerStatuses"][0]["state"]["terminated"]["message"];
            serde_json::from_str::<Evidence>(message.as_str()?).ok()
        };
        assert_eq!(word(Stage::AgentEnded), None);
        let evidence = word(Stage::Ended).unwrap();
        assert!(evidence.head.is_some() && evidence.head != evidence.base);
    }
}
