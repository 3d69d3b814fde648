//! `kubectl gt auth git`: makes the git secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap_complete::ArgValueCompleter;
use gastown_api::repository::{RepositoryUrl, Transport};

use super::confirm;
use super::secret::{Draft, WriteArgs};
use crate::cluster::Resource;
use crate::command::{CommandError, GIT_SECRET};
use crate::complete;
use crate::error::Error;
use crate::git_secret::{PUBLISHED, check_ssh_key};
use crate::host_key::{self, HostKey};
use crate::session::Session;
use crate::view::Rig;

/// Flags of `auth git`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("repository").args(["rig", "url"]).required(true))]
#[command(group = clap::ArgGroup::new("credential").args(["key", "token_from_env", "token_stdin"]).required(true))]
pub struct Args {
    /// The rig whose repository it is for.
    #[arg(long, add = ArgValueCompleter::new(complete::rigs))]
    rig: Option<String>,
    /// The repository that it is for, where there is no rig.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The file of a private SSH key without a passphrase.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The environment variable that holds a token for HTTPS.
    #[arg(long, value_name = "VARIABLE")]
    token_from_env: Option<String>,
    /// Read a token for HTTPS from standard input.
    #[arg(long)]
    token_stdin: bool,
    /// The user name that goes with the token; hosts that are known have their own default.
    #[arg(long)]
    username: Option<String>,
    /// More hosts that the token may be sent to.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// A file of known host keys, instead of asking the host for its keys.
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
    /// The fingerprint that one of the host's keys must have, such as SHA256:…; it answers the question.
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<String>,
    /// A certificate to trust for the host, as PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The secret's name.
    #[arg(long, visible_alias = "secret", default_value = GIT_SECRET)]
    name: String,
    /// Trust the host keys that are shown without being asked.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    write: WriteArgs,
}

