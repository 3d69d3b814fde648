//! What a call is charged: it is settled exactly once, however the call ends.

use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use gastown_api::usage::{Price, Surcharge, Usage};

use super::body::{self, Call};
use super::budget::Reservation;
use super::sse::ReportedUsage;
use crate::record::Record;

/// An open bill. Dropped without a word it charges all that was reserved: whoever makes a call vanish must not get it
/// for nothing.
#[derive(Debug)]
pub(super) struct Bill {
    record: Record,
    model: String,
    price: Option<Price>,
    /// Whether the call asked to be cached for an hour.
    one_hour: bool,
    reservation: Option<Reservation>,
}

/// How an answer came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The provider ended it or broke it off; the agent had no part in that.
    Provider,
    /// The agent went away and the rest was not waited for.
    Agent,
}

impl Bill {
    pub(super) fn open(record: Record, call: &Call, price: Option<Price>, reservation: Reservation) -> Self {
        Self {
            record,
            model: call.model.clone(),
            price,
            one_hour: call.one_hour,
            reservation: Some(reservation),
        }
    }

    /// Charges what an answer cost; nothing, if no provider wrote it.
    pub(super) fn settle(mut self, reported: &ReportedUsage, ending: Ending) {
        let Some(reservation) = self.reservation.take() else {
            return;
        };
        if reported.foreign && reported.usage.is_none() && ending == Ending::Provider {
            return;
        }
        let usage = charge(reported, ending, &reservation.usage);
        let price = match reported.usage {
            Some(_) => self.price,
            None => self.price.map(Price::dearest),
        };
        self.charge(
            usage,
            price.map(|price| price.micros(&usage, self.surcharge(reported, &usage))),
        );
    }

    /// A gateway may tell what was written to the cache, and not for how long.
    fn surcharge(&self, reported: &ReportedUsage, usage: &Usage) -> Surcharge {
        let unknown = self.one_hour && !reported.tells_cache_times;
        Surcharge {
            one_hour_tokens: if unknown {
                usage.cache_write_tokens
            } else {
                reported.surcharge.one_hour_tokens
            },
            ..reported.surcharge
        }
    }

    /// Charges nothing: the provider did not answer the call.
    pub(super) fn waive(mut self) {
        self.reservation = None;
    }

    fn charge(&self, usage: Usage, micros: Option<u64>) {
        if let Err(error) = self.record.settle(&self.model, usage, micros) {
            self.record.enter(BrokerState::Stopped {
                reason: Reason::EvidenceMissing,
                message: error.to_string(),
            });
        }
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            let usage = reservation.usage;
            let price = self.price.map(Price::dearest);
            self.charge(
                usage,
                price.map(|price| price.micros(&usage, Surcharge::default())),
            );
        }
    }
}

/// The provider's figures where it told them all; else those it told, and for the words it wrote either an estimate of
/// what was seen, or, where the agent kept us from seeing the end, the most it can have been.
fn charge(reported: &ReportedUsage, ending: Ending, reserved: &Usage) -> Usage {
    match reported.usage {
        Some(usage) if reported.whole => return usage,
        _ => {}
    }
    let known = reported.usage.unwrap_or(Usage {
        output_tokens: 0,
        ..*reserved
    });
    let output = match ending {
        Ending::Provider => body::estimate(reported.bytes).min(reserved.output_tokens),
        Ending::Agent => reserved.output_tokens,
    };
    Usage {
        output_tokens: known.output_tokens.max(output),
        ..known
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::budget::Budget;
    use super::*;
    use crate::fixture;

    const RESERVED: Usage = Usage {
        input_tokens: 10,
        output_tokens: 100,
        cache_write_tokens: 0,
        cache_read_tokens: 0,
        requests: 1,
    };

    fn reported(usage: Option<(u64, u64)>, whole: bool) -> ReportedUsage {
        let usage = usage.map(|(input_tokens, output_tokens)| Usage {
            input_tokens,
            output_tokens,
            ..RESERVED
        });
        ReportedUsage {
            usage,
            surcharge: Surcharge::default(),
            tells_cache_times: false,
            whole,
            foreign: false,
            bytes: 90,
        }
    }

    fn charged(reported: &ReportedUsage, ending: Ending) -> (u64, u64) {
        let usage = charge(reported, ending, &RESERVED);
        (usage.input_tokens, usage.output_tokens)
    }

    #[test]
    fn a_whole_answer_costs_what_it_says() {
        assert_eq!(charged(&reported(Some((7, 5)), true), Ending::Agent), (7, 5));
    }

    #[test]
    fn an_answer_that_the_provider_broke_off_costs_what_was_seen_of_it() {
        assert_eq!(charged(&reported(Some((7, 1)), false), Ending::Provider), (7, 30));
        assert_eq!(charged(&reported(None, false), Ending::Provider), (10, 30));
    }

    #[test]
    fn an_answer_that_the_agent_left_costs_the_most_it_can() {
        assert_eq!(charged(&reported(Some((7, 1)), false), Ending::Agent), (7, 100));
        assert_eq!(charged(&reported(None, false), Ending::Agent), (10, 100));
    }

    #[tokio::test]
    async fn a_bill_that_vanishes_is_charged_whole_and_a_waived_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let order = fixture::order();
        let record = Record::open(dir.path(), dir.path().join("t"), &order).unwrap();
        let budget = Arc::new(Budget::new(&order.role.model, &dir.path().join("control")));
        let call = Call {
            model: "claude-x".to_owned(),
            max_tokens: 100,
            stream: true,
            one_hour: false,
            input_estimate: 10,
        };
        for vanish in [false, true] {
            let reservation = budget.reserve(&call, &order.role.model, &record).await.unwrap();
            let bill = Bill::open(record.clone(), &call, None, reservation);
            if vanish {
                drop(bill);
            } else {
                bill.waive();
            }
            assert_eq!(record.spent().0.tokens(), if vanish { 110 } else { 0 });
        }
    }
}
