//! `kubectl gt auth git`: makes the git secret, or adds to it.

mod host_keys;
mod merge;

use std::path::{Path, PathBuf};

use clap_complete::ArgValueCompleter;
use gastown_api::git_secret::{
    CA, HOSTS, KNOWN_HOSTS, SSH_KEYS, TOKEN_KEYS, USERNAME, hosts_of, read_ssh_key,
};
use gastown_api::repository::{RepositoryUrl, Transport};
use serde_json::json;

use self::merge::{Other, merged, needed_by};
use super::secret::{Draft, WriteArgs};
use super::variable;
use crate::cluster::{Cluster, Resource, Selection};
use crate::command::GIT_SECRET;
use crate::complete;
use crate::error::{CommandError, Error};
use crate::secret::Data;
use crate::session::Session;
use crate::view::Rig;

/// Flags of `auth git`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("repository").args(["rig", "url"]).required(true))]
#[command(group = clap::ArgGroup::new("credential").args(["key", "token_from_env", "token_stdin"]).required(true))]
pub struct Args {
    /// The rig whose repository the secret is for.
    #[arg(long, add = ArgValueCompleter::new(complete::rigs))]
    rig: Option<String>,
    /// The repository, if there is no rig.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A file with a private SSH key without a passphrase.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Read a token for HTTPS from this environment variable.
    #[arg(long, value_name = "VARIABLE")]
    token_from_env: Option<String>,
    /// Read a token for HTTPS from standard input.
    #[arg(long)]
    token_stdin: bool,
    /// The user name for the token; well-known hosts have a default.
    #[arg(long)]
    username: Option<String>,
    /// Another host that the token may be sent to; can be repeated.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Take the host's keys from this `known_hosts` file, instead of asking the host.
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
    /// The fingerprint that one of the host's keys must have, such as SHA256:…; you are then not asked to confirm it.
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<String>,
    /// A CA certificate file (PEM) to trust for the host.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The secret's name; by default the rig's or git-creds, but git-creds-RIG if other rigs need the credential there.
    #[arg(long, visible_alias = "secret", value_name = "SECRET")]
    name: Option<String>,
    /// Replace the secret's credential even if other rigs or hosts need it.
    #[arg(long)]
    replace: bool,
    /// Trust the host keys shown, without asking.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    write: WriteArgs,
}

