//! The model's credential: read anew for each call from the mounted secret, never refreshed. Whoever refreshes a
//! subscription's token invalidates the one that every other holder has.

use std::path::{Path, PathBuf};

pub(super) use gastown_api::model_secret::Credential;
use gastown_api::model_secret::{self, MAX_CREDENTIAL};
use gastown_api::reason::Reason;
use gastown_api::work_order::ModelOrder;
use jiff::Timestamp;

/// Where the secrets are mounted.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Credentials, `ca.crt` and the agent's settings.
    pub secret: PathBuf,
    /// The API key that stands alone.
    pub api_key: PathBuf,
    /// What the operator told the pod since it was made.
    pub control: PathBuf,
}

/// Why there is no credential now. It passes when the secret changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Absent {
    /// `SecretMissing`, `SecretInvalid` or `CredentialExpired`.
    pub reason: Reason,
    /// Which secret and key, in words.
    pub message: String,
}

/// The credential that holds now. `refused` is one that the provider no longer takes: it is as good as none.
pub(super) fn read(
    order: &ModelOrder,
    paths: &Paths,
    refused: Option<&Credential>,
    now: Timestamp,
) -> Result<Credential, Absent> {
    let Some(found) = find(order, paths) else {
        return if order.keyless {
            Ok(Credential::None)
        } else {
            Err(missing(format!(
                "{} does not exist or has no key {}",
                secret_of(order),
                keys_of(order)
            )))
        };
    };
    let Found { secret, key, text } = found;
    let place = format!("key {key:?} of secret {secret:?}");
    let (credential, expires) =
        model_secret::parse(key, &text).map_err(|flaw| invalid(format!("{place} {flaw}")))?;
    if expires.is_some_and(|expires| expires <= now) {
        let when = expires.map(|expires| expires.to_string()).unwrap_or_default();
        return Err(expired(format!("{place} expired at {when}")));
    }
    if refused == Some(&credential) {
        return Err(expired(format!("the model endpoint no longer takes {place}")));
    }
    Ok(credential)
}

/// Which file it was, and its text.
struct Found<'a> {
    secret: &'a str,
    key: &'a str,
    text: String,
}

/// A key that stands alone is the only one; else the first of the provider's that holds anything.
fn find<'a>(order: &'a ModelOrder, paths: &Paths) -> Option<Found<'a>> {
    if let Some(alone) = &order.api_key {
        let text = text_of(&paths.api_key.join(&alone.key))?;
        let (secret, key) = (alone.secret.as_str(), alone.key.as_str());
        return Some(Found { secret, key, text });
    }
    let secret = order.secret.as_deref()?;
    let mut keys = order.provider.credential_keys().iter();
    keys.find_map(|key| {
        let text = text_of(&paths.secret.join(key))?;
        Some(Found { secret, key, text })
    })
}

fn text_of(path: &Path) -> Option<String> {
    let small = std::fs::metadata(path).is_ok_and(|meta| meta.len() <= MAX_CREDENTIAL);
    let bytes = small.then(|| std::fs::read(path).ok()).flatten()?;
    model_secret::text(&bytes).map(str::to_owned)
}

fn invalid(message: String) -> Absent {
    let reason = Reason::SecretInvalid;
    Absent { reason, message }
}

fn missing(message: String) -> Absent {
    let reason = Reason::SecretMissing;
    Absent { reason, message }
}

fn expired(message: String) -> Absent {
    let reason = Reason::CredentialExpired;
    Absent { reason, message }
}

/// The secret by name.
pub(super) fn secret_of(order: &ModelOrder) -> String {
    let alone = order.api_key.as_ref().map(|alone| alone.secret.as_str());
    format!(
        "secret {:?}",
        alone.or(order.secret.as_deref()).unwrap_or_default()
    )
}

