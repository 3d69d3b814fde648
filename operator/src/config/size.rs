//! The size of a volume: a quantity as Kubernetes writes it, of which the number of bytes is known too, since the keeper
//! watches the volumes.

use serde::Deserialize;

/// What may stand behind the number, and what it multiplies with.
const SUFFIXES: [(&str, u64); 11] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("", 1),
];

/// A size above zero, such as `10Gi` or `1.5G`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "serde_yaml_ng::Value")]
pub struct Size {
    text: String,
    bytes: u64,
}

/// It is no size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "failed to parse the size {text:?}; write a number above 0 with Ki, Mi, Gi, Ti, k, M, G or T, such as \"10Gi\""
)]
pub struct ParseSize {
    text: String,
}

impl Size {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// In bytes, rounded down.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl TryFrom<serde_yaml_ng::Value> for Size {
    type Error = ParseSize;

    /// A bare number of YAML counts too.
    fn try_from(value: serde_yaml_ng::Value) -> Result<Self, ParseSize> {
        let text = match value {
            serde_yaml_ng::Value::String(text) => text,
            serde_yaml_ng::Value::Number(number) => number.to_string(),
            other => serde_yaml_ng::to_string(&other)
                .unwrap_or_default()
                .trim()
                .to_owned(),
        };
        match bytes(&text) {
            Some(bytes) if bytes > 0 => Ok(Self { text, bytes }),
            _ => Err(ParseSize { text }),
        }
    }
}

/// In whole numbers: a fraction has at most nine digits.
fn bytes(text: &str) -> Option<u64> {
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = whole.parse::<u128>().ok()?.checked_mul(scale)? + fraction.parse::<u128>().ok()?;
    u64::try_from(parts.checked_mul(u128::from(factor))? / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_kubernetes_are_read() {
        for (text, expected) in [
            ("10Gi", 10 << 30),
            ("1.5Ki", 1536),
            ("2G", 2_000_000_000),
            ("500k", 500_000),
            ("7", 7),
            ("0.5Mi", 1 << 19),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_its_text() {
        for text in [
            "",
            "Gi",
            "-1Gi",
            "1 Gi",
            "1GB",
            "1e3",
            "0",
            "0.0Gi",
            "99999999Pi",
            "1.Gi",
            "+1Gi",
            "1.0123456789Gi",
        ] {
            let refused = Size::try_from(serde_yaml_ng::Value::from(text));
            assert_eq!(
                refused,
                Err(ParseSize {
                    text: text.to_owned()
                }),
                "{text}"
            );
        }
    }
}
