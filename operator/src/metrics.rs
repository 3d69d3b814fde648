//! Figures for Prometheus. Labels take values from closed lists only, so their number is bounded.

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::time::Duration;

use gastown_api::reason::AnyReason;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::types::EndedAttempt;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindResult {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindAct {
    kind: &'static str,
    act: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenKind {
    kind: &'static str,
}

/// Every figure.
pub struct Metrics {
    registry: Mutex<Registry>,
    reconciles: Family<KindResult, Counter>,
    durations: Family<Kind, Histogram, fn() -> Histogram>,
    queued: Family<Kind, Histogram, fn() -> Histogram>,
    acts: Family<KindAct, Histogram, fn() -> Histogram>,
    pods_created: Counter,
    ends: Family<EndReason, Counter>,
    tokens: Family<TokenKind, Counter>,
    cost: Counter<f64, std::sync::atomic::AtomicU64>,
    attempts: Family<EndReason, Histogram, fn() -> Histogram>,
    parked: Counter,
    pushes_refused: Counter,
    events: Family<EndReason, Counter>,
    leading: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that start at 0.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("gastown");
        let reconciles = Family::default();
        let (pods_created, ends) = (Counter::default(), Family::default());
        let (tokens, cost, leading) = (Family::default(), Counter::default(), Gauge::default());
        registry.register(
            "reconcile",
            "Reconciles of objects, by kind and result",
            reconciles.clone(),
        );
        let durations = timed(
            &mut registry,
            "reconcile_duration",
            "How long a reconcile took",
            seconds,
        );
        let queued = timed(
            &mut registry,
            "queue_duration",
            "How long an object waited from its first trigger until it was reconciled, by kind",
            calls,
        );
        let acts = timed(
            &mut registry,
            "act_duration",
            "How long an act took, which is one call of the API server, by kind and act",
            calls,
        );
        registry.register("pods_created", "Pods created", pods_created.clone());
        registry.register("attempt_ends", "Attempts that ended, by reason", ends.clone());
        registry.register(
            "tokens",
            "Tokens that ended attempts used, by kind",
            tokens.clone(),
        );
        registry.register(
            "cost_usd",
            "Cost of ended attempts in US dollars, where the model has a price",
            cost.clone(),
        );
        let (parked, pushes_refused, events) = (Counter::default(), Counter::default(), Family::default());
        let attempts = timed(
            &mut registry,
            "attempt_duration",
            "How long ended attempts took from claim to end, by reason",
            minutes,
        );
        registry.register_with_unit(
            "parked",
            "How long ended attempts were parked",
            Unit::Seconds,
            parked.clone(),
        );
        registry.register(
            "pushes_refused",
            "Pushes of agents that ended attempts saw refused",
            pushes_refused.clone(),
        );
        registry.register(
            "transitions",
            "Transitions that an event told of, by reason: parking, resuming, retries and ends",
            events.clone(),
        );
        registry.register("leading", "1 where this replica leads", leading.clone());
        Self {
            registry: Mutex::new(registry),
            reconciles,
            durations,
            queued,
            acts,
            pods_created,
            ends,
            tokens,
            cost,
            attempts,
            parked,
            pushes_refused,
            events,
            leading,
        }
    }

    /// Counts a look at an object.
    pub fn reconciled(&self, kind: &'static str, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&KindResult { kind, result }).inc();
        self.durations
            .get_or_create(&Kind { kind })
            .observe(took.as_secs_f64());
    }

    /// Notes how long an object waited until it was reconciled.
    pub fn queued(&self, kind: &'static str, waited: Duration) {
        let queued = self.queued.get_or_create(&Kind { kind });
        queued.observe(waited.as_secs_f64());
    }

    /// Notes how long an act took.
    pub fn acted(&self, kind: &'static str, act: &'static str, took: Duration) {
        let acts = self.acts.get_or_create(&KindAct { kind, act });
        acts.observe(took.as_secs_f64());
    }

    /// Counts objects of a kind by phase, with `count`, whenever the metrics are read.
    pub fn count_by_phase(
        &self,
        name: &'static str,
        help: &'static str,
        count: impl Fn() -> Vec<(&'static str, i64)> + Send + Sync + 'static,
    ) {
        let count = Box::new(count);
        self.registry
            .lock()
            .register_collector(Box::new(ByPhase { name, help, count }));
    }

    /// Counts a pod.
    pub fn pod_created(&self) {
        self.pods_created.inc();
    }

    /// Counts the end of an attempt and what it used.
    #[expect(
        clippy::cast_precision_loss,
        reason = "millionths of a dollar stay far below 2^52"
    )]
    pub fn attempt_ended(&self, ended: &EndedAttempt) {
        let reason = ended.reason.as_str();
        let usage = &ended.usage;
        self.ends.get_or_create(&EndReason { reason }).inc();
        self.attempts
            .get_or_create(&EndReason { reason })
            .observe(ended.took.as_secs_f64().max(0.0));
        self.parked.inc_by(ended.parked_seconds);
        self.pushes_refused.inc_by(ended.pushes_refused.into());
        for (kind, count) in [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_write", usage.cache_write_tokens),
            ("cache_read", usage.cache_read_tokens),
        ] {
            self.tokens.get_or_create(&TokenKind { kind }).inc_by(count);
        }
        self.cost
            .inc_by(ended.cost_micros.unwrap_or(0).max(0) as f64 / 1e6);
    }

    /// Counts a transition that an event tells of.
    pub fn told(&self, reason: impl Into<AnyReason>) {
        let reason = reason.into().name;
        self.events.get_or_create(&EndReason { reason }).inc();
    }

    /// Says whether this replica leads.
    pub fn lead(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// The text that Prometheus reads.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }
}

/// A histogram of seconds for each set of labels.
fn timed<L>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    buckets: fn() -> Histogram,
) -> Family<L, Histogram, fn() -> Histogram>
where
    L: EncodeLabelSet + Clone + Debug + Eq + Hash + Send + Sync + 'static,
{
    let family = Family::new_with_constructor(buckets);
    registry.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
}

