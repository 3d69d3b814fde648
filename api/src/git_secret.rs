//! The format of a git secret: its keys and their values. The broker reads secrets with it, and the plugin writes and
//! checks them with it, so that the two agree.

mod ssh_key;

use std::collections::BTreeMap;

use crate::known_hosts;
use crate::reason::Reason;
use crate::repository::{RepositoryUrl, Transport};

pub use ssh_key::read as read_ssh_key;

/// Keys that may hold an SSH private key; the first with a value is used.
pub const SSH_KEYS: [&str; 4] = ["ssh-privatekey", "id_rsa", "id_ed25519", "identity"];
/// Keys that may hold a token or password for HTTPS; the first with a value is used.
pub const TOKEN_KEYS: [&str; 2] = ["password", "token"];
/// The key with the user name that goes with the token.
pub const USERNAME: &str = "username";
/// The key with the hosts that the credential is for.
pub const HOSTS: &str = "hosts";
/// The key with host keys, in the form of `known_hosts(5)`.
pub const KNOWN_HOSTS: &str = "known_hosts";
/// The key with certificates to trust, as PEM.
pub const CA: &str = "ca.crt";
/// The key with `USER:PASSWORD` for the proxy.
pub const PROXY: &str = "proxy";

/// The content of the secret for one transport.
#[derive(Clone, PartialEq, Eq)]
pub struct GitSecret {
    /// The credential.
    pub credential: Credential,
    /// Host keys, in the form of `known_hosts(5)`.
    pub known_hosts: Option<String>,
    /// Certificates to trust besides the system's, as PEM.
    pub roots: Option<Vec<u8>>,
    /// Hosts that may be sent the token.
    pub hosts: Vec<String>,
    /// The proxy's credential, `USER:PASSWORD`.
    pub proxy: Option<String>,
}

/// A credential. It implements no `Debug`, so that it cannot be logged.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The bytes of a private key file.
    SshKey(Vec<u8>),
    /// For HTTPS.
    Basic {
        /// The key `username`.
        username: String,
        /// The key `password` or `token`.
        password: String,
    },
    /// For plain HTTP, over which nothing secret is sent.
    Nothing,
}

/// Why the secret is unusable. The text names the secret and never shows its values.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadSecret {
    /// It lacks something.
    #[error("secret {secret:?} does not exist or has no key {keys}")]
    Find {
        /// Its name.
        secret: String,
        /// The keys of which one is wanted.
        keys: &'static str,
    },
    /// Something in it cannot be used.
    #[error("secret {secret:?}: its key {key:?} {flaw}")]
    Use {
        /// Its name.
        secret: String,
        /// The key.
        key: &'static str,
        /// The error, with the remedy.
        flaw: &'static str,
    },
}

impl ReadSecret {
    /// For the object's status.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Find { .. } => Reason::SecretMissing,
            Self::Use { .. } => Reason::SecretInvalid,
        }
    }
}

