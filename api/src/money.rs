//! Money as people read it. Sums are counted in millionths of a dollar, and rounded only when they are shown.

/// Formats millionths of a dollar like `$0.1235`, rounded up to a hundredth of a cent, so that a cost above zero never
/// shows as zero.
#[must_use]
pub fn dollars(micros: i64) -> String {
    let parts = micros.max(0).saturating_add(99) / 100;
    format!("${}.{:04}", parts / 10_000, parts % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_never_shows_as_less() {
        for (micros, shown) in [
            (0, "$0.0000"),
            (1, "$0.0001"),
            (100, "$0.0001"),
            (123_456, "$0.1235"),
            (999_901, "$1.0000"),
            (12_000_000, "$12.0000"),
            (-1, "$0.0000"),
            (i64::MAX, "$9223372036854.7758"),
        ] {
            assert_eq!(dollars(micros), shown, "{micros}");
        }
    }
}
