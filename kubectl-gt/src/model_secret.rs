//! What is in a secret with model credentials: the keys that the broker reads. Values are looked at, never shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::git_secret::decoded;

/// Claude Code's own credentials, as `auth sync` writes them.
pub const CREDENTIALS: &str = ".credentials.json";
/// The name that the predecessor's documents used.
const CREDENTIALS_ALIAS: &str = "credentials.json";
/// A key of the Anthropic API.
pub const API_KEY: &str = "ANTHROPIC_API_KEY";
/// What `claude setup-token` prints.
pub const OAUTH_TOKEN: &str = "CLAUDE_CODE_OAUTH_TOKEN";
/// Claude Code's settings.
pub const SETTINGS: &str = "settings.json";
/// The user's own instructions to agents.
pub const MEMORY: &str = "CLAUDE.md";
/// Skills, hooks, commands and agents.
pub const HOME: &str = "claude-home.tar.gz";

/// The most bytes of all values of a Secret together; the API server's limit.
pub const MAX_BYTES: usize = 1024 * 1024;

/// ` --secret NAME`, where it is not the default.
fn name_flag(name: &str) -> String {
    if name == crate::command::MODEL_SECRET {
        String::new()
    } else {
        format!(" --secret {name}")
    }
}

/// The command that makes the secret.
pub fn remedy(secret: &str) -> String {
    format!("kubectl gt auth sync{}", name_flag(secret))
}

/// What keeps the secret from working.
pub fn problems(secret: &Value, now: Timestamp) -> Vec<String> {
    let has = |key: &str| decoded(secret, key).is_some();
    let own = [CREDENTIALS, CREDENTIALS_ALIAS]
        .into_iter()
        .find_map(|key| decoded(secret, key));
    let mut problems = Vec::new();
    match own {
        None if !has(API_KEY) && !has(OAUTH_TOKEN) && !has_any_key(secret) => {
            problems.push(format!(
                "it holds no credential ({CREDENTIALS}, {API_KEY} or {OAUTH_TOKEN})"
            ));
        }
        Some(bytes) if !has(API_KEY) && !has(OAUTH_TOKEN) => match expiry(&bytes) {
            Some(at) if at <= now => problems.push(format!("its credentials expired at {at}")),
            Some(_) => {}
            None => problems.push(format!("its {CREDENTIALS} has no access token")),
        },
        _ => {}
    }
    problems
}

/// Whether there is a key of another name, as `apiKeySecretRef` allows.
fn has_any_key(secret: &Value) -> bool {
    let known = [SETTINGS, MEMORY, HOME];
    let data = secret["data"].as_object();
    data.is_some_and(|data| data.keys().any(|key| !known.contains(&key.as_str())))
}

/// When Claude Code's credentials expire; none: they are not to be read.
pub fn expiry(credentials: &[u8]) -> Option<Timestamp> {
    let value: Value = serde_json::from_slice(credentials).ok()?;
    let oauth = &value["claudeAiOauth"];
    oauth["accessToken"].as_str().filter(|token| !token.is_empty())?;
    Timestamp::from_millisecond(oauth["expiresAt"].as_i64()?).ok()
}

/// The size of a value of a Secret.
pub fn size(encoded: &str) -> usize {
    STANDARD.decode(encoded).map_or(0, |value| value.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(key: &str, value: &str) -> Value {
        json!({"data": {key: STANDARD.encode(value)}})
    }

    #[test]
    fn an_expired_or_missing_credential_is_told() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let credentials =
            |at: i64| json!({"claudeAiOauth": {"accessToken": "x", "expiresAt": at}}).to_string();
        let late = now.as_millisecond() + 1000;
        assert_eq!(
            problems(&secret(CREDENTIALS, &credentials(late)), now),
            Vec::<String>::new()
        );
        let expired = problems(&secret(CREDENTIALS, &credentials(1000)), now);
        assert!(expired[0].contains("expired at 1970"), "{expired:?}");
        assert_eq!(problems(&secret(CREDENTIALS, "{}"), now).len(), 1);
        assert_eq!(problems(&secret(SETTINGS, "{}"), now).len(), 1);
        assert_eq!(problems(&secret(API_KEY, "k"), now), Vec::<String>::new());
        assert_eq!(problems(&secret("my-key", "k"), now), Vec::<String>::new());
    }
}
