//! What model calls used and what that costs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens of model calls, counted by the broker from the provider's own figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Tokens read that came from no cache.
    pub input_tokens: u64,
    /// Tokens written.
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

/// What a model costs, in US dollars for a million tokens; one row of the chart's price table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    /// A million input tokens.
    pub input: f64,
    /// A million output tokens.
    pub output: f64,
    /// A million tokens written to the cache.
    pub cache_write: f64,
    /// A million tokens read from the cache.
    pub cache_read: f64,
}

impl Price {
    /// The cost of `usage` in millionths of a US dollar, rounded up.
    ///
    /// Dollars for a million tokens are millionths of a dollar for one token.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "token counts stay far below 2^52, and a float cast saturates"
    )]
    pub fn micros(&self, usage: &Usage) -> u64 {
        let cost = self.input * usage.input_tokens as f64
            + self.output * usage.output_tokens as f64
            + self.cache_write * usage.cache_write_tokens as f64
            + self.cache_read * usage.cache_read_tokens as f64;
        cost.ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_tokens_cost_what_the_table_says() {
        let price = Price {
            input: 3.0,
            output: 15.0,
            cache_write: 3.75,
            cache_read: 0.3,
        };
        let usage = Usage {
            input_tokens: 1_000_000,
            output_tokens: 100_000,
            ..Usage::default()
        };
        assert_eq!(price.micros(&usage), 4_500_000);
        assert_eq!(
            price.micros(&Usage {
                cache_read_tokens: 1,
                ..Usage::default()
            }),
            1
        );
    }
}
