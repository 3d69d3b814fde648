//! Amounts as Kubernetes writes them, as far as they have to be compared.

/// What a suffix multiplies with; the longest come first.
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// The amount, 0 or more, if it is one.
pub(super) fn read(text: &str) -> Option<f64> {
    let plain = |text: &str| {
        let number = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        let amount: f64 = text.parse().ok().filter(|_| number)?;
        (amount.is_finite() && amount >= 0.0).then_some(amount)
    };
    let suffixed = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some(plain(text.strip_suffix(suffix)?)? * factor));
    suffixed.or_else(|| plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_kubernetes_are_read_and_others_are_not() {
        for (text, amount) in [
            ("500m", 0.5),
            ("2", 2.0),
            ("1Gi", 1_073_741_824.0),
            ("1.5k", 1500.0),
            ("1e3", 1000.0),
            ("0", 0.0),
            ("2E", 2e18),
        ] {
            assert_eq!(read(text), Some(amount), "{text}");
        }
        for text in [
            "", "Gi", "two", "-1", "1 Gi", "1GB", "1gi", "inf", "NaN", "0x10", "1_000",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