/// Reads what `files`, the values of the secret by key, hold for `url`'s transport. `secret` is the name for messages;
/// `is_bundle` says whether bytes are certificates in PEM that TLS can trust, which only a TLS library knows.
pub fn parse(
    files: &BTreeMap<String, Vec<u8>>,
    url: &RepositoryUrl,
    secret: &str,
    is_bundle: impl Fn(&[u8]) -> bool,
) -> Result<GitSecret, ReadSecret> {
    let find = |keys| ReadSecret::Find {
        secret: secret.to_owned(),
        keys,
    };
    let refuse = |key, flaw| ReadSecret::Use {
        secret: secret.to_owned(),
        key,
        flaw,
    };
    let line = |key| line(files, key).map_err(|flaw| refuse(key, flaw));
    let credential = match url.transport() {
        Transport::Http => Credential::Nothing,
        Transport::Ssh => {
            let found = SSH_KEYS.iter().find_map(|key| Some((*key, filled(files, key)?)));
            let keys = "\"ssh-privatekey\" (or id_rsa, id_ed25519, identity)";
            let (name, bytes) = found.ok_or_else(|| find(keys))?;
            Credential::SshKey(ssh_key::read(bytes).map_err(|flaw| refuse(name, flaw))?)
        }
        Transport::Https => Credential::Basic {
            username: user(line(USERNAME)?.ok_or_else(|| find("\"username\""))?)
                .map_err(|flaw| refuse(USERNAME, flaw))?,
            password: match line(TOKEN_KEYS[0])? {
                Some(password) => password,
                None => line(TOKEN_KEYS[1])?.ok_or_else(|| find("\"password\" or \"token\""))?,
            },
        },
    };
    let roots = filled(files, CA);
    if roots.is_some_and(|roots| !is_bundle(roots)) {
        return Err(refuse(CA, "holds no certificate; put certificates in PEM"));
    }
    let known_hosts = text(files, KNOWN_HOSTS).map_err(|flaw| refuse(KNOWN_HOSTS, flaw))?;
    // OpenSSH passes over what it cannot read, and then knows no host.
    if known_hosts
        .as_deref()
        .is_some_and(|text| known_hosts::parse(text).next().is_none())
    {
        let flaw = "has no line of the form HOST TYPE KEY; put what `ssh-keyscan HOST` prints";
        return Err(refuse(KNOWN_HOSTS, flaw));
    }
    let hosts = text(files, HOSTS).map_err(|flaw| refuse(HOSTS, flaw))?;
    Ok(GitSecret {
        credential,
        known_hosts,
        roots: roots.map(<[u8]>::to_vec),
        proxy: line(PROXY)?,
        hosts: hosts_of(&hosts.unwrap_or_default()).map_err(|flaw| refuse(HOSTS, flaw))?,
    })
}

fn filled<'a>(files: &'a BTreeMap<String, Vec<u8>>, key: &str) -> Option<&'a [u8]> {
    let bytes = files.get(key)?.as_slice();
    (!bytes.trim_ascii().is_empty()).then_some(bytes)
}

/// Secrets made by `echo` end with an unintended newline.
fn text(files: &BTreeMap<String, Vec<u8>>, key: &str) -> Result<Option<String>, &'static str> {
    let Some(bytes) = filled(files, key) else {
        return Ok(None);
    };
    match str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
        _ => Err("is no text; save it as UTF-8"),
    }
}

/// A user name, a password or a token: none has a second line, and a file that was pasted by mistake has.
fn line(files: &BTreeMap<String, Vec<u8>>, key: &str) -> Result<Option<String>, &'static str> {
    let text = text(files, key)?;
    if text.as_ref().is_some_and(|text| text.contains(char::is_control)) {
        return Err("has more than one line, or control characters; put the value alone");
    }
    Ok(text)
}

/// The colon ends the name where name and password are sent together.
fn user(name: String) -> Result<String, &'static str> {
    if name.contains(':') {
        return Err("has a colon; put the user's name alone, and the password into \"password\"");
    }
    Ok(name)
}

/// The entries of the key `hosts`: names or `NAME:PORT`, between spaces, commas or line breaks.
pub fn hosts_of(text: &str) -> Result<Vec<String>, &'static str> {
    let hosts = text.split(|c: char| c.is_whitespace() || c == ',');
    let hosts: Vec<_> = hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if hosts.iter().all(|host| host.chars().all(plain)) {
        Ok(hosts)
    } else {
        Err("has an entry that is no host; write HOST or HOST:PORT, no URL and no pattern")
    }
}

/// Whether `hosts` name `url`'s host: an entry without a port stands for every port.
///
/// The broker sends a token only to hosts that are named: otherwise, whoever may create a Polecat could send any secret of
/// the namespace to a host of their own.
pub fn names_host<'a>(url: &RepositoryUrl, mut hosts: impl Iterator<Item = &'a String>) -> bool {
    let port = url.port_or_default();
    hosts.any(|entry| {
        let entry = entry.to_ascii_lowercase();
        entry == url.host() || entry == format!("{}:{port}", url.host())
    })
}

#[cfg(test)]
mod refused;

