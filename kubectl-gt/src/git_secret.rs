//! What must be in a git secret for a repository: the keys that the broker reads (`polecat/src/broker/git/secret.rs`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gastown_api::repository::{RepositoryUrl, Transport};
use serde_json::Value;

/// Keys that hold an SSH key, in the order the broker looks.
pub const SSH_KEYS: [&str; 4] = ["ssh-privatekey", "id_rsa", "id_ed25519", "identity"];
/// Keys that hold a token.
pub const TOKEN_KEYS: [&str; 2] = ["token", "password"];
/// Hosts whose keys the chart ships.
pub const PUBLISHED: [&str; 3] = ["github.com", "gitlab.com", "bitbucket.org"];

/// ` --name NAME`, where it is not the default.
fn name_flag(name: &str) -> String {
    if name == crate::command::GIT_SECRET {
        String::new()
    } else {
        format!(" --name {name}")
    }
}

/// The command that makes the secret of that name, for whichever repository.
pub fn remedy_of_any(secret: &str) -> String {
    format!("kubectl gt auth git --rig RIG --key FILE{}", name_flag(secret))
}

/// The command that makes the secret for a rig's repository.
pub fn remedy(rig: &str, secret: &str, url: &RepositoryUrl) -> String {
    let name = name_flag(secret);
    match url.transport() {
        Transport::Ssh => format!("kubectl gt auth git --rig {rig} --key ~/.ssh/id_ed25519{name}"),
        Transport::Https | Transport::Http => {
            format!("kubectl gt auth git --rig {rig} --token-from-env GIT_TOKEN{name}")
        }
    }
}

/// What keeps the secret from working for `url`.
pub fn problems(secret: &Value, url: &RepositoryUrl) -> Vec<String> {
    let data = |key: &str| decoded(secret, key);
    let mut problems = Vec::new();
    match url.transport() {
        Transport::Ssh => {
            match SSH_KEYS
                .iter()
                .find_map(|key| data(key).map(|value| (key, value)))
            {
                None => problems.push(format!(
                    "it has no SSH key (none of {}) for the repository {url}",
                    SSH_KEYS.join(", ")
                )),
                Some((key, value)) => {
                    if let Err(why) = check_ssh_key(&value) {
                        problems.push(format!("its key {key:?} {why}"));
                    }
                }
            }
            if data("known_hosts").is_none() && !PUBLISHED.contains(&url.host()) {
                problems.push(format!(
                    "it has no known_hosts with the key of {:?}, unless the chart or a ConfigMap has it",
                    url.host()
                ));
            }
        }
        Transport::Https => {
            if !TOKEN_KEYS.iter().any(|key| data(key).is_some()) {
                problems.push(format!("it has no token or password for the repository {url}"));
            }
            if data("username").is_none() {
                problems.push("it has no username to go with the token".to_owned());
            }
        }
        Transport::Http => {}
    }
    problems
}

/// The value of a key, if it is there and not empty.
pub fn decoded(secret: &Value, key: &str) -> Option<Vec<u8>> {
    let encoded = secret["data"][key].as_str()?;
    STANDARD.decode(encoded).ok().filter(|value| !value.is_empty())
}

/// Why a file is no private key that works without a person.
pub fn check_ssh_key(bytes: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no text, so no private key")?;
    let text = text.trim();
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err("is a public key; give the file without .pub");
    }
    if !text.starts_with("-----BEGIN ") || !text.contains("PRIVATE KEY-----") {
        return Err("is no private key in PEM or OpenSSH form");
    }
    if text.contains("ENCRYPTED") {
        return Err(ENCRYPTED);
    }
    if text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let raw = STANDARD
            .decode(body.trim())
            .map_err(|_| "is cut off or damaged")?;
        let magic = b"openssh-key-v1\0";
        let rest = raw
            .strip_prefix(magic.as_slice())
            .ok_or("is cut off or damaged")?;
        // A length of four bytes, then the cipher's name; `none` is a key without a passphrase.
        if rest.get(4..8) != Some(b"none".as_slice()) {
            return Err(ENCRYPTED);
        }
    }
    Ok(())
}

const ENCRYPTED: &str = "has a passphrase, which nobody can type in a pod; make a deploy key without one (`ssh-keygen -t ed25519 -N ''`)";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(entries: &[(&str, &str)]) -> Value {
        let data: serde_json::Map<_, _> = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
            .collect();
        json!({"data": data})
    }

    fn openssh(cipher: &str) -> String {
        let mut raw = b"openssh-key-v1\0".to_vec();
        raw.extend(u32::try_from(cipher.len()).unwrap().to_be_bytes());
        raw.extend(cipher.as_bytes());
        let body = STANDARD.encode(raw);
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
    }

    #[test]
    fn a_key_that_cannot_work_in_a_pod_is_told_from_one_that_can() {
        assert_eq!(check_ssh_key(openssh("none").as_bytes()), Ok(()));
        assert!(
            check_ssh_key(openssh("aes256-ctr").as_bytes())
                .unwrap_err()
                .contains("passphrase")
        );
        assert!(
            check_ssh_key(b"ssh-ed25519 AAAA me")
                .unwrap_err()
                .contains("public")
        );
        assert!(check_ssh_key(b"hello").is_err());
        assert!(check_ssh_key(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn a_secret_is_measured_by_the_repository_it_is_for() {
        let ssh: RepositoryUrl = "git@git.example.com:a/b".parse().unwrap();
        let github: RepositoryUrl = "git@github.com:a/b".parse().unwrap();
        let https: RepositoryUrl = "https://github.com/a/b".parse().unwrap();
        let key = openssh("none");
        assert_eq!(
            problems(&secret(&[("ssh-privatekey", &key)]), &github),
            Vec::<String>::new()
        );
        assert_eq!(problems(&secret(&[("ssh-privatekey", &key)]), &ssh).len(), 1);
        assert_eq!(problems(&secret(&[("ssh-privatekey", &key)]), &https).len(), 2);
        assert_eq!(
            problems(&secret(&[("token", "t"), ("username", "u")]), &https),
            Vec::<String>::new()
        );
        assert_eq!(problems(&secret(&[]), &ssh).len(), 2);
    }
}
