//! What a world looks like, for the reader of a failed test.

use std::fmt::Write as _;

use gastown_api::polecat::Polecat;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::{ListParams, LogParams};

use super::{World, operator, polecats};

/// The most lines of a log for the reader of a failed test.
const LINES: i64 = 60;

/// Polecats, pods with their containers' states and logs, events, and the operator's words about this namespace.
pub async fn of(world: &World) -> String {
    of_world(world, Some(LINES)).await
}

/// The same with whole logs, for a test that looks for what must not stand there.
pub async fn whole(world: &World) -> String {
    of_world(world, None).await
}

async fn of_world(world: &World, lines: Option<i64>) -> String {
    let mut text = format!("==== namespace {} ====\n", world.namespace);
    polecats_of(world, &mut text).await;
    pods_of(world, &mut text, lines).await;
    events_of(world, &mut text).await;
    let said = operator::log(&world.client).await;
    let about: Vec<_> = said
        .lines()
        .filter(|line| line.contains(&world.namespace))
        .collect();
    let last = about.len().saturating_sub(40);
    let _ = writeln!(text, "---- operator\n{}", about[last..].join("\n"));
    text
}

async fn polecats_of(world: &World, text: &mut String) {
    match world.api::<Polecat>().list(&ListParams::default()).await {
        Ok(all) => {
            for polecat in all {
                let status = serde_yaml_ng::to_string(&polecat.status).unwrap_or_default();
                let _ = writeln!(text, "---- polecat {}\n{status}", polecat.name_any());
            }
        }
        Err(error) => {
            let _ = writeln!(text, "polecats: {error}");
        }
    }
}

async fn pods_of(world: &World, text: &mut String, lines: Option<i64>) {
    let pods = match world.api::<Pod>().list(&ListParams::default()).await {
        Ok(pods) => pods,
        Err(error) => {
            let _ = writeln!(text, "pods: {error}");
            return;
        }
    };
    for pod in pods {
        let status = pod.status.clone().unwrap_or_default();
        let phase = status.phase.unwrap_or_default();
        let _ = writeln!(
            text,
            "---- pod {} {phase} {} {}{}",
            pod.name_any(),
            status.reason.unwrap_or_default(),
            status.message.unwrap_or_default(),
            if pod.metadata.deletion_timestamp.is_some() {
                " (deleted)"
            } else {
                ""
            },
        );
        for container in polecats::containers(&pod) {
            let state = serde_json::to_string(&container.state).unwrap_or_default();
            let _ = writeln!(text, "-- {} ready={} {state}", container.name, container.ready);
            let which = LogParams {
                container: Some(container.name),
                tail_lines: lines,
                ..LogParams::default()
            };
            let log = world.api::<Pod>().logs(&pod.name_any(), &which).await;
            let _ = writeln!(text, "{}", log.unwrap_or_else(|error| format!("no log: {error}")));
        }
    }
}

async fn events_of(world: &World, text: &mut String) {
    match world.api::<Event>().list(&ListParams::default()).await {
        Ok(events) => {
            for event in events {
                let regarding = event.regarding.unwrap_or_default();
                let _ = writeln!(
                    text,
                    "event {} {}: {} {}",
                    regarding.kind.unwrap_or_default(),
                    regarding.name.unwrap_or_default(),
                    event.reason.unwrap_or_default(),
                    event.note.unwrap_or_default()
                );
            }
        }
        Err(error) => {
            let _ = writeln!(text, "events: {error}");
        }
    }
}
