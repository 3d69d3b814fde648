//! The flag `--budget`.

use std::str::FromStr;

/// What a polecat may spend.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BudgetFlag {
    /// US dollars.
    pub usd: Option<f64>,
    /// Tokens of all kinds.
    pub tokens: Option<u64>,
}

impl FromStr for BudgetFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut budget = Self::default();
        for part in text.split(',').map(str::trim) {
            let lower = part.to_ascii_lowercase();
            let wrong =
                || format!("{part:?} is no budget; write 5usd or $5, or tokens such as 500k or 5000tokens");
            if !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                return Err(format!(
                    "{part:?} may be money or tokens; write {part}usd, or {part}tokens"
                ));
            }
            if let Some(amount) = lower.strip_prefix('$').or_else(|| lower.strip_suffix("usd")) {
                let usd: f64 = amount.trim().parse().map_err(|_| wrong())?;
                if !(usd.is_finite() && usd > 0.0) || budget.usd.replace(usd).is_some() {
                    return Err(wrong());
                }
            } else {
                let count = lower.strip_suffix("tokens").unwrap_or(&lower).trim();
                let (digits, factor) = match count.strip_suffix('k') {
                    Some(digits) => (digits, 1000),
                    None => match count.strip_suffix('m') {
                        Some(digits) => (digits, 1_000_000),
                        None => (count, 1),
                    },
                };
                let number: u64 = digits.parse().map_err(|_| wrong())?;
                let tokens = number
                    .checked_mul(factor)
                    .filter(|tokens| *tokens > 0)
                    .ok_or_else(wrong)?;
                if budget.tokens.replace(tokens).is_some() {
                    return Err(wrong());
                }
            }
        }
        Ok(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_tokens_are_read_in_the_ways_people_write_them() {
        let budget = |usd, tokens| BudgetFlag { usd, tokens };
        for (text, wanted) in [
            ("5usd", budget(Some(5.0), None)),
            ("$0.50", budget(Some(0.5), None)),
            ("500k", budget(None, Some(500_000))),
            ("2M", budget(None, Some(2_000_000))),
            ("1200000tokens", budget(None, Some(1_200_000))),
            ("10 USD, 3M tokens", budget(Some(10.0), Some(3_000_000))),
        ] {
            assert_eq!(text.parse::<BudgetFlag>(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn a_number_that_may_be_money_or_tokens_is_refused_with_both() {
        for text in ["5", "0", "1200000", "0.5", "5usd,7"] {
            let error = text.parse::<BudgetFlag>().unwrap_err();
            let number = text.rsplit(',').next().unwrap();
            for wanted in [format!("{number}usd"), format!("{number}tokens")] {
                assert!(error.contains(&wanted), "{text}: {error}");
            }
        }
    }

    #[test]
    fn what_is_no_budget_is_refused_with_an_example() {
        for text in [
            "",
            "much",
            "0tokens",
            "$0",
            "-5",
            "$-1",
            "nanusd",
            "infusd",
            "1.5k",
            "1k,2k",
            "99999999999999999M",
        ] {
            let error = text.parse::<BudgetFlag>().unwrap_err();
            assert!(error.contains("500k"), "{text}: {error}");
        }
    }
}
