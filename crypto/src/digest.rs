//! SHA-256 digests as OCI and git hosts write them.

use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest, shown as `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to parse digest {text:?}; write \"sha256:\" and 64 lower-case hexadecimal digits")]
pub struct ParseDigest {
    text: String,
}

/// The SHA-256 digest of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut array = [0; 32];
    array.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    Digest(array)
}

impl Digest {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
        self.0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseDigest;

    fn from_str(text: &str) -> Result<Self, ParseDigest> {
        let refuse = || ParseDigest {
            text: text.to_owned(),
        };
        let hex = text.strip_prefix("sha256:").ok_or_else(refuse)?;
        let lower_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if hex.len() != 64 || !hex.chars().all(lower_hex) {
            return Err(refuse());
        }
        let mut array = [0; 32];
        for (byte, pair) in array.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self(array))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_known_one_and_reads_back() {
        let known = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b"").to_string(), known);
        assert_eq!(known.parse::<Digest>(), Ok(sha256(b"")));
    }

    #[test]
    fn other_algorithms_lengths_and_cases_are_refused() {
        for text in [
            "",
            "sha256:",
            "sha512:00",
            "sha256:E3",
            &format!("sha256:{}", "é".repeat(32)),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }
}
