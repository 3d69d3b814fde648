//! What may be spent: a call is reserved before it is made and settled from its answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gastown_api::budget::{Amount, Room, Share};
use gastown_api::money::dollars;
use gastown_api::usage::{Surcharge, Usage};
use gastown_api::work_order::{Control, ModelOrder};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::body::Call;
use super::parking;
use crate::record::Record;

/// Between two looks at what the operator has told; the kubelet brings it within a second or so.
const LOOK: Duration = Duration::from_millis(200);

/// The budget of the attempt, and what is reserved of it.
#[derive(Debug)]
pub(super) struct Budget {
    left: Share,
    /// What the operator tells the pod; none: it sets nothing aside, as an older one.
    control: Option<PathBuf>,
    reserved: Mutex<Amount>,
    released: Notify,
    /// One call asks for all.
    asking: tokio::sync::Mutex<()>,
}

/// A reserved amount; it is released when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    /// What the call is taken for when its answer does not tell.
    pub usage: Usage,
    amount: Amount,
}

/// Why no call is made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nothing is left; of what, and how much.
    Spent(String),
    /// The attempt is over.
    Over,
}

impl Budget {
    pub(super) fn new(order: &ModelOrder, control: &Path) -> Self {
        // An empty file is an annotation that somebody took away; the pod of an older operator has no file.
        let is_told = std::fs::exists(control).unwrap_or(true);
        let control = (order.has_budget() && is_told).then(|| control.to_owned());
        Self {
            left: order.left(),
            control,
            reserved: Mutex::default(),
            released: Notify::new(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// What was set aside for this attempt; none where nothing is.
    pub(super) fn granted(&self) -> Option<Share> {
        let told = told(self.control.as_deref()?);
        Some(self.left.first_quarter().max(told.granted))
    }

    /// Waits while other calls might use up what is left, so that the budget is overrun by at most one call, and until
    /// what the call may cost is set aside.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        call: &Call,
        order: &ModelOrder,
        record: &Record,
    ) -> Result<Reservation, Refused> {
        let usage = Usage {
            input_tokens: call.input_estimate,
            output_tokens: call.max_tokens,
            requests: 1,
            ..Usage::default()
        };
        let micros = |price: gastown_api::usage::Price| price.dearest().micros(&usage, Surcharge::default());
        let amount = Amount {
            tokens: usage.tokens(),
            cost_micros: order.price(&call.model).map_or(0, micros),
        };
        loop {
            let released = self.released.notified();
            let spent = record.charged();
            match self.try_reserve(spent, amount) {
                Room::Now => {
                    return Ok(Reservation {
                        budget: Arc::clone(self),
                        usage,
                        amount,
                    });
                }
                Room::Later => released.await,
                Room::Once(share) => self.ask(share, record).await?,
                Room::Spent => return Err(Refused::Spent(self.words(spent))),
            }
        }
    }

    fn try_reserve(&self, spent: Amount, amount: Amount) -> Room {
        let granted = self.granted();
        let mut reserved = self.reserved.lock();
        let room = self.left.room(granted, spent, *reserved, amount);
        if room == Room::Now {
            *reserved = reserved.plus(amount);
        }
        room
    }

    /// Asks the operator for `share`, and waits until a status has set it aside.
    async fn ask(&self, share: Share, record: &Record) -> Result<(), Refused> {
        let _turn = self.asking.lock().await;
        let is_granted = || self.granted().is_none_or(|granted| granted.covers(share));
        let mut asked = None;
        while !is_granted() {
            if parking::is_stopped(record) {
                return Err(Refused::Over);
            }
            asked.get_or_insert_with(|| Asked::begin(record, share));
            // The agent is not silent: it is held.
            record.touch();
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn words(&self, spent: Amount) -> String {
        let shown = |micros: u64| dollars(i64::try_from(micros).unwrap_or(i64::MAX));
        match (self.left.tokens, self.left.cost_micros) {
            (Some(left), _) if spent.tokens >= left => format!("{} of {left} tokens are spent", spent.tokens),
            (_, left) => format!(
                "{} of {} are spent",
                shown(spent.cost_micros),
                shown(left.unwrap_or_default())
            ),
        }
    }
}

/// While it lives the operator is asked.
struct Asked<'a>(&'a Record);

impl<'a> Asked<'a> {
    fn begin(record: &'a Record, share: Share) -> Self {
        record.ask(Some(share));
        Self(record)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.ask(None);
    }
}

/// An annotation that somebody has removed is an empty file.
fn told(control: &Path) -> Control {
    let json = std::fs::read(control).unwrap_or_default();
    if json.is_empty() {
        return Control::default();
    }
    serde_json::from_slice(&json).unwrap_or_else(|error| {
        tracing::error!(%error, path = %control.display(), "what the operator told cannot be read");
        Control::default()
    })
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.budget.reserved.lock();
        *reserved = reserved.minus(self.amount);
        drop(reserved);
        self.budget.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use gastown_api::evidence::BrokerState;

    use super::*;
    use crate::fixture;

    struct Trial {
        folder: tempfile::TempDir,
        record: Record,
        order: ModelOrder,
        budget: Arc<Budget>,
    }

    fn trial(tokens: u64, by_quarters: bool) -> Trial {
        let folder = tempfile::tempdir().unwrap();
        let mut work = fixture::order();
        work.role.model.tokens_left = Some(tokens);
        if by_quarters {
            std::fs::write(folder.path().join("control"), r#"{"granted":{}}"#).unwrap();
        }
        let record = Record::open(folder.path(), folder.path().join("t"), &work).unwrap();
        let budget = Arc::new(Budget::new(&work.role.model, &folder.path().join("control")));
        let order = work.role.model;
        Trial {
            folder,
            record,
            order,
            budget,
        }
    }

    impl Trial {
        async fn reserve(&self) -> Result<Reservation, Refused> {
            let call = Call {
                model: "claude-x".to_owned(),
                max_tokens: 100,
                stream: true,
                one_hour: false,
                input_estimate: 10,
            };
            self.budget.reserve(&call, &self.order, &self.record).await
        }

        fn spend(&self, input_tokens: u64) {
            let usage = Usage {
                input_tokens,
                ..Usage::default()
            };
            self.record.settle("claude-x", usage, Some(0)).unwrap();
        }
    }

    #[tokio::test]
    async fn a_spent_budget_refuses_and_says_how_much() {
        let trial = trial(50, false);
        trial.spend(50);
        let refused = trial.reserve().await.unwrap_err();
        assert_eq!(refused, Refused::Spent("50 of 50 tokens are spent".to_owned()));
    }

    #[tokio::test]
    async fn a_second_call_waits_until_the_first_is_settled_and_is_refused_when_that_used_everything() {
        for (used, fits) in [(49, true), (80, false)] {
            let trial = trial(50, false);
            let first = trial.reserve().await.unwrap();
            let second = trial.reserve();
            tokio::pin!(second);
            assert!(futures::poll!(&mut second).is_pending());
            trial.spend(used);
            drop(first);
            assert_eq!(second.await.is_ok(), fits, "{used}");
        }
    }

    #[tokio::test]
    async fn a_call_is_held_until_what_it_may_cost_is_set_aside() {
        let trial = trial(1000, true);
        trial.spend(140);
        let asks = || trial.record.evidence().asks.and_then(|share| share.tokens);
        let (fits, more) = (trial.reserve(), trial.reserve());
        let fits = tokio::time::timeout(Duration::from_secs(5), fits).await;
        drop(fits.expect("it is not granted at once").unwrap());
        trial.spend(100);
        tokio::pin!(more);
        assert!(futures::poll!(&mut more).is_pending());
        assert_eq!(asks(), Some(500));
        std::fs::write(
            trial.folder.path().join("control"),
            r#"{"granted":{"tokens":499}}"#,
        )
        .unwrap();
        assert!(tokio::time::timeout(3 * LOOK, &mut more).await.is_err());
        std::fs::write(
            trial.folder.path().join("control"),
            r#"{"granted":{"tokens":500},"later":1}"#,
        )
        .unwrap();
        assert!(more.await.is_ok());
        assert_eq!(asks(), None);
    }

    #[tokio::test]
    async fn who_takes_the_annotation_away_sets_nothing_aside() {
        let trial = trial(1000, true);
        std::fs::write(trial.folder.path().join("control"), "").unwrap();
        let restarted = Budget::new(&trial.order, &trial.folder.path().join("control"));
        for budget in [&restarted, &*trial.budget] {
            assert_eq!(budget.granted().and_then(|share| share.tokens), Some(250));
        }
    }

    #[tokio::test]
    async fn an_agent_that_goes_away_and_an_attempt_that_is_over_ask_no_more() {
        let trial = trial(100, true);
        {
            let gone = trial.reserve();
            tokio::pin!(gone);
            assert!(futures::poll!(&mut gone).is_pending());
            assert!(trial.record.evidence().asks.is_some());
        }
        assert_eq!(trial.record.evidence().asks, None);
        let held = trial.reserve();
        tokio::pin!(held);
        assert!(futures::poll!(&mut held).is_pending());
        trial.record.enter(BrokerState::Stopped {
            reason: gastown_api::reason::Reason::DeadlineExceeded,
            message: String::new(),
        });
        assert_eq!(held.await.unwrap_err(), Refused::Over);
    }

    /// The estimated cost of a call, in tokens.
    const CALL: u64 = 110;

    /// One attempt with `left` tokens: calls in every slot, and an operator that sets aside what is asked for, until it ends
    /// at a random moment. What is billed for it, calls under way included, and what a status charges.
    async fn ends_hard(left: u64, rng: &mut fastrand::Rng) -> (u64, u64) {
        let trial = trial(left, true);
        let (mut billed, mut recorded) = (0, trial.budget.granted().unwrap());
        let mut calls = Vec::new();
        for _ in 0..rng.u32(..60) {
            if calls.len() < crate::record::MODEL_CALLS {
                let call = trial.reserve();
                tokio::pin!(call);
                match futures::poll!(&mut call) {
                    Poll::Ready(Ok(call)) => calls.push(call),
                    Poll::Ready(Err(_)) => return (billed, billed),
                    Poll::Pending => {}
                }
                // The status is written first, and the operator may die before the pod is told.
                if let Some(asked) = trial.record.evidence().asks {
                    recorded = recorded.max(asked);
                    if rng.bool() {
                        let told = serde_json::to_vec(&Control { granted: recorded }).unwrap();
                        std::fs::write(trial.folder.path().join("control"), told).unwrap();
                    }
                }
            }
            if !calls.is_empty() && rng.bool() {
                let call = calls.swap_remove(rng.usize(..calls.len()));
                let used = rng.u64(1..=CALL);
                trial.spend(used);
                billed += used;
                drop(call);
            }
        }
        // The provider bills what nobody waits for any more.
        billed += CALL * u64::try_from(calls.len()).unwrap();
        (billed, recorded.tokens.unwrap())
    }

    #[tokio::test]
    async fn fifty_attempts_that_end_hard_overrun_the_budget_by_no_more_than_a_call_for_each_slot() {
        const BUDGET: u64 = 20_000;
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut billed, mut charged, mut attempts) = (0, 0, 0);
            while attempts < 50 && charged < BUDGET {
                let (more, counted) = ends_hard(BUDGET - charged, &mut rng).await;
                (billed, charged, attempts) = (billed + more, charged + counted, attempts + 1);
            }
            let most = BUDGET + CALL * u64::try_from(crate::record::MODEL_CALLS).unwrap();
            assert!(
                billed <= most,
                "seed {seed}: {billed} of {BUDGET} after {attempts} attempts"
            );
        }
    }
}
