//! The size of a volume: a quantity as Kubernetes writes it, of which the number of bytes is known too, since the keeper
//! watches the volumes.

use gastown_api::quantity;
use serde::Deserialize;

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
        match quantity::whole(&text) {
            Some(bytes) if bytes > 0 => Ok(Self { text, bytes }),
            _ => Err(ParseSize { text }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
