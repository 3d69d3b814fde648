//! Why a git secret does not work for a repository, by the rules of the broker, and the commands that fix it.

use gastown_api::git_secret::{GitSecret, ReadSecret, names_host, parse};
use gastown_api::known_hosts::{Coverage, PUBLISHED, coverage};
use gastown_api::repository::{RepositoryUrl, Transport};
use serde_json::Value;

use crate::secret::{Data, values};

/// The flag ` --name NAME`, or nothing if the name is the default.
fn name_flag(name: &str) -> String {
    if name == crate::command::GIT_SECRET {
        String::new()
    } else {
        format!(" --name {name}")
    }
}

/// The command that creates the secret of that name if no repository is known, with placeholders.
pub fn remedy_of_any(secret: &str) -> String {
    format!("kubectl gt auth git --rig RIG --key FILE{}", name_flag(secret))
}

/// The command that creates the secret for a rig's repository.
pub fn remedy(rig: &str, secret: &str, url: &RepositoryUrl) -> String {
    let name = name_flag(secret);
    match url.transport() {
        Transport::Ssh => format!("kubectl gt auth git --rig {rig} --key ~/.ssh/deploy-key{name}"),
        Transport::Https | Transport::Http => {
            format!("kubectl gt auth git --rig {rig} --token-from-env GIT_TOKEN{name}")
        }
    }
}

/// Reads the values of the secret `name` as the broker does.
pub fn read(data: &Data, url: &RepositoryUrl, name: &str) -> Result<GitSecret, ReadSecret> {
    parse(data, url, name, |pem| {
        gastown_crypto::roots(b"", Some(pem)).is_ok()
    })
}

/// Why the secret does not work for `url`; empty if it does.
pub fn problems(secret: &Value, url: &RepositoryUrl) -> Vec<String> {
    match read(&values(secret), url, "") {
        Err(ReadSecret::Find { keys, .. }) => vec![format!("it has no key {keys} for the repository {url}")],
        Err(ReadSecret::Use { key, flaw, .. }) => vec![format!("its key {key:?} {flaw}")],
        Ok(secret) => misfits(&secret, url),
    }
}

/// Why a secret that can be read does not fit the host of `url`.
fn misfits(secret: &GitSecret, url: &RepositoryUrl) -> Vec<String> {
    let mut problems = Vec::new();
    if !secret.hosts.is_empty() && !names_host(url, secret.hosts.iter()) {
        problems.push(format!(
            "it was made for {}, not for {:?}, the host of {url}",
            secret.hosts.join(", "),
            url.host()
        ));
    }
    let text = secret.known_hosts.as_deref().unwrap_or_default();
    if url.transport() == Transport::Ssh
        && !PUBLISHED.contains(&url.host())
        && coverage(text, url) == Coverage::No
    {
        problems.push(format!(
            "it has no known_hosts with the key of {:?}, unless the chart or a ConfigMap has it",
            url.host()
        ));
    }
    problems
}

#[cfg(test)]
pub mod testing {
    /// A private key as far as our own code reads it; it opens nothing. `a` makes one key, any other `mark` a second.
    pub fn key(mark: char) -> String {
        let body = match mark {
            'a' => "MAIFAA==",
            _ => "MAIFBQ==",
        };
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    }

    /// A line of `known_hosts` for that host.
    pub fn host_line(host: &str) -> String {
        format!("{host} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::testing::{host_line, key};
    use super::*;

    fn of(entries: &[(&str, &str)], url: &str) -> Vec<String> {
        let data: serde_json::Map<_, _> = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
            .collect();
        problems(&json!({"data": data}), &url.parse().unwrap())
    }

    #[test]
    fn a_secret_is_measured_by_the_repository_it_is_for() {
        let key = key('a');
        let (ssh, github) = ("git@git.example.com:a/b", "git@github.com:a/b");
        let https = "https://github.com/a/b";
        let line = host_line("git.example.com");
        for (entries, url) in [
            (&[("ssh-privatekey", key.as_str())][..], github),
            (&[("ssh-privatekey", &key), ("known_hosts", &line)], ssh),
            (&[("token", "t"), ("username", "u")], https),
            (
                &[
                    ("token", "t"),
                    ("username", "u"),
                    ("hosts", "gitlab.com,github.com"),
                ],
                https,
            ),
        ] {
            assert_eq!(of(entries, url), Vec::<String>::new(), "{entries:?}");
        }
        for (entries, url, told) in [
            (&[][..], ssh, "no key \"ssh-privatekey\""),
            (&[("ssh-privatekey", key.as_str())], ssh, "no known_hosts"),
            (&[("ssh-privatekey", &key)], https, "\"username\""),
            (
                &[
                    ("ssh-privatekey", &key),
                    ("known_hosts", &host_line("other.example.com")),
                ],
                ssh,
                "no known_hosts with the key of \"git.example.com\"",
            ),
            (
                &[("ssh-privatekey", &key), ("hosts", "gitlab.com")],
                github,
                "made for gitlab.com, not for \"github.com\"",
            ),
            (
                &[("token", "t"), ("username", "u"), ("hosts", "gitlab.com")],
                https,
                "made for gitlab.com",
            ),
            (&[("ssh-privatekey", "ssh-ed25519 AAAA me")], github, "public key"),
            (
                &[("ssh-privatekey", &key[..40])],
                github,
                "\"ssh-privatekey\" is cut off",
            ),
            (
                &[("ssh-privatekey", &key), ("known_hosts", "github.com")],
                github,
                "\"known_hosts\" has no line",
            ),
            (
                &[("token", "t\nu"), ("username", "u")],
                https,
                "\"token\" has more than one line",
            ),
            (
                &[("token", "t"), ("username", "u"), ("ca.crt", "x")],
                https,
                "\"ca.crt\" holds no certificate",
            ),
        ] {
            let problems = of(entries, url);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(told), "{told} not in {problems:?}");
        }
    }
}
