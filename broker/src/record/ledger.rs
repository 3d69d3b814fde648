//! What the ledger holds and how it changes: pure, with the time passed in.

use std::time::{Duration, Instant};

use gastown_api::budget::Share;
use gastown_api::evidence::{BrokerState, Evidence};
use gastown_api::usage::Usage;
use gastown_api::work_order::WorkOrder;
use serde::{Deserialize, Serialize};

use super::Elapsed;

/// Between two turns of what is said of checkpoints. The agent can say it too, and each turn costs the operator a reading
/// and a write.
const CHECKPOINTS_TURN_AFTER: Duration = Duration::from_secs(30);

/// How a word about a checkpoint was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It says what was known.
    Known,
    /// The operator is to read it.
    News,
    /// It is not taken: the opposite was said a moment ago.
    TooSoon,
}

/// The ledger as it is on disk. Times are sums, since a clock on the wall may jump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Saved {
    pub evidence: Evidence,
    pub unparked_millis: u64,
    pub parked_millis: u64,
}

/// The ledger of a running broker.
#[derive(Debug)]
pub struct Ledger {
    evidence: Evidence,
    elapsed: Elapsed,
    /// Up to when `elapsed` counts.
    ticked: Instant,
    /// Whether an earlier broker ended without having settled its calls, which nobody has accounted for yet.
    interrupted: bool,
    /// When checkpoints last began to fail, or to be saved again.
    turned: Option<Instant>,
}

impl Ledger {
    pub fn start(order: &WorkOrder, now: Instant) -> Self {
        Self {
            evidence: Evidence {
                calls_expected: order.expects_calls(),
                ..Evidence::starting(order.attempt)
            },
            elapsed: Elapsed {
                unparked: Duration::ZERO,
                parked: Duration::ZERO,
                silent: Duration::ZERO,
            },
            ticked: now,
            interrupted: false,
            turned: None,
        }
    }

    /// Goes on where a broker of the same pod ended; the time between counts for nothing.
    pub fn resume(saved: Saved, now: Instant) -> Self {
        let mut evidence = saved.evidence;
        let interrupted = evidence.settled == Some(false);
        (evidence.asks, evidence.settled) = (None, Some(false));
        if !matches!(evidence.state, BrokerState::Stopped { .. }) {
            evidence.state = BrokerState::Starting;
        }
        Self {
            evidence,
            elapsed: Elapsed {
                unparked: Duration::from_millis(saved.unparked_millis),
                parked: Duration::from_millis(saved.parked_millis),
                // What the agent did while nobody listened is not known.
                silent: Duration::ZERO,
            },
            ticked: now,
            interrupted,
            turned: None,
        }
    }

    /// After an earlier broker that was killed: its calls under way may have spent all of `granted`.
    pub fn account_for(&mut self, granted: Share) {
        if self.interrupted {
            let lost = granted.beyond(self.evidence.spent());
            self.evidence.unaccounted = self.evidence.unaccounted.plus(lost);
            self.interrupted = false;
        }
    }

