//! Usage of model calls, and its cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens of model calls, counted by the broker from the provider's own figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Input tokens that were neither read from nor written to the prompt cache.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Tokens written to the provider's prompt cache.
    pub cache_write_tokens: u64,
    /// Tokens read from the provider's prompt cache.
    pub cache_read_tokens: u64,
    /// Model calls that were answered.
    pub requests: u64,
}

impl Usage {
    /// All tokens: what `spec.budget.tokens` limits.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let sum = self.input_tokens.saturating_add(self.output_tokens);
        sum.saturating_add(self.cache_write_tokens)
            .saturating_add(self.cache_read_tokens)
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            cache_read_tokens: self.cache_read_tokens.saturating_add(other.cache_read_tokens),
            requests: self.requests.saturating_add(other.requests),
        }
    }
}

/// Prices of a model in US dollars per million tokens: one row of the chart's `prices`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    /// A million input tokens.
    pub input: f64,
    /// A million output tokens.
    pub output: f64,
    /// A million tokens written to the cache, for five minutes.
    pub cache_write: f64,
    /// A million tokens read from the cache.
    pub cache_read: f64,
    /// A million tokens written to the cache for an hour; without it, twice the price of input, as Anthropic bills it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_one_hour: Option<f64>,
    /// Prices of calls with a long prompt; without it, all prompts have the usual prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_context: Option<LongContext>,
}

/// Prices of all tokens of a call whose prompt is longer than a limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LongContext {
    /// The largest prompt, in tokens including cached ones, at the usual prices.
    pub above_tokens: u64,
    /// A million input tokens.
    pub input: f64,
    /// A million output tokens.
    pub output: f64,
    /// A million tokens written to the cache, for five minutes.
    pub cache_write: f64,
    /// A million tokens read from the cache.
    pub cache_read: f64,
}

/// Facts of a provider's answer that make a call more expensive than the price table says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surcharge {
    /// How many of the tokens written to the cache stay there for an hour.
    pub one_hour_tokens: u64,
    /// Searches that the provider made.
    pub web_searches: u64,
    /// Whether the call was kept within the United States.
    pub us_only: bool,
    /// Whether it ran in Anthropic's fast mode.
    pub fast: bool,
    /// Whether it ran in `OpenAI`'s priority tier.
    pub priority: bool,
}

impl Surcharge {
    /// Anthropic's published price of one search.
    const MICROS_OF_A_SEARCH: f64 = 10_000.0;

    /// The published price factors. Those of fast mode and the priority tier differ by model; this is the highest.
    fn factor(self) -> f64 {
        let of = |holds: bool, factor: f64| if holds { factor } else { 1.0 };
        of(self.us_only, 1.1) * of(self.fast, 6.0) * of(self.priority, 2.0)
    }
}

