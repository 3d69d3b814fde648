//! Names in git: object ids and branches.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A git object id: 40 hexadecimal digits (SHA-1) or 64 (SHA-256 repositories), lower case, not all zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha(String);

/// A branch without `refs/heads/`, as `git check-ref-format --branch` accepts it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);

/// Why a text is not an object id or the name of a branch.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseGitName {
    /// Not an object id.
    #[error("failed to parse object id {text:?}; write 40 or 64 lower-case hexadecimal digits, not all zero")]
    ParseSha {
        /// The given text.
        text: String,
    },
    /// Not a branch.
    #[error(
        "failed to parse branch {text:?}: it {flaw}; see `git check-ref-format --branch` for what a branch may be named"
    )]
    ParseBranch {
        /// The given text.
        text: String,
        /// What is wrong with it, as the end of a sentence that begins with "it".
        flaw: &'static str,
    },
}

impl Sha {
    /// The hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BranchName {
    /// The name without `refs/heads/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full name, `refs/heads/…`.
    #[must_use]
    pub fn full(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl FromStr for Sha {
    type Err = ParseGitName;

    fn from_str(text: &str) -> Result<Self, ParseGitName> {
        let hex = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let zero = text.bytes().all(|b| b == b'0');
        if matches!(text.len(), 40 | 64) && hex && !zero {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseGitName::ParseSha {
                text: text.to_owned(),
            })
        }
    }
}

impl FromStr for BranchName {
    type Err = ParseGitName;

    /// Applies the rules of `git-check-ref-format(1)`, and allows at most 200 bytes, so that the name with
    /// `refs/heads/` and a lock file's suffix fits into a file name.
    fn from_str(text: &str) -> Result<Self, ParseGitName> {
        let component =
            |c: &str| c.is_empty() || c.starts_with('.') || c.to_ascii_lowercase().ends_with(".lock");
        let flaw = if text.is_empty() || text.len() > 200 {
            Some("is empty or longer than 200 bytes")
        } else if text.starts_with('-') || text == "@" || text == "HEAD" {
            Some("starts with \"-\", or is \"@\" or \"HEAD\"")
        } else if text.contains("..") || text.contains("@{") {
            Some("contains \"..\" or \"@{\"")
        } else if text
            .bytes()
            .any(|b| b <= b' ' || b == 0x7f || b"~^:?*[\\".contains(&b))
        {
            Some("contains a space, a control character or one of ~^:?*[\\")
        } else if text.ends_with('.') || text.split('/').any(component) {
            Some("has an empty part, or one that starts or ends with \".\" or ends with \".lock\"")
        } else {
            None
        };
        match flaw {
            None => Ok(Self(text.to_owned())),
            Some(flaw) => Err(ParseGitName::ParseBranch {
                text: text.to_owned(),
                flaw,
            }),
        }
    }
}

macro_rules! string_newtype {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ParseGitName;

            fn try_from(text: String) -> Result<Self, ParseGitName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_newtype!(Sha);
string_newtype!(BranchName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_that_git_refuses_are_refused() {
        for text in [
            "", "-x", "a..b", "a b", "a~1", "a^", "a:b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.",
            "@", "a@{1}", "a\u{7}",
        ] {
            assert!(text.parse::<BranchName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn branches_of_gas_town_are_accepted() {
        for text in [
            "main",
            "polecat/furiosa/gt-a1b2.1@m1abc",
            "feature/x_y",
            "répertoire",
        ] {
            assert!(text.parse::<BranchName>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn the_zero_id_is_no_object() {
        assert!("0".repeat(40).parse::<Sha>().is_err());
        assert!("a".repeat(40).parse::<Sha>().is_ok());
        assert!("A".repeat(40).parse::<Sha>().is_err());
        assert!("a".repeat(41).parse::<Sha>().is_err());
    }
}
