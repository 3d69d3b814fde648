//! Where a repository is: the URLs that a Rig and a Polecat may name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The URL of a repository, over SSH or HTTP(S), without a password.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryUrl {
    text: String,
    transport: Transport,
    host: String,
    port: Option<u16>,
}

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// OpenSSH: `git@host:path` or `ssh://[user@]host[:port]/path`.
    Ssh,
    /// TLS: `https://host[:port]/path`.
    Https,
    /// Without TLS: `http://host[:port]/path`. No credential is ever sent over it.
    Http,
}

/// Why a text is no repository URL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "failed to parse repository {text:?}: {flaw}; write git@HOST:PATH, ssh://[USER@]HOST[:PORT]/PATH or https://HOST[:PORT]/PATH"
)]
pub struct ParseRepository {
    text: String,
    flaw: &'static str,
}

impl RepositoryUrl {
    /// The URL as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is reached.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The host, in lower case, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where one is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port that is connected to.
    #[must_use]
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(match self.transport {
            Transport::Ssh => 22,
            Transport::Https => 443,
            Transport::Http => 80,
        })
    }
}

impl FromStr for RepositoryUrl {
    type Err = ParseRepository;

    fn from_str(text: &str) -> Result<Self, ParseRepository> {
        let refuse = |flaw| ParseRepository {
            text: text.to_owned(),
            flaw,
        };
        let (transport, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Transport::Https, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Transport::Http, rest)
        } else if let Some(rest) = text.strip_prefix("ssh://") {
            (Transport::Ssh, rest)
        } else if text.contains("://") || !text.contains('@') {
            return Err(refuse("its scheme is none of git@, ssh://, https://, http://"));
        } else {
            return scp_like(text).map_err(refuse);
        };
        let (authority, path) = rest.split_once('/').ok_or_else(|| refuse("it has no path"))?;
        let host_and_port = match (authority.rsplit_once('@'), transport) {
            (None, _) => authority,
            (Some((user, host)), Transport::Ssh) if is_user(user) => host,
            (Some(_), _) => {
                return Err(refuse(
                    "it carries user info; put credentials into the git secret",
                ));
            }
        };
        let (host, port) = match host_and_port.split_once(':') {
            None => (host_and_port, None),
            Some((host, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (
                    host,
                    Some(port.ok_or_else(|| refuse("its port is no number from 1 to 65535"))?),
                )
            }
        };
        check_host_and_path(host, path).map_err(refuse)?;
        Ok(Self {
            text: text.to_owned(),
            transport,
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

fn scp_like(text: &str) -> Result<RepositoryUrl, &'static str> {
    let (user, rest) = text.split_once('@').ok_or("it has no user")?;
    let (host, path) = rest.split_once(':').ok_or("it has no path")?;
    if !is_user(user) {
        return Err("its user has characters other than letters, digits, \".\", \"_\" and \"-\"");
    }
    check_host_and_path(host, path)?;
    let host = host.to_ascii_lowercase();
    Ok(RepositoryUrl {
        text: text.to_owned(),
        transport: Transport::Ssh,
        host,
        port: None,
    })
}

fn is_user(user: &str) -> bool {
    let first = user.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first
        && user
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A leading `-` in a host or path would be read as an option by git or ssh.
fn check_host_and_path(host: &str, path: &str) -> Result<(), &'static str> {
    let host_chars = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !host.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) || !host.bytes().all(host_chars) {
        Err("its host is no host name")
    } else if path.is_empty() || path == "/" || path.starts_with(['-', '%', '+']) || !is_path(path) {
        Err(
            "its path is empty, starts with \"-\", \"+\" or \"%\", or has characters other than letters, digits and . _ ~ / + -; write others as %XX, such as %20",
        )
    } else {
        Ok(())
    }
}

/// Plain characters and `%` escapes, of which none stands for a control character.
fn is_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~/+-".contains(&b);
    let escape = |digits: &[u8]| {
        let text = str::from_utf8(digits).ok()?;
        let byte = digits
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then(|| u8::from_str_radix(text, 16));
        byte?.ok().filter(|byte| !byte.is_ascii_control())
    };
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after.split_at_checked(2)) {
            (b'%', Some((digits, after))) if escape(digits).is_some() => after,
            (b'%', _) => return false,
            (first, _) if plain(*first) => after,
            _ => return false,
        };
    }
    true
}

impl TryFrom<String> for RepositoryUrl {
    type Error = ParseRepository;

    fn try_from(text: String) -> Result<Self, ParseRepository> {
        text.parse()
    }
}

impl From<RepositoryUrl> for String {
    fn from(url: RepositoryUrl) -> Self {
        url.text
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_git_hosts_are_read() {
        let cases = [
            ("git@github.com:org/repo.git", Transport::Ssh, "github.com", None),
            (
                "ssh://git@Git.Example:2222/~u/repo",
                Transport::Ssh,
                "git.example",
                Some(2222),
            ),
            ("ssh://host/srv/repo.git", Transport::Ssh, "host", None),
            (
                "https://github.com/org/repo.git",
                Transport::Https,
                "github.com",
                None,
            ),
            (
                "https://git.svc:8443/a/b",
                Transport::Https,
                "git.svc",
                Some(8443),
            ),
            (
                "https://dev.azure.com/org/My%20Project/_git/My%20Repo",
                Transport::Https,
                "dev.azure.com",
                None,
            ),
            (
                "git@ssh.dev.azure.com:v3/org/My%20Project/repo",
                Transport::Ssh,
                "ssh.dev.azure.com",
                None,
            ),
            ("git@h:gcc/libstdc++.git", Transport::Ssh, "h", None),
            ("https://h/a/%C3%BCber", Transport::Https, "h", None),
            (
                "http://localhost:3000/a",
                Transport::Http,
                "localhost",
                Some(3000),
            ),
        ];
        for (text, transport, host, port) in cases {
            let url: RepositoryUrl = text.parse().unwrap();
            assert_eq!(
                (url.transport(), url.host(), url.port()),
                (transport, host, port),
                "{text}"
            );
        }
    }

    #[test]
    fn what_could_carry_a_secret_an_option_or_a_local_path_is_refused() {
        for text in [
            "",
            "repo",
            "file:///etc",
            "-oProxyCommand=x",
            "https://user:token@host/x",
            "https://token@host/x",
            "ssh://git:pw@host/x",
            "ssh://-oX/x",
            "git@-host:x",
            "git@host:-x",
            "git@host:",
            "https://host",
            "https://host/",
            "https://host:0/x",
            "https://host:99999/x",
            "ext::sh -c x",
            "https://host/a b",
            "https://host/a?b",
            "https://host/a%0ab",
            "https://host/a%00",
            "https://host/a%7F",
            "https://host/a%2",
            "https://host/a%zz",
            "https://host/a%+1",
            "ssh://host/%2DoProxyCommand",
            "git@host:+x",
        ] {
            assert!(text.parse::<RepositoryUrl>().is_err(), "{text:?}");
        }
    }
}
