//! Validates a secret with model credentials by the rules of the broker, and gives the command that repairs it.

use gastown_api::model_secret::{API_KEY, CREDENTIALS, HOME, MEMORY, OAUTH_TOKEN, SETTINGS, parse, text};
use gastown_api::polecat::Provider;
use jiff::Timestamp;
use serde_json::Value;

use crate::secret::{Data, values};

/// The providers whose keys are searched, in this order.
const PROVIDERS: [Provider; 4] = [
    Provider::Anthropic,
    Provider::Litellm,
    Provider::Openai,
    Provider::Ollama,
];

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

/// The keys that hold credentials, whichever the provider.
pub fn credential_keys() -> impl Iterator<Item = &'static str> {
    PROVIDERS
        .into_iter()
        .flat_map(|provider| provider.credential_keys().iter().copied())
}

/// The key in effect: the first one with a value.
pub fn credential(data: &Data) -> Option<&'static str> {
    credential_keys().find(|key| data.get(*key).and_then(|value| text(value)).is_some())
}

/// Why the credential under `key` is unusable now; `None` if it is usable.
pub fn flaw(key: &str, value: &[u8], now: Timestamp) -> Option<String> {
    match text(value).map(|text| parse(key, text)) {
        None => Some("is empty, no text, or too long".to_owned()),
        Some(Err(flaw)) => Some(flaw.to_string()),
        Some(Ok((_, Some(at)))) if at <= now => Some(format!("expired at {at}")),
        Some(Ok(_)) => None,
    }
}

/// Why the secret is unusable.
pub fn problems(secret: &Value, now: Timestamp) -> Vec<String> {
    let data = values(secret);
    match credential(&data) {
        Some(key) => {
            let flaw = flaw(key, &data[key], now).map(|flaw| format!("its key {key:?} {flaw}"));
            flaw.into_iter().collect()
        }
        None if has_any_key(&data) => Vec::new(),
        None => vec![format!(
            "it holds no credential ({CREDENTIALS}, {API_KEY} or {OAUTH_TOKEN})"
        )],
    }
}

/// Whether there is a key of another name, as `apiKeySecretRef` allows.
fn has_any_key(data: &Data) -> bool {
    let known = [SETTINGS, MEMORY, HOME];
    let other = |key: &String| !known.contains(&key.as_str()) && !credential_keys().any(|known| known == key);
    data.keys().any(other)
}

/// When the credential under `key` expires; `None` if never, or if it cannot be parsed.
pub fn expiry(key: &str, value: &[u8]) -> Option<Timestamp> {
    parse(key, text(value)?).ok()?.1
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    fn of(entries: &[(&str, &str)]) -> Vec<String> {
        let data: serde_json::Map<_, _> = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
            .collect();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        problems(&json!({"data": data}), now)
    }

    #[test]
    fn an_expired_missing_or_unusable_credential_is_told_as_the_broker_would() {
        let file = |at: i64| json!({"claudeAiOauth": {"accessToken": "x", "expiresAt": at}}).to_string();
        let (late, early) = (file(4_102_444_800_000), file(1000));
        for good in [
            &[(CREDENTIALS, late.as_str())][..],
            &[(API_KEY, "k")],
            &[("OPENAI_API_KEY", "k")],
            &[("my-key", "k")],
            // The key takes precedence over the file, as in the broker.
            &[(API_KEY, "k"), (CREDENTIALS, &early)],
            &[(CREDENTIALS, r#"{"claudeAiOauth":{"accessToken":"x"}}"#)],
        ] {
            assert_eq!(of(good), Vec::<String>::new(), "{good:?}");
        }
        for (bad, told) in [
            (&[(CREDENTIALS, early.as_str())][..], "expired at 1970"),
            (&[(CREDENTIALS, "{}")], "accessToken"),
            (&[(SETTINGS, "{}")], "no credential"),
            (&[(API_KEY, " \n")], "no credential"),
            (&[(API_KEY, "Bearer k"), (CREDENTIALS, &late)], "Bearer"),
            (&[(API_KEY, "ANTHROPIC_API_KEY=k")], "behind the ="),
            (&[(OAUTH_TOKEN, "\"k\"")], "quotes"),
        ] {
            let problems = of(bad);
            assert!(
                problems.len() == 1 && problems[0].contains(told),
                "{bad:?}: {problems:?}"
            );
        }
    }
}
