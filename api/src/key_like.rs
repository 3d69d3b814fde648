//! Texts that look like keys, by the prefixes that their issuers chose so that they can be found.

/// How keys begin; what follows is [`LEAST`] letters, digits, `-` and `_` or more, so that a text about keys passes.
const PREFIXES: &[&str] = &[
    "sk-ant-",
    "sk-proj-",
    "sk-svcacct-",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "AKIA",
    "ASIA",
    "AIza",
    "xoxb-",
    "xoxp-",
    "npm_",
    "hf_",
];

const LEAST: usize = 16;

/// How a private key begins, without the word for its kind.
const ARMOUR: &str = "-----BEGIN ";
const PRIVATE: &str = "PRIVATE KEY-----";

/// Whether `bytes` hold what looks like a key.
#[must_use]
pub fn found_in(bytes: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| follows(bytes, prefix)) || holds_private_key(bytes)
}

fn follows(bytes: &[u8], prefix: &str) -> bool {
    let of_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let mut starts = bytes.windows(prefix.len()).enumerate();
    starts.any(|(at, window)| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        window == prefix.as_bytes()
            && !before.is_some_and(u8::is_ascii_alphanumeric)
            && bytes[at + prefix.len()..]
                .iter()
                .take_while(|byte| of_key(byte))
                .count()
                >= LEAST
    })
}

fn holds_private_key(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split(ARMOUR).skip(1);
    lines.any(|rest| rest.lines().next().is_some_and(|line| line.contains(PRIVATE)))
}

/// Whether something of this name is taken for a key whatever it holds. `MAX_THINKING_TOKENS` is a number.
#[must_use]
pub fn is_named(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    let ends = [
        "TOKEN",
        "KEY",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "CREDENTIAL",
        "CREDENTIALS",
    ];
    let contains = [
        "SECRET",
        "API_KEY",
        "APIKEY",
        "ACCESS_KEY",
        "PRIVATE_KEY",
        "AUTH_TOKEN",
    ];
    ends.iter().any(|end| name.ends_with(end)) || contains.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_texts_about_keys_pass() {
        for text in [
            "x=sk-ant-oat01-abcdefghijklmnop",
            "\"ghp_abcdefghijklmnop1234\"",
            "AKIAABCDEFGHIJKLMNOP",
            "a\n-----BEGIN OPENSSH PRIVATE KEY-----\nb",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            assert!(found_in(text.as_bytes()), "{text}");
        }
        for text in [
            "set ANTHROPIC_API_KEY=sk-ant-...",
            "sk-ant-xxx",
            "https://example/task-ant-0123456789abcdefghij",
            "-----BEGIN CERTIFICATE-----",
            "ghp_",
            "",
        ] {
            assert!(!found_in(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn names_of_keys_are_known_and_numbers_of_tokens_pass() {
        for name in [
            "GITHUB_TOKEN",
            "apiKeyHelper",
            "aws_secret_access_key",
            "DB_PASSWORD",
            "X-Api-Key",
            "authToken",
        ] {
            assert!(is_named(name), "{name}");
        }
        for name in [
            "MAX_THINKING_TOKENS",
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
            "keybindings",
            "PATH",
        ] {
            assert!(!is_named(name), "{name}");
        }
    }
}
