//! What may be spent: a call is reserved before it is made and settled from its answer.

use std::sync::{Arc, Mutex, PoisonError};

use gastown_api::usage::{Surcharge, Usage};
use gastown_api::work_order::ModelOrder;
use tokio::sync::Notify;

use super::body::Call;

/// The budget of the attempt, and what is reserved of it.
#[derive(Debug)]
pub(super) struct Budget {
    tokens_left: Option<u64>,
    micros_left: Option<u64>,
    reserved: Mutex<Amount>,
    released: Notify,
}

/// Tokens, and what they cost in millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Of all kinds.
    pub tokens: u64,
    /// Zero without a price.
    pub micros: u64,
}

/// A reserved amount; it is released when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    /// What the call is taken for when its answer does not tell.
    pub usage: Usage,
    amount: Amount,
}

/// Nothing is left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// Of what, and how much.
    pub message: String,
}

impl Budget {
    pub(super) fn new(order: &ModelOrder) -> Self {
        Self {
            tokens_left: order.tokens_left,
            micros_left: order.micros_left,
            reserved: Mutex::default(),
            released: Notify::new(),
        }
    }

    /// Waits while other calls might use up what is left, so that the budget is overrun by at most one call.
    ///
    /// `spent` is asked anew after each wait.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        call: &Call,
        order: &ModelOrder,
        spent: impl Fn() -> Amount,
    ) -> Result<Reservation, Spent> {
        let usage = Usage {
            input_tokens: call.input_estimate,
            output_tokens: call.max_tokens,
            requests: 1,
            ..Usage::default()
        };
        let amount = Amount {
            tokens: usage.tokens(),
            micros: order
                .price(&call.model)
                .map_or(0, |price| price.dearest().micros(&usage, Surcharge::default())),
        };
        loop {
            let released = self.released.notified();
            if self.try_reserve(spent(), amount)? {
                return Ok(Reservation {
                    budget: Arc::clone(self),
                    usage,
                    amount,
                });
            }
            released.await;
        }
    }

    /// Whether the amount could be reserved now; an error when waiting cannot help.
    fn try_reserve(&self, spent: Amount, amount: Amount) -> Result<bool, Spent> {
        if let Some(left) = self.tokens_left.filter(|left| spent.tokens >= *left) {
            return Err(Spent {
                message: format!("{} of {left} tokens are spent", spent.tokens),
            });
        }
        if let Some(left) = self.micros_left.filter(|left| spent.micros >= *left) {
            return Err(Spent {
                message: format!("{} of {} are spent", dollars(spent.micros), dollars(left)),
            });
        }
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let room = |left: Option<u64>, spent: u64, reserved: u64| {
            left.is_none_or(|left| spent.saturating_add(reserved) < left)
        };
        let fits = room(self.tokens_left, spent.tokens, reserved.tokens)
            && room(self.micros_left, spent.micros, reserved.micros);
        if fits {
            reserved.tokens = reserved.tokens.saturating_add(amount.tokens);
            reserved.micros = reserved.micros.saturating_add(amount.micros);
        }
        Ok(fits)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self
            .budget
            .reserved
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reserved.tokens = reserved.tokens.saturating_sub(self.amount.tokens);
        reserved.micros = reserved.micros.saturating_sub(self.amount.micros);
        drop(reserved);
        self.budget.released.notify_waiters();
    }
}

fn dollars(micros: u64) -> String {
    format!("${}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::fixture;

    fn budget(tokens: u64) -> (Arc<Budget>, ModelOrder) {
        let order = ModelOrder {
            tokens_left: Some(tokens),
            ..fixture::order().model
        };
        (Arc::new(Budget::new(&order)), order)
    }

    fn call() -> Call {
        Call {
            model: "claude-x".to_owned(),
            max_tokens: 100,
            stream: true,
            one_hour: false,
            input_estimate: 10,
        }
    }

    #[tokio::test]
    async fn a_spent_budget_refuses_and_says_how_much() {
        let (budget, order) = budget(50);
        let refused = budget
            .reserve(&call(), &order, || Amount {
                tokens: 50,
                micros: 0,
            })
            .await;
        assert_eq!(refused.unwrap_err().message, "50 of 50 tokens are spent");
    }

    #[tokio::test]
    async fn a_second_call_waits_until_the_first_is_settled_and_is_refused_when_that_used_everything() {
        for (used, fits) in [(49, true), (80, false)] {
            let (budget, order) = budget(50);
            let spent = std::cell::Cell::new(0);
            let now = || Amount {
                tokens: spent.get(),
                micros: 0,
            };
            let first = budget.reserve(&call(), &order, now).await.unwrap();
            let call = call();
            let second = budget.reserve(&call, &order, now);
            tokio::pin!(second);
            assert!(futures::poll!(&mut second).is_pending());
            spent.set(used);
            drop(first);
            assert_eq!(second.await.is_ok(), fits, "{used}");
        }
    }

    #[test]
    fn dollars_are_shown_with_four_digits() {
        assert_eq!(dollars(1_234_567), "$1.2345");
    }
}