    /// Counts the time since the last tick for the state that held since then.
    pub fn tick(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.ticked);
        self.ticked = now;
        let elapsed = &mut self.elapsed;
        if matches!(self.evidence.state, BrokerState::Parked { .. }) {
            elapsed.parked = elapsed.parked.saturating_add(passed);
        } else {
            elapsed.unparked = elapsed.unparked.saturating_add(passed);
            elapsed.silent = elapsed.silent.saturating_add(passed);
        }
    }

    pub fn touch(&mut self) {
        self.elapsed.silent = Duration::ZERO;
    }

    pub fn elapsed(&self) -> Elapsed {
        self.elapsed
    }

    pub fn evidence(&self) -> Evidence {
        let mut evidence = self.evidence.clone();
        evidence.parked_seconds = self.elapsed.parked.as_secs();
        evidence
    }

    pub fn saved(&self) -> Saved {
        Saved {
            evidence: self.evidence(),
            unparked_millis: millis(self.elapsed.unparked),
            parked_millis: millis(self.elapsed.parked),
        }
    }

    /// Whether the state changed.
    pub fn enter(&mut self, state: BrokerState) -> bool {
        if matches!(self.evidence.state, BrokerState::Stopped { .. }) || self.evidence.state == state {
            return false;
        }
        self.evidence.state = state;
        // Silence counts from when the agent could speak.
        self.touch();
        true
    }

    pub fn settle(&mut self, model: &str, usage: Usage, micros: Option<u64>) {
        self.evidence.usage = self.evidence.usage.plus(usage);
        self.evidence.cost_micros = match (self.evidence.cost_micros, micros) {
            (Some(before), Some(more)) => Some(before.saturating_add(more)),
            _ => None,
        };
        self.evidence.model = Some(model.to_owned());
        self.touch();
    }

    /// The words of a failure that goes on are the first ones: the bell rings once.
    pub fn checkpoint(&mut self, failure: Option<String>, now: Instant) -> Heard {
        if failure.is_some() == self.evidence.checkpoints_failing.is_some() {
            return Heard::Known;
        }
        if self
            .turned
            .is_some_and(|turned| now < turned + CHECKPOINTS_TURN_AFTER)
        {
            return Heard::TooSoon;
        }
        self.evidence.checkpoints_failing = failure;
        self.turned = Some(now);
        Heard::News
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Evidence)) {
        change(&mut self.evidence);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use gastown_api::reason::Reason;

    use super::*;

    #[test]
    fn what_is_said_of_checkpoints_turns_at_most_every_half_minute() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut ledger = Ledger::start(&crate::fixture::order(), start);
        let failure = || Some("no space".to_owned());
        assert_eq!(ledger.checkpoint(None, after(0)), Heard::Known);
        assert_eq!(ledger.checkpoint(failure(), after(1)), Heard::News);
        assert_eq!(ledger.checkpoint(failure(), after(2)), Heard::Known);
        assert_eq!(ledger.checkpoint(None, after(30)), Heard::TooSoon);
        assert_eq!(ledger.evidence().checkpoints_failing, failure());
        assert_eq!(ledger.checkpoint(None, after(31)), Heard::News);
        assert_eq!(ledger.checkpoint(failure(), after(32)), Heard::TooSoon);
        assert_eq!(ledger.evidence().checkpoints_failing, None);
    }

    #[test]
    fn parked_time_counts_apart_and_goes_on_after_a_restart() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut ledger = Ledger::start(&crate::fixture::order(), start);
        ledger.tick(after(10));
        ledger.enter(BrokerState::Parked {
            reason: Reason::RateLimited,
            message: String::new(),
            until: None,
        });
        ledger.tick(after(40));
        let mut ledger = Ledger::resume(ledger.saved(), after(100));
        ledger.tick(after(105));
        let seconds = (
            ledger.elapsed().unparked.as_secs(),
            ledger.elapsed().parked.as_secs(),
        );
        assert_eq!(seconds, (15, 30));
        assert_eq!(ledger.evidence().parked_seconds, 30);
    }

    #[test]
    fn a_broker_that_was_killed_may_have_spent_all_that_was_granted() {
        let now = Instant::now();
        let mut ledger = Ledger::start(&crate::fixture::order(), now);
        let usage = Usage {
            input_tokens: 30,
            ..Usage::default()
        };
        ledger.settle("m", usage, None);
        let granted = Share {
            tokens: Some(100),
            cost_micros: None,
        };
        let resumed = |saved: Saved| {
            let mut ledger = Ledger::resume(saved, now);
            ledger.account_for(granted);
            ledger.saved()
        };
        let unaccounted = |saved: Saved| resumed(saved).evidence.unaccounted.tokens;
        assert_eq!(unaccounted(ledger.saved()), 70);
        assert_eq!(unaccounted(resumed(ledger.saved())), 70, "it is counted once");
        ledger.change(|evidence| evidence.settled = Some(true));
        assert_eq!(unaccounted(ledger.saved()), 0);
    }

    #[test]
    fn silence_ends_with_a_sign_of_life_and_does_not_grow_while_parked() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut ledger = Ledger::start(&crate::fixture::order(), start);
        ledger.enter(BrokerState::Serving);
        ledger.tick(after(10));
        assert_eq!(ledger.elapsed().silent.as_secs(), 10);
        ledger.touch();
        ledger.tick(after(12));
        assert_eq!(ledger.elapsed().silent.as_secs(), 2);
        ledger.enter(BrokerState::Parked {
            reason: Reason::RateLimited,
            message: String::new(),
            until: None,
        });
        ledger.tick(after(500));
        assert_eq!(ledger.elapsed().silent.as_secs(), 0);
        ledger.enter(BrokerState::Serving);
        ledger.tick(after(507));
        assert_eq!(ledger.elapsed().silent.as_secs(), 7);
        ledger.settle("m", Usage::default(), None);
        assert_eq!(ledger.elapsed().silent.as_secs(), 0);
    }
}
