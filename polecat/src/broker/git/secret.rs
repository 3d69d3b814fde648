//! The git secret as the kubelet mounts it, one file a key, and what may be done with it.

use std::collections::BTreeMap;
use std::path::Path;

use gastown_api::reason::Reason;
use gastown_api::repository::{RepositoryUrl, Transport};

use super::key;
use crate::broker::tls;

/// Kubernetes takes no secret larger than this.
const MAX_FILE: u64 = 1024 * 1024;

/// Keys that hold an SSH private key, the first that exists counts.
const SSH_KEYS: [&str; 4] = ["ssh-privatekey", "id_rsa", "id_ed25519", "identity"];

/// What the secret holds for one transport.
#[derive(Clone, PartialEq, Eq)]
pub struct GitSecret {
    /// What proves who we are.
    pub credential: Credential,
    /// Host keys, in the form of `known_hosts(5)`.
    pub known_hosts: Option<String>,
    /// Certificates to trust besides the system's, as PEM.
    pub roots: Option<Vec<u8>>,
    /// Hosts that may be sent the token.
    pub hosts: Vec<String>,
    /// What the proxy wants to see, `USER:PASSWORD`.
    pub proxy: Option<String>,
}

/// What proves who we are. It implements no `Debug`, so that it cannot be logged.
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

/// Why the secret is of no use yet, in words that name it and show nothing of it.
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
        /// What is wrong, with the remedy.
        flaw: &'static str,
    },
}

impl ReadSecret {
    /// For the object's status.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Find { .. } => Reason::SecretMissing,
            Self::Use { .. } => Reason::SecretInvalid,
        }
    }
}

/// The files of a mounted secret or ConfigMap; an optional volume that is not filled has none.
///
/// What cannot be read is as good as missing for the object's status; the log says why.
pub fn read_dir(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let entries = there(dir, std::fs::read_dir(dir)).into_iter().flatten();
    for entry in entries.filter_map(|entry| there(dir, entry)) {
        let name = entry.file_name().to_string_lossy().into_owned();
        // The kubelet's own links start with two dots.
        if name.starts_with("..") {
            continue;
        }
        let path = entry.path();
        if let Some(bytes) = there(&path, read_file(&path)).flatten() {
            files.insert(name, bytes);
        }
    }
    files
}

/// What was read, if it could be. That it is not there is usual: the kubelet swaps all files at once.
fn there<T>(path: &Path, read: std::io::Result<T>) -> Option<T> {
    read.inspect_err(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            tracing::warn!(path = %path.display(), %error, "failed to read a mounted secret");
        }
    })
    .ok()
}

/// The bytes of a file that Kubernetes can have put there; none of anything else.
fn read_file(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let meta = std::fs::metadata(path)?;
    if meta.is_file() && meta.len() <= MAX_FILE {
        std::fs::read(path).map(Some)
    } else {
        Ok(None)
    }
}

/// What `files` hold for `url`'s transport; `secret` is the name for messages.
pub fn parse(
    files: &BTreeMap<String, Vec<u8>>,
    url: &RepositoryUrl,
    secret: &str,
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
            Credential::SshKey(key::read(bytes).map_err(|flaw| refuse(name, flaw))?)
        }
        Transport::Https => Credential::Basic {
            username: user(line("username")?.ok_or_else(|| find("\"username\""))?)
                .map_err(|flaw| refuse("username", flaw))?,
            password: match line("password")? {
                Some(password) => password,
                None => line("token")?.ok_or_else(|| find("\"password\" or \"token\""))?,
            },
        },
    };
    let roots = filled(files, "ca.crt");
    if roots.is_some_and(|roots| tls::roots(b"", Some(roots)).is_err()) {
        return Err(refuse("ca.crt", "holds no certificate; put certificates in PEM"));
    }
    let known_hosts = text(files, "known_hosts").map_err(|flaw| refuse("known_hosts", flaw))?;
    known_hosts
        .as_deref()
        .map_or(Ok(()), has_host_key)
        .map_err(|flaw| refuse("known_hosts", flaw))?;
    let hosts = text(files, "hosts").map_err(|flaw| refuse("hosts", flaw))?;
    Ok(GitSecret {
        credential,
        known_hosts,
        roots: roots.map(<[u8]>::to_vec),
        proxy: line("proxy")?,
        hosts: hosts_of(&hosts.unwrap_or_default()).map_err(|flaw| refuse("hosts", flaw))?,
    })
}

fn filled<'a>(files: &'a BTreeMap<String, Vec<u8>>, key: &str) -> Option<&'a [u8]> {
    let bytes = files.get(key)?.as_slice();
    (!bytes.trim_ascii().is_empty()).then_some(bytes)
}

/// Secrets made by `echo` end with a newline that nobody meant.
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

