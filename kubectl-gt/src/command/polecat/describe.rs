//! `kubectl gt polecat describe`.

use std::collections::BTreeSet;

use gastown_api::money::dollars;
use jiff::Timestamp;
use serde_json::Value;

use super::named::{Found, Named};
use super::status;
use crate::age;
use crate::cluster::{Call, Cluster, Resource, Selection};
use crate::command::doctor::warn_if_none_runs;
use crate::command::rig::conditions;
use crate::error::Error;
use crate::output::detail::Detail;
use crate::output::{OutputArgs, name_of};
use crate::session::Session;
use crate::view::{Attempt, facts, remedy, tokens};

/// Flags of `polecat describe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    polecat: Named,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Prints one polecat with everything that is known of it.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let Found {
            cluster,
            object,
            polecat,
        } = self.polecat.find(session).await?;
        if self.output.output.is_for_people() && !polecat.is_settled() {
            warn_if_none_runs(session.reporter, &cluster).await;
        }
        let now = Timestamp::now();
        let name = name_of(Resource::POLECATS, &object);
        let events = if self.output.output.is_for_people() {
            events(&cluster, &polecat.metadata.name).await
        } else {
            Ok(Vec::new())
        };
        let mut detail = status::detail(&polecat, now);
        let task: Vec<_> = polecat.task().lines().collect();
        if task.len() > 1 {
            detail.section("Task");
            for line in task {
                detail.text(line);
            }
        }
        let mut told: BTreeSet<_> = remedy(polecat.reason()).into_iter().collect();
        attempts(&mut detail, &polecat.status.attempts, now, &mut told);
        conditions(&mut detail, &polecat.status.conditions, now, &mut told);
        match &events {
            Ok(events) => show_events(&mut detail, events, now),
            Err(error) => session.reporter.warn(&format!("no events: {error}")),
        }
        let format = &self.output.output;
        Ok(session
            .out
            .object(format, &object, &name, |out, _| detail.print(out))?)
    }
}

fn attempts(detail: &mut Detail, attempts: &[Attempt], now: Timestamp, told: &mut BTreeSet<&str>) {
    if attempts.is_empty() {
        return;
    }
    detail.section("Attempts");
    for attempt in attempts {
        let outcome = match (attempt.outcome.as_str(), attempt.reason.as_str()) {
            ("", "") => "at work",
            ("", _) => "stopping",
            (outcome, _) => outcome,
        };
        let cost = attempt.cost_micros.map_or_else(String::new, dollars);
        let used = tokens(attempt.usage.tokens());
        let head = format!(
            "{:>2}  {outcome:<10} {:<22} {:>6} ago  {used:>6} tokens  {cost}",
            attempt.number,
            attempt.reason,
            age::since(&attempt.started_at, now),
        );
        detail.text(head.trim_end());
        for line in facts(&attempt.reason, &attempt.message).lines() {
            detail.text(format!("    {line}"));
        }
        if let Some(remedy) = remedy(&attempt.reason).filter(|remedy| told.insert(*remedy)) {
            detail.text(format!("    → {remedy}"));
        }
    }
}

async fn events(cluster: &Cluster, name: &str) -> Result<Vec<Value>, Call> {
    let selection = Selection {
        fields: Some(format!("involvedObject.kind=Polecat,involvedObject.name={name}")),
        all_namespaces: false,
    };
    cluster.list(Resource::EVENTS, &selection).await
}

fn show_events(detail: &mut Detail, events: &[Value], now: Timestamp) {
    if events.is_empty() {
        return;
    }
    detail.section("Events");
    let mut events: Vec<_> = events.iter().collect();
    events.sort_by_key(|event| time(event).to_owned());
    for event in events {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        let message = facts(text("reason"), text("message"));
        detail.text(format!(
            "{:>5}  {:<8} {:<22} {}",
            age::since(time(event), now),
            text("type"),
            text("reason"),
            message.lines().next().unwrap_or_default(),
        ));
    }
}

/// Events carry their time in one of three places.
fn time(event: &Value) -> &str {
    let places = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ];
    let found = places
        .iter()
        .find_map(|place| event.pointer(place).and_then(Value::as_str));
    found.unwrap_or_default()
}