impl Args {
    /// Makes the secret, or adds to it.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let rig = match &self.rig {
            Some(rig) => Some(Rig::read(&cluster.get_named(Resource::RIGS, rig).await?)),
            None => None,
        };
        let url = match &rig {
            Some(rig) => &rig.spec.git_url,
            None => self.url.as_deref().unwrap_or_default(),
        };
        let url: RepositoryUrl = url
            .parse()
            .map_err(|error: gastown_api::repository::ParseRepository| {
                CommandError::Invalid(error.to_string())
            })?;
        let mut new = self.credential(&url)?;
        if url.transport() == Transport::Ssh
            && let Some(known) = self.host_keys(session, &url).await?
        {
            new.insert(KNOWN_HOSTS.to_owned(), known.into_bytes());
        }
        if let Some(path) = &self.ca {
            new.insert(CA.to_owned(), certificate(path)?);
        }
        let draft = self.draft(session, &cluster, rig.as_ref(), &url, &new).await?;
        let purpose = format!(" for {}", url.host());
        self.write.write(session, &cluster, &draft, &purpose).await?;
        match rig {
            Some(rig) => self.tell_rig(session, &cluster, &rig, &draft.name).await,
            None => Ok(()),
        }
    }

    /// What is written, and to which secret: one whose credential nobody else needs.
    async fn draft(
        &self,
        session: &Session,
        cluster: &Cluster,
        rig: Option<&Rig>,
        url: &RepositoryUrl,
        new: &Data,
    ) -> Result<Draft, Error> {
        let of_rig = rig.and_then(Rig::git_secret).unwrap_or(GIT_SECRET);
        let mut name = self.name.clone().unwrap_or_else(|| of_rig.to_owned());
        loop {
            let existing = self.write.existing(session, cluster, &name).await?;
            let needed = if self.replace || existing.data.is_empty() {
                Vec::new()
            } else {
                let others = self.others(cluster, &name).await?;
                needed_by(&existing.data, new, url, &others)
            };
            if needed.is_empty() {
                let data = merged(&existing.data, new, url);
                // The broker would park every pod with these words.
                crate::git_secret::read(&data, url, &name)
                    .map_err(|error| CommandError::Invalid(error.to_string()))?;
                return Ok(Draft {
                    name,
                    existing,
                    data,
                    ..Draft::default()
                });
            }
            let needed = needed.join(", ");
            let own = rig.map(|rig| format!("{GIT_SECRET}-{}", rig.metadata.name));
            match own.filter(|own| self.name.is_none() && *own != name) {
                Some(own) => {
                    session.reporter.note(&format!(
                        "secret {name:?} holds another credential, needed by {needed}: this one goes into secret {own:?}"
                    ));
                    name = own;
                }
                None => {
                    return Err(CommandError::Refused(format!(
                        "secret {name:?} holds another credential, needed by {needed}; choose another secret with --name, or replace it for all with --replace"
                    ))
                    .into());
                }
            }
        }
    }

    /// The other rigs whose polecats use the secret.
    async fn others(&self, cluster: &Cluster, secret: &str) -> Result<Vec<Other>, Error> {
        let mut others = Vec::new();
        cluster
            .each_page(Resource::RIGS, &Selection::default(), |page| {
                let rigs = page.items.iter().map(Rig::read).filter(|rig| {
                    rig.git_secret().unwrap_or(GIT_SECRET) == secret
                        && self.rig.as_deref() != Some(rig.metadata.name.as_str())
                });
                others.extend(rigs.filter_map(|rig| {
                    Some(Other {
                        url: rig.spec.git_url.parse().ok()?,
                        rig: rig.metadata.name,
                    })
                }));
                Ok::<_, Error>(())
            })
            .await?;
        Ok(others)
    }

    /// Has the rig's polecats use the secret. A name that the user chose may be for single polecats: then it is only said.
    async fn tell_rig(
        &self,
        session: &Session,
        cluster: &Cluster,
        rig: &Rig,
        secret: &str,
    ) -> Result<(), Error> {
        let name = &rig.metadata.name;
        if rig.git_secret().unwrap_or(GIT_SECRET) == secret {
            return Ok(());
        }
        let patch = json!({"spec": {"gitSecretRef": {"name": secret}}});
        if self.name.is_some() {
            session.reporter.note(&format!(
                "rig {name:?} uses another secret; to change that: kubectl patch rig {name} --type=merge -p '{patch}'"
            ));
            return Ok(());
        }
        if !self.write.dry_run.is_client() {
            cluster
                .merge(Resource::RIGS, name, &patch, self.write.dry_run.mode())
                .await?;
        }
        let verb = if self.write.dry_run.is_on() {
            "would use"
        } else {
            "now uses"
        };
        session
            .reporter
            .note(&format!("rig {name:?} {verb} secret {secret:?}"));
        Ok(())
    }

    fn credential(&self, url: &RepositoryUrl) -> Result<Data, CommandError> {
        let mut data = Data::new();
        match (&self.key, url.transport()) {
            (Some(path), Transport::Ssh) => {
                let key = read(path)?;
                let path = path.to_string_lossy();
                let key = read_ssh_key(&key)
                    .map_err(|why| CommandError::Invalid(format!("the key {path:?} {why}")))?;
                data.insert(SSH_KEYS[0].to_owned(), key);
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
                data.insert(TOKEN_KEYS[1].to_owned(), self.token()?.into_bytes());
                data.insert(USERNAME.to_owned(), self.username(url).into_bytes());
            }
        }
        let mut hosts = vec![url.host().to_owned()];
        hosts.extend(self.host.iter().map(|host| host.to_ascii_lowercase()));
        hosts.dedup();
        let hosts = hosts.join("\n");
        hosts_of(&hosts).map_err(|flaw| CommandError::Usage(format!("--host {flaw}")))?;
        data.insert(HOSTS.to_owned(), hosts.into_bytes());
        Ok(data)
    }

    /// The token; it never stands on the command line, where every process of the machine could read it.
    fn token(&self) -> Result<String, CommandError> {
        let (token, source) = if let Some(name) = &self.token_from_env {
            (
                variable::value(name, "a token", variable::environment)?,
                format!("the environment variable {name:?}"),
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
}

fn certificate(path: &Path) -> Result<Vec<u8>, CommandError> {
    let bytes = read(path)?;
    if gastown_crypto::roots(b"", Some(&bytes)).is_ok() {
        return Ok(bytes);
    }
    let path = path.to_string_lossy();
    Err(CommandError::Invalid(format!(
        "{path:?} holds no certificate that can be trusted; --ca takes certificates in PEM (-----BEGIN CERTIFICATE-----)"
    )))
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).map_err(|source| CommandError::ReadFile {
        path: path.to_string_lossy().into_owned(),
        source,
    })
}
