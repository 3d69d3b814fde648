//! When the work tree is looked at between the agent's start and its end.

use std::time::{Duration, Instant};

use gastown_api::work_order::PaceOrder;

/// After a checkpoint that failed, the next one is tried after this at the latest.
const AGAIN: Duration = Duration::from_mins(1);

/// By time and by model turns, whichever comes first.
#[derive(Debug)]
pub struct Schedule {
    every: Duration,
    turns: u64,
    next: Instant,
    turns_at_last: u64,
}

impl Schedule {
    /// The first checkpoint is one interval after `now`.
    pub fn new(pace: &PaceOrder, now: Instant) -> Self {
        let every = Duration::from_secs(pace.checkpoint_seconds);
        Self {
            every,
            turns: pace.checkpoint_turns,
            next: now + every,
            turns_at_last: 0,
        }
    }

    /// Whether a checkpoint is due, when `turns` were counted, or the broker did not say.
    pub fn is_due(&self, now: Instant, turns: Option<u64>) -> bool {
        let many = turns.is_some_and(|turns| turns >= self.turns_at_last.saturating_add(self.turns));
        now >= self.next || many
    }

    /// The tree was looked at.
    pub fn looked(&mut self, now: Instant, turns: Option<u64>, saved: bool) {
        let pause = if saved { self.every } else { self.every.min(AGAIN) };
        self.next = now + pause;
        // A failure is not repeated by each further turn.
        self.turns_at_last = turns.unwrap_or(self.turns_at_last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(now: Instant) -> Schedule {
        Schedule::new(&crate::testing::order().role.pace, now)
    }

    #[test]
    fn time_or_turns_whichever_comes_first() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = schedule(start);
        assert!(!schedule.is_due(after(299), Some(19)));
        assert!(schedule.is_due(after(300), Some(0)));
        assert!(schedule.is_due(after(300), None));
        assert!(schedule.is_due(after(1), Some(20)));
        schedule.looked(after(1), Some(20), true);
        assert!(!schedule.is_due(after(300), Some(39)));
        assert!(schedule.is_due(after(301), Some(39)));
        assert!(schedule.is_due(after(2), Some(40)));
        schedule.looked(after(301), None, true);
        assert!(
            schedule.is_due(after(302), Some(40)),
            "turns that were not heard of still count"
        );
    }

    #[test]
    fn a_failure_is_tried_again_sooner() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = schedule(start);
        schedule.looked(after(300), Some(100), false);
        assert!(!schedule.is_due(after(301), Some(101)));
        assert!(schedule.is_due(after(360), Some(101)));
    }
}
