//! Merges a credential into an existing git secret, which every rig uses that names no other.

use gastown_api::git_secret::{CA, HOSTS, KNOWN_HOSTS, SSH_KEYS, TOKEN_KEYS, hosts_of, names_host};
use gastown_api::known_hosts;
use gastown_api::repository::RepositoryUrl;

use crate::git_secret::read;
use crate::secret::{Data, is_filled};

/// Another rig that uses the secret.
#[derive(Clone, Debug)]
pub struct Other {
    /// Its name.
    pub rig: String,
    /// Its repository.
    pub url: RepositoryUrl,
}

/// The other users of the credential that `new` would replace, as text; `None` if it is the same or has no other user.
pub fn needed_by(existing: &Data, new: &Data, url: &RepositoryUrl, others: &[Other]) -> Vec<String> {
    let credential = |data: &Data| read(data, url, "").ok().map(|secret| secret.credential);
    if credential(existing).is_some_and(|before| credential(new) == Some(before)) {
        return Vec::new();
    }
    let hosts = hosts(existing);
    let serves = |other: &&Other| {
        read(existing, &other.url, "").is_ok() && (hosts.is_empty() || names_host(&other.url, hosts.iter()))
    };
    let rigs = others
        .iter()
        .filter(serves)
        .map(|other| format!("rig {:?}", other.rig));
    let filled = SSH_KEYS
        .iter()
        .chain(&TOKEN_KEYS)
        .any(|key| is_filled(existing, key));
    let elsewhere = hosts
        .iter()
        .filter(|host| filled && !names_host(url, std::iter::once(*host)))
        .map(|host| format!("host {host:?}"));
    rigs.chain(elsewhere).collect()
}

/// The whole secret with `new` in it: credentials replaced, hosts, host keys and certificates added.
pub fn merged(existing: &Data, new: &Data, url: &RepositoryUrl) -> Data {
    let mut data = existing.clone();
    let shared = hosts(existing)
        .iter()
        .any(|host| !names_host(url, std::iter::once(host)));
    for (key, value) in new {
        let before = existing.get(key).filter(|_| is_filled(existing, key));
        let value = match (key.as_str(), before) {
            (HOSTS, Some(_)) => union(hosts(existing), hosts(new)),
            (KNOWN_HOSTS, Some(before)) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                known_hosts::merge(&text(before), &text(value)).into_bytes()
            }
            (CA, Some(before)) if shared => bundle(before, value),
            _ => value.clone(),
        };
        data.insert(key.clone(), value);
    }
    // The broker takes a password before a token: an old one would hide the new one.
    if let Some(token) = new.get(TOKEN_KEYS[1])
        && is_filled(existing, TOKEN_KEYS[0])
    {
        data.insert(TOKEN_KEYS[0].to_owned(), token.clone());
    }
    data
}

fn hosts(data: &Data) -> Vec<String> {
    let text = data.get(HOSTS).map(|bytes| String::from_utf8_lossy(bytes));
    hosts_of(&text.unwrap_or_default()).unwrap_or_default()
}

fn union(mut hosts: Vec<String>, new: Vec<String>) -> Vec<u8> {
    for host in new {
        if !hosts.iter().any(|known| known.eq_ignore_ascii_case(&host)) {
            hosts.push(host);
        }
    }
    hosts.join("\n").into_bytes()
}

