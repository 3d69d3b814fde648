//! Amounts as Kubernetes writes them: a number with a suffix, such as `500m`, `1.5Gi` or `2`.

/// The suffixes, each with its factor as a base and a power; the longest come first.
const SUFFIXES: [(&str, u32, i32); 15] = [
    ("Ki", 1024, 1),
    ("Mi", 1024, 2),
    ("Gi", 1024, 3),
    ("Ti", 1024, 4),
    ("Pi", 1024, 5),
    ("Ei", 1024, 6),
    ("n", 1000, -3),
    ("u", 1000, -2),
    ("m", 1000, -1),
    ("k", 1000, 1),
    ("M", 1000, 2),
    ("G", 1000, 3),
    ("T", 1000, 4),
    ("P", 1000, 5),
    ("E", 1000, 6),
];

/// Splits a quantity into its number and the base and the power of its suffix.
fn split(text: &str) -> (&str, u32, i32) {
    let suffixed = SUFFIXES
        .iter()
        .find_map(|(suffix, base, power)| Some((text.strip_suffix(suffix)?, *base, *power)));
    suffixed.unwrap_or((text, 1, 0))
}

/// The amount, for comparisons; `None` if the text is not a quantity, or a negative one.
#[must_use]
pub fn amount(text: &str) -> Option<f64> {
    let (number, base, power) = split(text);
    let plain = number
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let number: f64 = number.parse().ok().filter(|_| plain)?;
    let amount = number * f64::from(base).powi(power);
    (amount.is_finite() && amount >= 0.0).then_some(amount)
}

/// The amount in whole units, rounded down; `None` if the text is not a quantity, has a sign, an exponent, a suffix
/// below 1 or more than nine digits after the point, or exceeds a `u64`.
#[must_use]
pub fn whole(text: &str) -> Option<u64> {
    let (number, base, power) = split(text);
    let factor = u128::from(base).checked_pow(u32::try_from(power).ok()?)?;
    let (integer, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(integer) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = integer.parse::<u128>().ok()?.checked_mul(scale)? + fraction.parse::<u128>().ok()?;
    u64::try_from(parts.checked_mul(factor)? / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_kubernetes_are_read_and_others_are_not() {
        for (text, expected) in [
            ("500m", 0.5),
            ("2", 2.0),
            ("1Gi", 1_073_741_824.0),
            ("1.5k", 1500.0),
            ("1e3", 1000.0),
            ("1E3", 1000.0),
            ("0", 0.0),
            ("2E", 2e18),
            ("+1", 1.0),
            (".5", 0.5),
        ] {
            assert_eq!(amount(text), Some(expected), "{text}");
        }
        for text in [
            "", "Gi", "two", "-1", "-1Gi", "1 Gi", "1GB", "1gi", "1Xi", "inf", "NaN", "0x10", "1_000",
        ] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_compare_across_units() {
        for (a, b) in [
            ("1Gi", "1024Mi"),
            ("1e3", "1k"),
            ("0.5", "500m"),
            ("1E", "1e18"),
            ("2", "2000m"),
        ] {
            assert_eq!(amount(a), amount(b), "{a} {b}");
        }
        assert!(amount("1G") < amount("1Gi"));
    }

    #[test]
    fn whole_units_are_exact() {
        for (text, expected) in [
            ("10Gi", 10 << 30),
            ("1.5Ki", 1536),
            ("2G", 2_000_000_000),
            ("500k", 500_000),
            ("7", 7),
            ("0.5Mi", 1 << 19),
            ("2E", 2_000_000_000_000_000_000),
        ] {
            assert_eq!(whole(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "Gi",
            "-1Gi",
            "1 Gi",
            "1GB",
            "1e3",
            "99999999Pi",
            "1.Gi",
            "+1Gi",
            "1.0123456789Gi",
            "500m",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
    }
}