/// A call of the API server takes a few milliseconds.
fn calls() -> Histogram {
    Histogram::new([
        0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    ])
}

/// From a refused pod to the longest parking.
fn minutes() -> Histogram {
    Histogram::new([
        1.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0,
    ])
}

/// Objects of a kind by phase, counted when the metrics are read.
struct ByPhase {
    name: &'static str,
    help: &'static str,
    count: Box<dyn Fn() -> Vec<(&'static str, i64)> + Send + Sync>,
}

impl Debug for ByPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByPhase").field(&self.name).finish()
    }
}

impl Collector for ByPhase {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metric_type = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor(self.name, self.help, None, metric_type)?;
        for (phase, count) in (self.count)() {
            let labels = [("phase", phase)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gastown_api::reason::Reason;
    use gastown_api::usage::Usage;
    use jiff::SignedDuration;

    use super::*;

    /// Metrics of an operator that has done one of each.
    fn used() -> Metrics {
        let metrics = Metrics::new();
        metrics.count_by_phase("polecats", "Polecats by phase", || vec![("New", 1)]);
        metrics.queued("Polecat", Duration::from_millis(3));
        metrics.acted("Polecat", "Claim", Duration::from_millis(7));
        metrics.reconciled("Polecat", "ok", Duration::from_millis(3));
        metrics.attempt_ended(&EndedAttempt {
            reason: Reason::Delivered,
            usage: Usage {
                input_tokens: 7,
                ..Usage::default()
            },
            cost_micros: Some(500_000),
            took: SignedDuration::from_secs(90),
            parked_seconds: 30,
            pushes_refused: 2,
        });
        metrics.told(Reason::Delivered);
        metrics
    }

    #[test]
    fn every_metric_is_documented_and_no_other() {
        let text = used().encode().unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let named = lines.filter_map(|line| {
            let (name, kind) = line.split_once(' ')?;
            let total = if kind == "counter" { "_total" } else { "" };
            Some(format!("{name}{total}"))
        });
        let named: std::collections::BTreeSet<_> = named.collect();
        let page = include_str!("../../docs/metrics.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `gastown_"));
        let documented = rows.filter_map(|row| Some(format!("gastown_{}", row.split_once('`')?.0)));
        assert_eq!(documented.collect::<std::collections::BTreeSet<_>>(), named);
    }

    #[test]
    fn the_text_names_reconciles_phases_and_ends() {
        let metrics = used();
        let text = metrics.encode().unwrap();
        for line in [
            "gastown_reconcile_total{kind=\"Polecat\",result=\"ok\"} 1",
            "gastown_polecats{phase=\"New\"} 1",
            "gastown_queue_duration_seconds_bucket{le=\"0.005\",kind=\"Polecat\"} 1",
            "gastown_act_duration_seconds_bucket{le=\"0.005\",kind=\"Polecat\",act=\"Claim\"} 0",
            "gastown_attempt_ends_total{reason=\"Delivered\"} 1",
            "gastown_tokens_total{kind=\"input\"} 7",
            "gastown_cost_usd_total 0.5",
            "gastown_attempt_duration_seconds_sum{reason=\"Delivered\"} 90",
            "gastown_attempt_duration_seconds_bucket{le=\"60.0\",reason=\"Delivered\"} 0",
            "gastown_parked_seconds_total 30",
            "gastown_pushes_refused_total 2",
            "gastown_transitions_total{reason=\"Delivered\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
