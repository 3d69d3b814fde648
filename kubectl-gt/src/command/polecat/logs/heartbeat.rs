//! What is said beside a log while it grows.

use std::time::Duration;

use crate::cluster::{Cluster, Resource};
use crate::reporter::Reporter;
use crate::view::{Polecat, of_tokens};
use crate::wait::describe;

/// How often the polecat is looked at while its agent talks.
const BEAT: Duration = Duration::from_secs(10);

/// What the cluster knows while the agent talks, or is silent: that the polecat is parked, and what it cost so far.
pub struct Heartbeat<'a> {
    cluster: &'a Cluster,
    name: &'a str,
    interval: tokio::time::Interval,
    said: String,
}

impl<'a> Heartbeat<'a> {
    /// Starts; the first look is a while off.
    pub fn start(cluster: &'a Cluster, name: &'a str) -> Self {
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self {
            cluster,
            name,
            interval,
            said: String::new(),
        }
    }

    /// Waits for the next look; for ever where there is none.
    pub async fn next(heartbeat: Option<&mut Self>) {
        match heartbeat {
            Some(heartbeat) => drop(heartbeat.interval.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Says what changed. A look that fails is followed by the next.
    pub async fn look(&mut self, reporter: Reporter) {
        let Ok(object) = self.cluster.get(Resource::POLECATS, self.name).await else {
            return;
        };
        let now = so_far(&Polecat::read(&object));
        if !now.is_empty() && now != self.said {
            reporter.note(&reporter.style.faint(&now));
            self.said = now;
        }
    }
}

/// `furiosa: Working, parked, RateLimited: …`, or `furiosa: 12.3k tokens, $0.12 so far`.
fn so_far(polecat: &Polecat) -> String {
    let usage = &polecat.status.usage;
    if polecat.parked().is_some() {
        describe(polecat)
    } else if usage.requests == 0 {
        String::new()
    } else {
        let cost = &polecat.status.cost;
        let cost = if cost.is_empty() {
            String::new()
        } else {
            format!(", {cost}")
        };
        format!(
            "{}: {}{cost} so far",
            polecat.metadata.name,
            of_tokens(usage.tokens())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_known_so_far_is_that_it_is_parked_or_what_it_cost() {
        let read = |status: Value| {
            so_far(&Polecat::read(
                &json!({"metadata": {"name": "a"}, "spec": {}, "status": status}),
            ))
        };
        assert_eq!(read(json!({"phase": "Working"})), "");
        let used =
            json!({"phase": "Working", "usage": {"inputTokens": 1200, "requests": 1}, "cost": "$0.01"});
        assert_eq!(read(used), "a: 1.2k tokens, $0.01 so far");
        let parked = json!({"phase": "Working", "conditions": [{"type": "Parked", "status": "True", "reason": "RateLimited", "message": "until noon"}]});
        assert_eq!(read(parked), "a: Working, parked, RateLimited: until noon");
    }
}