#[cfg(test)]
mod tests {
    use super::refused::REFUSED;
    use super::ssh_key::sample;
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
        entries.iter().map(own).collect()
    }

    fn url(text: &str) -> RepositoryUrl {
        text.parse().unwrap()
    }

    /// As far as the table of bad secrets goes; a TLS library says it of real ones.
    fn is_pem(bytes: &[u8]) -> bool {
        bytes.starts_with(b"-----BEGIN CERTIFICATE-----") && !bytes.windows(5).any(|part| part == b"t0ken")
    }

    #[test]
    fn what_is_missing_is_named_with_secret_and_key() {
        let cases = [
            (
                "git@h:r",
                &[("username", "u"), ("token", "t")][..],
                "ssh-privatekey",
            ),
            ("git@h:r", &[("ssh-privatekey", " \n")], "ssh-privatekey"),
            ("https://h/r", &[("ssh-privatekey", "k")], "username"),
            ("https://h/r", &[("username", "u")], "\"password\" or \"token\""),
        ];
        for (repository, entries, key) in cases {
            let Err(error) = parse(&files(entries), &url(repository), "git-creds", is_pem) else {
                panic!("{repository} was satisfied by {entries:?}")
            };
            let error = error.to_string();
            assert!(error.contains("\"git-creds\"") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn the_keys_of_both_transports_are_read() {
        let key = sample();
        let entries = files(&[("identity", key.trim_end())]);
        let ssh = parse(&entries, &url("git@h:r"), "s", is_pem).unwrap_or_else(|e| panic!("{e}"));
        assert!(ssh.credential == Credential::SshKey(key.into_bytes()));
        let entries = [
            ("username", "u\n"),
            ("token", "t\n"),
            ("hosts", "a.example,b.example:8443\nc"),
        ];
        let https =
            parse(&files(&entries), &url("https://h/r"), "s", is_pem).unwrap_or_else(|e| panic!("{e}"));
        let (username, password) = ("u".to_owned(), "t".to_owned());
        assert!(https.credential == Credential::Basic { username, password });
        assert_eq!(https.hosts, ["a.example", "b.example:8443", "c"]);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_secret_key_and_remedy_and_not_shown() {
        let https = [("username", &b"u"[..]), ("token", b"t0ken")];
        let ssh = sample();
        let ssh = [("ssh-privatekey", ssh.as_bytes())];
        for (repository, key, value, remedy) in REFUSED {
            // The first key that exists counts, so that a bad one stands alone.
            let good: &[(&str, &[u8])] = match *key {
                "known_hosts" => &ssh,
                _ if repository.starts_with("git@") => &[],
                _ => &https,
            };
            let mut files: BTreeMap<_, _> = good
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
                .collect();
            files.insert((*key).to_owned(), value.to_vec());
            let Err(error) = parse(&files, &url(repository), "git-creds", is_pem) else {
                panic!("{key} was satisfied by {value:?}")
            };
            assert_eq!(error.reason(), Reason::SecretInvalid, "{error}");
            let error = error.to_string();
            for part in ["\"git-creds\"", &format!("{key:?}"), *remedy] {
                assert!(error.contains(part), "{part} not in {error}");
            }
            assert!(!error.contains("t0ken"), "{error}");
        }
    }

    #[test]
    fn plain_http_is_given_no_credential() {
        let entries = files(&[("username", "u"), ("password", "p")]);
        let secret = parse(&entries, &url("http://h/r"), "s", is_pem).unwrap_or_else(|e| panic!("{e}"));
        assert!(secret.credential == Credential::Nothing);
    }

    #[test]
    fn a_token_goes_to_listed_hosts_only() {
        let allowed = |repository: &str, entry: &str| names_host(&url(repository), [entry.to_owned()].iter());
        assert!(allowed("https://git.example/r", "git.example"));
        assert!(allowed("https://GIT.example:8443/r", "git.example"));
        assert!(allowed("https://git.example/r", "Git.Example:443"));
        assert!(!allowed("https://git.example:8443/r", "git.example:443"));
        assert!(!allowed("https://git.example.evil/r", "git.example"));
        assert!(!allowed("https://x.git.example/r", "git.example"));
        assert!(!names_host(&url("https://git.example/r"), [].iter()));
    }
}