/// Both certificates, the new one once.
fn bundle(before: &[u8], new: &[u8]) -> Vec<u8> {
    let new = new.trim_ascii();
    if before.windows(new.len().max(1)).any(|part| part == new) {
        return before.to_vec();
    }
    [before.trim_ascii_end(), b"\n", new, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git_secret::testing::{host_line, key};

    fn data(entries: &[(&str, &str)]) -> Data {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
        entries.iter().map(own).collect()
    }

    fn other(rig: &str, url: &str) -> Other {
        Other {
            rig: rig.to_owned(),
            url: url.parse().unwrap(),
        }
    }

    fn text(data: &Data, key: &str) -> String {
        String::from_utf8(data[key].clone()).unwrap()
    }

    #[test]
    fn the_same_key_for_a_second_host_adds_the_host_and_its_keys() {
        let (a, b) = (host_line("a.example"), host_line("b.example"));
        let existing = data(&[
            ("ssh-privatekey", &key('a')),
            ("hosts", "a.example"),
            ("known_hosts", &a),
        ]);
        let new = data(&[
            ("ssh-privatekey", &key('a')),
            ("hosts", "b.example"),
            ("known_hosts", &b),
        ]);
        let url = "git@b.example:o/r".parse().unwrap();
        let others = [other("first", "git@a.example:o/r")];
        assert_eq!(needed_by(&existing, &new, &url, &others), Vec::<String>::new());
        let merged = merged(&existing, &new, &url);
        assert_eq!(text(&merged, "hosts"), "a.example\nb.example");
        assert_eq!(text(&merged, "known_hosts"), format!("{a}\n{b}\n"));
        for url in ["git@a.example:o/r", "git@b.example:o/r"] {
            assert!(read(&merged, &url.parse().unwrap(), "").is_ok(), "{url}");
        }
    }

    #[test]
    fn another_credential_is_refused_while_someone_else_needs_the_one_that_is_there() {
        let key_of = |mark| ("ssh-privatekey", key(mark));
        let (label, first) = key_of('a');
        let github = data(&[(label, &first), ("hosts", "github.com")]);
        let (_, second) = key_of('b');
        let deploy = data(&[(label, &second), ("hosts", "github.com")]);
        let url: RepositoryUrl = "git@github.com:o/second".parse().unwrap();
        // Deploy keys are for one repository each, on the same host.
        let needed = needed_by(
            &github,
            &deploy,
            &url,
            &[other("first", "git@github.com:o/first")],
        );
        assert_eq!(needed, ["rig \"first\""]);
        // A polecat without a rig uses it: only the key `hosts` says so.
        let gitlab = data(&[("username", "u"), ("token", "t"), ("hosts", "gitlab.com")]);
        assert_eq!(needed_by(&gitlab, &deploy, &url, &[]), ["host \"gitlab.com\""]);
        // A token beside a key of another host would make the token go to that host too.
        let token = data(&[("username", "u"), ("token", "t"), ("hosts", "git.example")]);
        let https: RepositoryUrl = "https://git.example/o/r".parse().unwrap();
        assert_eq!(needed_by(&github, &token, &https, &[]), ["host \"github.com\""]);
    }

    #[test]
    fn what_nobody_else_needs_or_nobody_can_use_is_replaced() {
        let url: RepositoryUrl = "git@github.com:o/r".parse().unwrap();
        let new = data(&[("ssh-privatekey", &key('b')), ("hosts", "github.com")]);
        let others = [other("first", "git@github.com:o/first")];
        let renewed = data(&[("ssh-privatekey", &key('a')), ("hosts", "github.com")]);
        assert_eq!(needed_by(&renewed, &new, &url, &[]), Vec::<String>::new());
        let elsewhere = [
            other("third", "git@git.example:o/r"),
            other("fourth", "https://github.com/o/r"),
        ];
        assert_eq!(needed_by(&renewed, &new, &url, &elsewhere), Vec::<String>::new());
        for useless in [
            &[][..],
            &[("ssh-privatekey", "ssh-ed25519 AAAA me")],
            &[("ca.crt", "x")],
        ] {
            assert_eq!(
                needed_by(&data(useless), &new, &url, &others),
                Vec::<String>::new()
            );
        }
    }

    #[test]
    fn a_new_token_is_the_one_that_counts_and_certificates_of_other_hosts_stay() {
        let url: RepositoryUrl = "https://git.example/o/r".parse().unwrap();
        let existing = data(&[("username", "u"), ("password", "old"), ("hosts", "git.example")]);
        let new = data(&[("username", "git"), ("token", "new"), ("hosts", "git.example")]);
        let secret = read(&merged(&existing, &new, &url), &url, "").unwrap_or_else(|error| panic!("{error}"));
        let (username, password) = ("git".to_owned(), "new".to_owned());
        assert!(secret.credential == gastown_api::git_secret::Credential::Basic { username, password });
        let shared = data(&[("ca.crt", "A\n"), ("hosts", "a.example")]);
        let both = merged(
            &shared,
            &data(&[("ca.crt", "B\n"), ("hosts", "git.example")]),
            &url,
        );
        assert_eq!(text(&both, "ca.crt"), "A\nB\n");
        let renewed = data(&[("ca.crt", "A\n"), ("hosts", "git.example")]);
        let one = merged(
            &renewed,
            &data(&[("ca.crt", "B\n"), ("hosts", "git.example")]),
            &url,
        );
        assert_eq!(text(&one, "ca.crt"), "B\n");
    }
}
