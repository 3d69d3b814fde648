//! A budget over several attempts. A pod can end without a report, so an attempt may spend only what the status has
//! set aside for it: a quarter of the rest, then further quarters. If an attempt ends without a report, all that was
//! set aside for it is charged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::usage::Usage;

/// Number of parts in which a budget is set aside.
const PARTS: u64 = 4;

/// A part of a budget, as far as it is limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Share {
    /// Tokens of all kinds; no limit if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Millionths of a US dollar; no limit if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
}

/// An amount that was, or will be, spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Amount {
    /// Tokens of all kinds.
    pub tokens: u64,
    /// Millionths of a US dollar; zero if the model has no price.
    pub cost_micros: u64,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The call may be made.
    Now,
    /// It must wait: calls under way may use up the rest.
    Later,
    /// It may be made once this much is set aside.
    Once(Share),
    /// Nothing is left.
    Spent,
}

impl Amount {
    /// The amount of the usage and cost that a status or evidence records.
    #[must_use]
    pub fn of(usage: &Usage, cost_micros: Option<u64>) -> Self {
        Self {
            tokens: usage.tokens(),
            cost_micros: cost_micros.unwrap_or_default(),
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            cost_micros: self.cost_micros.saturating_add(other.cost_micros),
        }
    }

    /// The rest after `other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            cost_micros: self.cost_micros.saturating_sub(other.cost_micros),
        }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Share {
    /// Whether anything is limited.
    #[must_use]
    pub fn is_limited(self) -> bool {
        self != Self::default()
    }

    /// The first quarter of `self`: an attempt may spend it before anything is set aside for it.
    #[must_use]
    pub fn first_quarter(self) -> Self {
        self.quarters(1)
    }

    fn quarters(self, count: u64) -> Self {
        let part = |left: u64| left / PARTS * count + left % PARTS * count / PARTS;
        Self {
            tokens: self.tokens.map(part),
            cost_micros: self.cost_micros.map(part),
        }
    }

    /// Whether `amount` is within it.
    #[must_use]
    pub fn holds(self, amount: Amount) -> bool {
        self.tokens.is_none_or(|tokens| amount.tokens <= tokens)
            && self.cost_micros.is_none_or(|micros| amount.cost_micros <= micros)
    }

    /// Whether it is as much as `other`, or more.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.holds(other.amount())
            && self.tokens.is_some() >= other.tokens.is_some()
            && self.cost_micros.is_some() >= other.cost_micros.is_some()
    }

    /// The larger of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            cost_micros: self.cost_micros.max(other.cost_micros),
        }
    }

    /// The extra charge for an attempt that ends with only `spent` reported.
    #[must_use]
    pub fn beyond(self, spent: Amount) -> Amount {
        self.amount().minus(spent)
    }

    fn amount(self) -> Amount {
        Amount {
            tokens: self.tokens.unwrap_or_default(),
            cost_micros: self.cost_micros.unwrap_or_default(),
        }
    }

    /// Whether a call that may cost `call` may be made by an attempt that may spend `self` in all, has spent `spent`, and
    /// has `reserved` for calls under way. `granted` is what was set aside for it; none: the whole, as for a budget that
    /// nobody sets aside.
    ///
    /// Of the whole, the last call may cross the line: else a budget smaller than one call could not be spent at all.
    /// Within a part no call may, since what comes after a hard end is reckoned from there.
    #[must_use]
    pub fn room(self, granted: Option<Self>, spent: Amount, reserved: Amount, call: Amount) -> Room {
        let is_open = |amount: Amount| {
            self.tokens.is_none_or(|tokens| amount.tokens < tokens)
                && self.cost_micros.is_none_or(|micros| amount.cost_micros < micros)
        };
        let committed = spent.plus(reserved);
        let wanted = committed.plus(call);
        if !is_open(spent) {
            return Room::Spent;
        }
        if !is_open(committed) {
            return Room::Later;
        }
        let Some(granted) = granted.filter(|granted| !granted.covers(self)) else {
            return Room::Now;
        };
        if granted.holds(wanted) {
            return Room::Now;
        }
        let parts = (1..PARTS).map(|count| self.quarters(count));
        let enough = parts.into_iter().find(|part| part.holds(wanted));
        Room::Once(enough.unwrap_or(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(tokens: u64) -> Amount {
        Amount {
            tokens,
            cost_micros: 0,
        }
    }

    fn share(tokens: u64) -> Share {
        Share {
            tokens: Some(tokens),
            cost_micros: None,
        }
    }

    #[test]
    fn a_call_waits_until_the_quarter_in_which_it_ends_is_set_aside() {
        let whole = share(1000);
        let room = |granted, spent, reserved, call| {
            whole.room(
                Some(share(granted)),
                tokens(spent),
                tokens(reserved),
                tokens(call),
            )
        };
        assert_eq!(room(250, 0, 0, 250), Room::Now);
        assert_eq!(room(250, 0, 0, 251), Room::Once(share(500)));
        assert_eq!(room(250, 240, 5, 6), Room::Once(share(500)));
        assert_eq!(room(500, 240, 5, 6), Room::Now);
        assert_eq!(room(250, 0, 0, 9000), Room::Once(whole));
        assert_eq!(
            room(1000, 0, 0, 9000),
            Room::Now,
            "the last call may cross the line"
        );
        assert_eq!(room(1000, 100, 9000, 1), Room::Later);
        assert_eq!(room(1000, 1000, 0, 1), Room::Spent);
        assert_eq!(
            whole.room(None, tokens(999), Amount::default(), tokens(9000)),
            Room::Now
        );
    }

    #[test]
    fn tokens_and_dollars_are_set_aside_together() {
        let whole = Share {
            tokens: Some(1003),
            cost_micros: Some(400),
        };
        let first = whole.first_quarter();
        assert_eq!((first.tokens, first.cost_micros), (Some(250), Some(100)));
        let dear = Amount {
            tokens: 1,
            cost_micros: 150,
        };
        let asked = whole.room(Some(first), Amount::default(), Amount::default(), dear);
        assert_eq!(asked, Room::Once(whole.quarters(2)));
        assert!(whole.covers(first) && !first.covers(whole));
        assert!(!share(9999).covers(first), "dollars are limited too");
        let huge = share(u64::MAX);
        assert_eq!(huge.quarters(4), huge);
    }

    #[test]
    fn what_was_set_aside_and_not_accounted_for_is_charged() {
        assert_eq!(share(500).beyond(tokens(300)), tokens(200));
        assert!(share(500).beyond(tokens(700)).is_nothing());
    }
}
