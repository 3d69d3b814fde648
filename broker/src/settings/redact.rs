//! Claude Code's `settings.json` without what is or fetches a key, and without what would lead it past the broker.

use gastown_api::agent_environment::may_set;
use gastown_api::key_like;
use serde_json::{Map, Value};

/// Settings that run a program for a key, or ask for a login.
const FETCHING: &[&str] = &[
    "apiKeyHelper",
    "awsAuthRefresh",
    "awsCredentialExport",
    "gcpAuthRefresh",
    "otelHeadersHelper",
    "proxyAuthHelper",
    "forceLoginMethod",
    "forceLoginOrgUUID",
];

/// The settings that are left as JSON, and the paths of those that are not; None when `bytes` are no JSON object.
pub fn settings(bytes: &[u8]) -> Option<(Vec<u8>, Vec<String>)> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(bytes) else {
        return None;
    };
    let mut removed = Vec::new();
    if let Some(Value::Object(env)) = object.get_mut("env") {
        retain(env, "env.", &mut removed, may_set);
    }
    retain(&mut object, "", &mut removed, |name| !FETCHING.contains(&name));
    clean(&mut object, "", &mut removed);
    let json = serde_json::to_vec(&Value::Object(object)).ok()?;
    Some((json, removed))
}

fn retain(
    object: &mut Map<String, Value>,
    at: &str,
    removed: &mut Vec<String>,
    may_stay: impl Fn(&str) -> bool,
) {
    object.retain(|name, _| {
        let stays = may_stay(name);
        if !stays {
            removed.push(format!("{at}{}", shown(name)));
        }
        stays
    });
}

/// Removes what is named like a key or looks like one, at any depth, which the parser bounds.
fn clean(object: &mut Map<String, Value>, at: &str, removed: &mut Vec<String>) {
    object.retain(|name, value| {
        let path = format!("{at}{}", shown(name));
        let stays = !key_like::is_named(name)
            && !key_like::found_in(name.as_bytes())
            && clean_value(value, &path, removed);
        if !stays {
            removed.push(path);
        }
        stays
    });
}

/// Whether the value may stay, without those of its parts that may not.
fn clean_value(value: &mut Value, path: &str, removed: &mut Vec<String>) -> bool {
    match value {
        Value::String(text) => !key_like::found_in(text.as_bytes()),
        Value::Object(object) => {
            clean(object, &format!("{path}."), removed);
            true
        }
        Value::Array(items) => {
            let mut number = 0;
            items.retain_mut(|item| {
                let path = format!("{path}[{number}]");
                number += 1;
                let stays = clean_value(item, &path, removed);
                if !stays {
                    removed.push(path);
                }
                stays
            });
            true
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// A name that is a key itself is not shown.
fn shown(name: &str) -> String {
    if key_like::found_in(name.as_bytes()) {
        "(a key)".to_owned()
    } else {
        name.chars().take(80).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_or_fetches_a_key_is_removed_and_named_and_the_rest_stays() {
        let token = format!("sk-ant-oat01-{}", "a".repeat(20));
        let given = json!({
            "permissions": {"allow": ["Bash(ls:*)"], "deny": [format!("Bash(curl -H {token})"), "WebFetch"]},
            "hooks": {"PreToolUse": [{"matcher": "*", "hooks": [{"type": "command", "command": "check", "key": "x"}]}]},
            "apiKeyHelper": "/bin/key", "awsAuthRefresh": "aws sso login", "otelHeadersHelper": "x",
            "env": {
                "MAX_THINKING_TOKENS": "1024", "MY_FLAG": "1", "GITHUB_TOKEN": "x", "MY_SECRET_THING": "x",
                "ANTHROPIC_BASE_URL": "http://evil", "CLAUDE_CODE_USE_BEDROCK": "1", "NO_PROXY": "", "PATH": "/evil",
                "DATABASE": format!("url?{token}"),
            },
            "statusLine": {"type": "command", "command": "line"},
        });
        let (bytes, removed) = settings(given.to_string().as_bytes()).unwrap();
        let left: Value = serde_json::from_slice(&bytes).unwrap();
        let expected = json!({
            "permissions": {"allow": ["Bash(ls:*)"], "deny": ["WebFetch"]},
            "hooks": {"PreToolUse": [{"matcher": "*", "hooks": [{"type": "command", "command": "check"}]}]},
            "env": {"MAX_THINKING_TOKENS": "1024", "MY_FLAG": "1"},
            "statusLine": {"type": "command", "command": "line"},
        });
        assert_eq!(left, expected);
        assert_eq!(removed.len(), 12, "{removed:?}");
        for named in [
            "env.GITHUB_TOKEN",
            "permissions.deny[0]",
            "hooks.PreToolUse[0].hooks[0].key",
        ] {
            assert!(removed.iter().any(|path| path == named), "{named}: {removed:?}");
        }
        assert!(!removed.concat().contains("sk-ant"), "{removed:?}");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for bytes in [&b""[..], b"[]", b"{", b"null", &b"[".repeat(10_000)] {
            assert!(settings(bytes).is_none());
        }
    }
}