impl Price {
    /// The cost of `usage` in millionths of a US dollar, rounded up.
    ///
    /// Dollars per million tokens equal millionths of a dollar per token.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "token counts stay far below 2^52, and a float cast saturates"
    )]
    pub fn micros(&self, usage: &Usage, surcharge: Surcharge) -> u64 {
        let prompt = usage
            .input_tokens
            .saturating_add(usage.cache_write_tokens)
            .saturating_add(usage.cache_read_tokens);
        let rates = self.of_prompt(prompt);
        let one_hour = surcharge.one_hour_tokens.min(usage.cache_write_tokens);
        let tokens = rates.input * usage.input_tokens as f64
            + rates.output * usage.output_tokens as f64
            + rates.cache_write * (usage.cache_write_tokens - one_hour) as f64
            + rates.one_hour() * one_hour as f64
            + rates.cache_read * usage.cache_read_tokens as f64;
        let searches = Surcharge::MICROS_OF_A_SEARCH * surcharge.web_searches as f64;
        (tokens * surcharge.factor() + searches).ceil() as u64
    }

    /// The maximum cost of the same tokens if the caching of the prompt is unknown.
    #[must_use]
    pub fn dearest(self) -> Self {
        let prompt = |input: f64, cache_write: f64, one_hour: f64| input.max(cache_write).max(one_hour);
        Self {
            input: prompt(self.input, self.cache_write, self.one_hour()),
            long_context: self.long_context.map(|long| LongContext {
                input: prompt(long.input, long.cache_write, 2.0 * long.input),
                ..long
            }),
            ..self
        }
    }

    fn of_prompt(self, tokens: u64) -> Self {
        let long = self.long_context.filter(|long| tokens > long.above_tokens);
        long.map_or(self, |long| Self {
            input: long.input,
            output: long.output,
            cache_write: long.cache_write,
            cache_read: long.cache_read,
            cache_write_one_hour: None,
            long_context: None,
        })
    }

    fn one_hour(&self) -> f64 {
        self.cache_write_one_hour.unwrap_or(2.0 * self.input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price {
        input: 3.0,
        output: 15.0,
        cache_write: 3.75,
        cache_read: 0.3,
        cache_write_one_hour: None,
        long_context: Some(LongContext {
            above_tokens: 200_000,
            input: 6.0,
            output: 22.5,
            cache_write: 7.5,
            cache_read: 0.6,
        }),
    };

    fn micros(usage: Usage, surcharge: Surcharge) -> u64 {
        PRICE.micros(&usage, surcharge)
    }

    #[test]
    fn tokens_cost_what_the_table_says() {
        let usage = Usage {
            input_tokens: 100_000,
            output_tokens: 100_000,
            ..Usage::default()
        };
        assert_eq!(micros(usage, Surcharge::default()), 1_800_000);
        let one = Usage {
            cache_read_tokens: 1,
            ..Usage::default()
        };
        assert_eq!(micros(one, Surcharge::default()), 1, "rounded up");
    }

    #[test]
    fn a_cache_for_an_hour_costs_twice_the_input_unless_the_table_says_otherwise() {
        let usage = Usage {
            cache_write_tokens: 100_000,
            ..Usage::default()
        };
        let of = |one_hour_tokens| Surcharge {
            one_hour_tokens,
            ..Surcharge::default()
        };
        assert_eq!(micros(usage, of(0)), 375_000);
        assert_eq!(micros(usage, of(40_000)), 225_000 + 240_000);
        assert_eq!(micros(usage, of(u64::MAX)), 600_000);
        let own = Price {
            cache_write_one_hour: Some(4.0),
            ..PRICE
        };
        assert_eq!(own.micros(&usage, of(100_000)), 400_000);
    }

    #[test]
    fn all_tokens_of_a_long_prompt_have_its_prices() {
        let usage = |cache_read_tokens| Usage {
            input_tokens: 100_000,
            output_tokens: 1000,
            cache_read_tokens,
            ..Usage::default()
        };
        assert_eq!(
            micros(usage(100_000), Surcharge::default()),
            300_000 + 15_000 + 30_000
        );
        assert_eq!(
            micros(usage(100_001), Surcharge::default()),
            600_000 + 22_500 + 60_001
        );
    }

    #[test]
    fn modes_that_the_provider_names_are_charged() {
        let usage = Usage {
            output_tokens: 1_000,
            ..Usage::default()
        };
        for (surcharge, expected) in [
            (
                Surcharge {
                    us_only: true,
                    ..Surcharge::default()
                },
                16_500,
            ),
            (
                Surcharge {
                    fast: true,
                    ..Surcharge::default()
                },
                90_000,
            ),
            (
                Surcharge {
                    priority: true,
                    ..Surcharge::default()
                },
                30_000,
            ),
            (
                Surcharge {
                    web_searches: 2,
                    ..Surcharge::default()
                },
                35_000,
            ),
        ] {
            assert_eq!(micros(usage, surcharge), expected, "{surcharge:?}");
        }
    }

    #[test]
    fn no_caching_makes_a_prompt_dearer_than_the_dearest_price() {
        for (tokens, expected) in [(100_000, 600_000), (300_000, 3_600_000)] {
            let usage = Usage {
                input_tokens: tokens,
                ..Usage::default()
            };
            assert_eq!(PRICE.dearest().micros(&usage, Surcharge::default()), expected);
        }
    }
}