impl Args {
    /// Makes the secret.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let url = match (&self.rig, &self.url) {
            (Some(rig), _) => {
                Rig::read(&cluster.get_named(Resource::RIGS, rig).await?)
                    .spec
                    .git_url
            }
            (None, url) => url.clone().unwrap_or_default(),
        };
        let url: RepositoryUrl = url
            .parse()
            .map_err(|error: gastown_api::repository::ParseRepository| {
                CommandError::Invalid(error.to_string())
            })?;
        let mut data = self.credential(&url)?;
        if url.transport() == Transport::Ssh
            && let Some(known) = self.host_keys(session, &url).await?
        {
            data.insert("known_hosts", known.into_bytes());
        }
        if let Some(path) = &self.ca {
            data.insert("ca.crt", certificate(path)?);
        }
        let draft = Draft {
            name: &self.name,
            data,
            annotations: BTreeMap::new(),
        };
        let purpose = format!(" for {}", url.host());
        self.write.write(session, &cluster, &draft, &purpose).await
    }

    fn credential(&self, url: &RepositoryUrl) -> Result<BTreeMap<&'static str, Vec<u8>>, CommandError> {
        let mut data = BTreeMap::new();
        match (&self.key, url.transport()) {
            (Some(path), Transport::Ssh) => {
                let key = read(path)?;
                let path = path.to_string_lossy();
                check_ssh_key(&key)
                    .map_err(|why| CommandError::Invalid(format!("the key {path:?} {why}")))?;
                data.insert("ssh-privatekey", key);
            }
            (Some(_), _) => {
                return Err(CommandError::Usage(format!(
                    "{url} is reached over HTTPS, which takes no SSH key; use --token-from-env or --token-stdin, or give the rig the repository's SSH address"
                )));
            }
            (None, Transport::Ssh) => {
                return Err(CommandError::Usage(format!(
                    "{url} is reached over SSH, which takes no token; use --key FILE, or give the rig the repository's HTTPS address"
                )));
            }
            (None, Transport::Http) => {
                return Err(CommandError::Usage(format!(
                    "{url} is reached without TLS, and no credential is ever sent so; use its https address"
                )));
            }
            (None, Transport::Https) => {
                data.insert("token", self.token()?.into_bytes());
                data.insert("username", self.username(url).into_bytes());
            }
        }
        let mut hosts = vec![url.host().to_owned()];
        hosts.extend(self.host.iter().map(|host| host.to_ascii_lowercase()));
        hosts.dedup();
        data.insert("hosts", hosts.join("\n").into_bytes());
        Ok(data)
    }

    /// The token; it never stands on the command line, where every process of the machine could read it.
    fn token(&self) -> Result<String, CommandError> {
        let (token, source) = if let Some(variable) = &self.token_from_env {
            (
                std::env::var(variable).unwrap_or_default(),
                format!("the environment variable {variable:?}"),
            )
        } else {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut std::io::stdin(), &mut text).map_err(|source| {
                CommandError::ReadFile {
                    path: "standard input".to_owned(),
                    source,
                }
            })?;
            (text, "standard input".to_owned())
        };
        let token = token.trim();
        if token.is_empty() || token.chars().any(char::is_whitespace) {
            let why = format!(
                "{source} holds no token (it is empty, or has more than one word); set it and repeat"
            );
            return Err(CommandError::Invalid(why));
        }
        Ok(token.to_owned())
    }

    fn username(&self, url: &RepositoryUrl) -> String {
        let of_host = match url.host() {
            "github.com" => "x-access-token",
            "gitlab.com" => "oauth2",
            "bitbucket.org" => "x-token-auth",
            _ => "git",
        };
        self.username.clone().unwrap_or_else(|| of_host.to_owned())
    }

    /// The lines to pin; none: the chart ships the keys of this host.
    async fn host_keys(
        &self,
        session: &Session,
        url: &RepositoryUrl,
    ) -> Result<Option<String>, CommandError> {
        if let Some(path) = &self.known_hosts {
            let text = String::from_utf8_lossy(&read(path)?).into_owned();
            if host_key::parse(&text).is_empty() {
                return Err(CommandError::Invalid(format!(
                    "{:?} holds no host key; make it with `ssh-keyscan {} > FILE`, and compare the fingerprints",
                    path.to_string_lossy(),
                    url.host()
                )));
            }
            return Ok(Some(text));
        }
        if PUBLISHED.contains(&url.host()) && self.fingerprint.is_none() {
            session.talk.note(&format!(
                "host keys of {}: the published ones, which the operator ships",
                url.host()
            ));
            return Ok(None);
        }
        let keys = host_key::scan(url.host(), url.port().unwrap_or(22)).await?;
        let keys = self.agree(session, url, keys)?;
        let mut text: String = keys
            .iter()
            .map(|key| key.line.as_str())
            .collect::<Vec<_>>()
            .join("\n");
        text.push('\n');
        Ok(Some(text))
    }

    /// What a person or `--fingerprint` vouches for.
    fn agree(
        &self,
        session: &Session,
        url: &RepositoryUrl,
        keys: Vec<HostKey>,
    ) -> Result<Vec<HostKey>, CommandError> {
        if let Some(expected) = &self.fingerprint {
            let matching: Vec<_> = keys
                .iter()
                .filter(|key| key.fingerprint == *expected)
                .cloned()
                .collect();
            return if matching.is_empty() {
                Err(CommandError::Invalid(format!(
                    "{:?} shows no key with the fingerprint {expected:?} but {}: someone may sit between; ask the host's owner",
                    url.host(),
                    fingerprints(&keys)
                )))
            } else {
                Ok(matching)
            };
        }
        session.talk.note(&format!(
            "host keys of {}, to compare with what its owner publishes:",
            url.host()
        ));
        for key in &keys {
            session
                .talk
                .note(&format!("  {:<20} {}", key.kind, key.fingerprint));
        }
        if self.yes {
            return Ok(keys);
        }
        if !confirm::can_ask() {
            return Err(CommandError::Usage(format!(
                "nobody can be asked whether these are the keys of {:?}; repeat with --fingerprint SHA256:… of one of them, or with --yes",
                url.host()
            )));
        }
        match confirm::ask("trust these keys?") {
            Ok(true) => Ok(keys),
            Ok(false) | Err(_) => Err(CommandError::Refused(
                "the host keys are not trusted, and nothing was changed; pass the right ones with --known-hosts FILE".to_owned(),
            )),
        }
    }
}

fn fingerprints(keys: &[HostKey]) -> String {
    let shown: Vec<_> = keys
        .iter()
        .map(|key| format!("{} {}", key.kind, key.fingerprint))
        .collect();
    shown.join(", ")
}

fn certificate(path: &Path) -> Result<Vec<u8>, CommandError> {
    let bytes = read(path)?;
    if bytes
        .windows(27)
        .any(|part| part == b"-----BEGIN CERTIFICATE-----")
    {
        Ok(bytes)
    } else {
        let path = path.to_string_lossy();
        let why =
            format!("{path:?} holds no certificate; --ca takes a file with -----BEGIN CERTIFICATE-----");
        Err(CommandError::Invalid(why))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).map_err(|source| CommandError::ReadFile {
        path: path.to_string_lossy().into_owned(),
        source,
    })
}