/// The key by name, or those that would do.
fn keys_of(order: &ModelOrder) -> String {
    let names = order.provider.credential_keys();
    match &order.api_key {
        Some(alone) => format!("\"{}\"", alone.key),
        None => names
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

#[cfg(test)]
mod tests {
    use gastown_api::polecat::Provider;
    use gastown_api::work_order::ApiKeyOrder;

    use super::*;
    use crate::fixture;

    /// Milliseconds of 2026-01-01T00:00:00Z.
    const NOW: i64 = 1_767_225_600_000;

    struct Mounted {
        folder: tempfile::TempDir,
        order: ModelOrder,
    }

    impl Mounted {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["secret", "api-key"] {
                std::fs::create_dir(folder.path().join(name)).unwrap();
            }
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let order = fixture::order().role.model;
            Self { folder, order }
        }

        fn read(&self, refused: Option<&Credential>) -> Result<Credential, Absent> {
            let paths = Paths {
                secret: self.folder.path().join("secret"),
                api_key: self.folder.path().join("api-key"),
                control: self.folder.path().join("control"),
            };
            read(
                &self.order,
                &paths,
                refused,
                Timestamp::from_millisecond(NOW).unwrap(),
            )
        }
    }

    fn file(token: &str, expires: i64) -> String {
        serde_json::json!({"claudeAiOauth": {
            "accessToken": token, "refreshToken": "sk-ant-ort01-r", "expiresAt": expires,
            "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
        }})
        .to_string()
    }

    fn oauth(token: &str) -> Credential {
        Credential::Oauth(token.to_owned())
    }

    fn api_key(key: &str) -> Credential {
        Credential::ApiKey(key.to_owned())
    }

    #[test]
    fn of_several_credentials_the_first_in_claude_codes_own_order_counts() {
        let credentials = file("c", NOW + 1);
        let alias = file("d", NOW + 1);
        let mut files = vec![
            ("secret/ANTHROPIC_API_KEY", "a\n"),
            ("secret/CLAUDE_CODE_OAUTH_TOKEN", "b"),
            ("secret/.credentials.json", credentials.as_str()),
            ("secret/credentials.json", alias.as_str()),
        ];
        for expected in [api_key("a"), oauth("b"), oauth("c"), oauth("d")] {
            assert!(
                Mounted::new(&files).read(None).unwrap() == expected,
                "{expected:?}"
            );
            files.remove(0);
        }
        let blank = [
            ("secret/ANTHROPIC_API_KEY", " \n"),
            ("secret/CLAUDE_CODE_OAUTH_TOKEN", "b"),
        ];
        assert!(Mounted::new(&blank).read(None) == Ok(oauth("b")));
    }

    #[test]
    fn a_key_that_stands_alone_is_the_only_one() {
        let mut mounted = Mounted::new(&[("secret/ANTHROPIC_API_KEY", "a"), ("api-key/k", "sk-ant-oat01-x")]);
        let (secret, key) = ("keys".to_owned(), "k".to_owned());
        mounted.order.api_key = Some(ApiKeyOrder { secret, key });
        assert!(
            mounted.read(None) == Ok(oauth("sk-ant-oat01-x")),
            "a token is known by its beginning"
        );
        std::fs::remove_file(mounted.folder.path().join("api-key/k")).unwrap();
        let absent = mounted.read(None).unwrap_err();
        assert_eq!(absent.reason, Reason::SecretMissing);
        assert!(
            absent.message.contains("\"keys\"") && absent.message.contains("\"k\""),
            "{absent:?}"
        );
    }

    #[test]
    fn an_expired_token_is_said_with_its_time_and_a_refused_one_counts_as_expired() {
        let mounted = Mounted::new(&[("secret/.credentials.json", &file("t", NOW))]);
        let absent = mounted.read(None).unwrap_err();
        assert_eq!(absent.reason, Reason::CredentialExpired);
        assert!(
            absent.message.contains("2026-01-01T00:00:00Z"),
            "{}",
            absent.message
        );
        let mounted = Mounted::new(&[("secret/.credentials.json", &file("t", NOW + 1))]);
        assert!(mounted.read(None) == Ok(oauth("t")));
        assert_eq!(
            mounted.read(Some(&oauth("t"))).unwrap_err().reason,
            Reason::CredentialExpired
        );
        assert!(mounted.read(Some(&oauth("older"))) == Ok(oauth("t")));
    }

    #[test]
    fn what_can_be_no_key_is_named_with_key_and_secret_and_not_shown() {
        let absent = Mounted::new(&[("secret/ANTHROPIC_API_KEY", "Bearer t0ken")])
            .read(None)
            .unwrap_err();
        assert_eq!(absent.reason, Reason::SecretInvalid);
        let words = absent.message;
        for part in ["\"ANTHROPIC_API_KEY\"", "\"claude-creds\"", "without \"Bearer\""] {
            assert!(words.contains(part), "{part} not in {words}");
        }
        assert!(!words.contains("t0k"), "{words}");
    }

    #[test]
    fn a_damaged_file_is_named_without_a_word_of_it() {
        for text in [
            "{",
            "{}",
            r#"{"claudeAiOauth":{"accessToken":""}}"#,
            r#""sk-ant-oat01-secret""#,
        ] {
            let absent = Mounted::new(&[("secret/.credentials.json", text)])
                .read(None)
                .unwrap_err();
            assert_eq!(absent.reason, Reason::SecretInvalid);
            let words = absent.message;
            assert!(
                words.contains("claudeAiOauth.accessToken") && !words.contains("sk-ant"),
                "{words}"
            );
        }
        let long = " ".repeat(70_000) + "a";
        assert!(
            Mounted::new(&[("secret/ANTHROPIC_API_KEY", &long)])
                .read(None)
                .is_err()
        );
    }

    #[test]
    fn a_key_of_another_provider_is_not_sent() {
        let mut mounted = Mounted::new(&[("secret/ANTHROPIC_API_KEY", "a"), ("secret/LITELLM_API_KEY", "l")]);
        mounted.order.provider = Provider::Litellm;
        assert!(mounted.read(None) == Ok(api_key("l")));
        mounted.order.provider = Provider::Openai;
        let absent = mounted.read(None).unwrap_err();
        assert!(absent.message.contains("\"OPENAI_API_KEY\""), "{absent:?}");
        mounted.order.provider = Provider::Ollama;
        mounted.order.keyless = true;
        assert!(mounted.read(None) == Ok(Credential::None));
    }
}