/// OpenSSH passes over what it cannot read, and then knows no host.
fn has_host_key(text: &str) -> Result<(), &'static str> {
    let is_key = |line: &str| {
        let mut fields = line.split_whitespace().filter(|field| !field.starts_with('@'));
        let (Some(hosts), Some(kind), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
            return false;
        };
        let kinds = ["ssh-", "ecdsa-sha2-", "sk-"];
        !hosts.starts_with('#')
            && kinds.iter().any(|begin| kind.starts_with(begin))
            && key.starts_with("AAAA")
    };
    if text.lines().any(is_key) {
        Ok(())
    } else {
        Err("has no line of the form HOST TYPE KEY; put what `ssh-keyscan HOST` prints")
    }
}

/// Names or `NAME:PORT`, between spaces, commas or line breaks.
fn hosts_of(text: &str) -> Result<Vec<String>, &'static str> {
    let hosts = text.split(|c: char| c.is_whitespace() || c == ',');
    let hosts: Vec<_> = hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if hosts.iter().all(|host| host.chars().all(plain)) {
        Ok(hosts)
    } else {
        Err("has an entry that is no host; write HOST or HOST:PORT, no URL and no pattern")
    }
}

/// The host keys that count: the secret's, else the ConfigMap's, else the work order's.
pub fn known_hosts<'a>(secret: Option<&'a str>, config_map: Option<&'a str>, order: &'a str) -> &'a str {
    let filled = |text: &&str| !text.trim().is_empty();
    secret
        .filter(filled)
        .or_else(|| config_map.filter(filled))
        .unwrap_or(order)
}

/// Whether the token may be sent to `url`'s host: an entry without a port stands for every port.
///
/// Without this, whoever may create a Polecat could send any secret of the namespace to a host of their own.
pub fn may_send_token<'a>(url: &RepositoryUrl, mut hosts: impl Iterator<Item = &'a String>) -> bool {
    let port = url.port().unwrap_or(443);
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
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
        entries.iter().map(own).collect()
    }

    fn url(text: &str) -> RepositoryUrl {
        text.parse().unwrap()
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
            let Err(error) = parse(&files(entries), &url(repository), "git-creds") else {
                panic!("{repository} was satisfied by {entries:?}")
            };
            let error = error.to_string();
            assert!(error.contains("\"git-creds\"") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn the_keys_of_both_transports_are_read() {
        let key = key::sample();
        let entries = files(&[("identity", key.trim_end())]);
        let ssh = parse(&entries, &url("git@h:r"), "s").unwrap_or_else(|e| panic!("{e}"));
        assert!(ssh.credential == Credential::SshKey(key.into_bytes()));
        let entries = [
            ("username", "u\n"),
            ("token", "t\n"),
            ("hosts", "a.example,b.example:8443\nc"),
        ];
        let https = parse(&files(&entries), &url("https://h/r"), "s").unwrap_or_else(|e| panic!("{e}"));
        let (username, password) = ("u".to_owned(), "t".to_owned());
        assert!(https.credential == Credential::Basic { username, password });
        assert_eq!(https.hosts, ["a.example", "b.example:8443", "c"]);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_secret_key_and_remedy_and_not_shown() {
        let https = [("username", &b"u"[..]), ("token", b"t0ken")];
        let ssh = key::sample();
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
            let Err(error) = parse(&files, &url(repository), "git-creds") else {
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
        let secret = parse(&entries, &url("http://h/r"), "s").unwrap_or_else(|e| panic!("{e}"));
        assert!(secret.credential == Credential::Nothing);
    }

    #[test]
    fn the_secrets_host_keys_come_before_the_config_maps_and_the_orders() {
        assert_eq!(known_hosts(Some("s"), Some("c"), "o"), "s");
        assert_eq!(known_hosts(Some(" \n"), Some("c"), "o"), "c");
        assert_eq!(known_hosts(None, None, "o"), "o");
    }

    #[test]
    fn a_token_goes_to_listed_hosts_only() {
        let allowed =
            |repository: &str, entry: &str| may_send_token(&url(repository), [entry.to_owned()].iter());
        assert!(allowed("https://git.example/r", "git.example"));
        assert!(allowed("https://GIT.example:8443/r", "git.example"));
        assert!(allowed("https://git.example/r", "Git.Example:443"));
        assert!(!allowed("https://git.example:8443/r", "git.example:443"));
        assert!(!allowed("https://git.example.evil/r", "git.example"));
        assert!(!allowed("https://x.git.example/r", "git.example"));
        assert!(!may_send_token(&url("https://git.example/r"), [].iter()));
    }

    #[test]
    fn the_kubelets_links_are_no_keys() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("..2026_01_01");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("token"), "t").unwrap();
        std::os::unix::fs::symlink("..2026_01_01", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/token", dir.path().join("token")).unwrap();
        assert_eq!(read_dir(dir.path()), files(&[("token", "t")]));
        assert!(read_dir(&dir.path().join("absent")).is_empty());
    }
}
