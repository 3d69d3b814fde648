//! The format of a secret with model credentials: its keys and their values. The broker reads secrets with it, and the
//! plugin writes and checks them with it, so that the two agree. For the keys of a provider see
//! [`Provider::credential_keys`](crate::polecat::Provider::credential_keys).

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

/// Claude Code's own credentials.
pub const CREDENTIALS: &str = ".credentials.json";
/// The name that the predecessor's documents used for [`CREDENTIALS`].
pub const CREDENTIALS_ALIAS: &str = "credentials.json";
/// A key of the Anthropic API.
pub const API_KEY: &str = "ANTHROPIC_API_KEY";
/// A token of an Anthropic subscription, as `claude setup-token` prints it.
pub const OAUTH_TOKEN: &str = "CLAUDE_CODE_OAUTH_TOKEN";
/// Claude Code's settings.
pub const SETTINGS: &str = "settings.json";
/// The user's own instructions to agents.
pub const MEMORY: &str = "CLAUDE.md";
/// Skills, hooks, commands and agents.
pub const HOME: &str = "claude-home.tar.gz";

/// The maximum size of a credential in bytes.
pub const MAX_CREDENTIAL: u64 = 64 * 1024;

/// The prefix of Anthropic's subscription tokens.
const OAUTH_PREFIX: &str = "sk-ant-oat";

/// The credential that authorises a call to the model.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API key of the provider.
    ApiKey(String),
    /// A token of an Anthropic subscription.
    Oauth(String),
    /// Nothing: the endpoint asks for no key.
    None,
}

/// Why a value is not a credential. The text follows the key's name and never shows the value.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadCredential {
    /// It is no key.
    #[error("{0}")]
    ReadKey(&'static str),
    /// It is not the file that Claude Code writes. Without the parser's words: they may quote the token.
    #[error(
        "is not what Claude Code writes: it has no claudeAiOauth.accessToken; put the whole file ~/.claude/.credentials.json"
    )]
    ReadFile,
    /// The file's token is none.
    #[error("has a claudeAiOauth.accessToken that {0}")]
    ReadToken(&'static str),
}

/// The parts of Claude Code's credentials file that are read here. The refresh token is not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    claude_ai_oauth: Option<Oauth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Oauth {
    access_token: String,
    /// Milliseconds of the epoch.
    expires_at: Option<i64>,
}

impl Credential {
    /// Its text, for making sure that it is not in another one.
    #[must_use]
    pub fn reveal(&self) -> &str {
        match self {
            Self::ApiKey(text) | Self::Oauth(text) => text,
            Self::None => "",
        }
    }
}

/// No log shows it.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey",
            Self::Oauth(_) => "Oauth",
            Self::None => "None",
        })
    }
}

/// The text of a value that may be a credential; `None` if the value counts as missing.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<&str> {
    let small = u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_CREDENTIAL);
    let text = small.then(|| str::from_utf8(bytes).ok()).flatten()?.trim();
    (!text.is_empty()).then_some(text)
}

/// The credential in the [`text`] of the key `key`, and its expiry if it has one.
pub fn parse(key: &str, text: &str) -> Result<(Credential, Option<Timestamp>), ReadCredential> {
    if !key.ends_with(CREDENTIALS_ALIAS) {
        check(text).map_err(ReadCredential::ReadKey)?;
        let text = text.to_owned();
        let oauth = text.starts_with(OAUTH_PREFIX) || key == OAUTH_TOKEN;
        let credential = if oauth {
            Credential::Oauth(text)
        } else {
            Credential::ApiKey(text)
        };
        return Ok((credential, None));
    }
    let file: Option<File> = serde_json::from_str(text).ok();
    let oauth = file
        .and_then(|file| file.claude_ai_oauth)
        .filter(|oauth| !oauth.access_token.is_empty())
        .ok_or(ReadCredential::ReadFile)?;
    check(&oauth.access_token).map_err(ReadCredential::ReadToken)?;
    let expires = oauth
        .expires_at
        .and_then(|millis| Timestamp::from_millisecond(millis).ok());
    Ok((Credential::Oauth(oauth.access_token), expires))
}

/// A key is one word of plain letters; what else people put in its place is named and not shown.
fn check(text: &str) -> Result<(), &'static str> {
    if text.starts_with('{') {
        Err("holds JSON; put that under .credentials.json, and the key alone here")
    } else if text.starts_with(['"', '\'']) {
        Err("stands in quotes; put the key without them")
    } else if text.lines().nth(1).is_some() {
        Err("has more than one line; put the key alone")
    } else if text
        .split_once('=')
        .is_some_and(|(name, value)| is_variable(name) && !value.is_empty())
    {
        Err("is an assignment; put only what stands behind the =")
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        Err("has spaces or characters that no key has; put the key alone, without \"Bearer\"")
    } else {
        Ok(())
    }
}

/// Base64 has no underscore, so that a key that ends with `=` is none.
fn is_variable(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    name.contains('_') && name.bytes().all(plain)
}

#[cfg(test)]
mod refused;

#[cfg(test)]
mod tests {
    use super::refused::REFUSED;
    use super::*;

    #[test]
    fn what_can_be_no_key_is_named_with_its_remedy_and_not_shown() {
        for (key, value, remedy) in REFUSED {
            let text = text(value.as_bytes()).unwrap();
            let flaw = parse(key, text).unwrap_err().to_string();
            assert!(flaw.contains(remedy), "{remedy} not in {flaw}");
            assert!(!flaw.contains("t0k"), "{flaw}");
        }
    }

    #[test]
    fn a_value_that_is_blank_too_long_or_no_text_counts_as_missing() {
        assert_eq!(text(b" k\n"), Some("k"));
        assert_eq!(text(b" \n"), None);
        assert_eq!(text("k".repeat(70_000).as_bytes()), None);
        assert_eq!(text(&[0xff]), None);
    }

    #[test]
    fn no_log_shows_a_credential() {
        let shown = [
            Credential::Oauth("secret".to_owned()),
            Credential::ApiKey("secret".to_owned()),
        ];
        assert_eq!(format!("{shown:?}"), "[Oauth, ApiKey]");
    }
}
