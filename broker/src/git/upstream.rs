//! The remote repository: listing, fetching and pushing over SSH or HTTP(S), with the credential read anew for each
//! operation, so that a renewed secret counts at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use gastown_api::git::Sha;
use gastown_api::known_hosts;
use gastown_api::reason::Reason;
use gastown_api::repository::Transport;
use gastown_api::text::chain;
use gastown_api::work_order::{ProxyOrder, RemoteOrder};
use tokio::process::Command;

use super::child::{Bounds, Finished, Git, run};
use super::classify::{Act, Failure, classify};
use super::gateway::{Armed, Gateway, OpenGateway};
use super::secret::{self, Credential, GitSecret};
use super::ssh;
use polecat_common::limits;

/// git writes the refs that end with a name that is asked for; some mirrors keep thousands of those.
const LIST: Bounds = Bounds {
    stdout: 4 * 1024 * 1024,
    time: limits::LIST,
};
const FETCH: Bounds = Bounds {
    stdout: 64 * 1024,
    time: Duration::from_mins(30),
};
const PUSH: Bounds = Bounds {
    stdout: 64 * 1024,
    time: limits::PUSH,
};

/// Where the broker finds what it needs to reach the remote.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The mounted git secret.
    pub secret: PathBuf,
    /// The mounted ConfigMap with `known_hosts`.
    pub known_hosts: PathBuf,
    /// A folder that only the broker sees: the key file and ssh's configuration are put there.
    pub private: PathBuf,
    /// The system's trusted certificates as PEM.
    pub system_roots: PathBuf,
    /// The proxy for HTTPS.
    pub proxy: Option<ProxyOrder>,
}

/// The remote repository of a work order.
pub struct Upstream {
    remote: RemoteOrder,
    paths: Paths,
    push: Bounds,
    /// One operation at a time, through the gateway where the remote is reached by HTTP(S).
    turn: tokio::sync::Mutex<Option<Gateway>>,
}

/// How one operation reaches the remote; the gateway is armed for as long as this lives.
struct Route<'a> {
    url: String,
    env: Vec<(&'static str, String)>,
    armed: Option<Armed<'a>>,
}

impl Upstream {
    /// Connects to nothing yet.
    pub async fn new(remote: RemoteOrder, paths: Paths) -> Result<Self, OpenGateway> {
        let gateway = match remote.repository.transport() {
            Transport::Ssh => None,
            Transport::Https | Transport::Http => Some(Gateway::open(&remote.repository).await?),
        };
        Ok(Self {
            remote,
            paths,
            push: PUSH,
            turn: tokio::sync::Mutex::new(gateway),
        })
    }

    /// The same, with another limit for a push.
    #[cfg(test)]
    pub fn with_push_within(mut self, time: Duration) -> Self {
        self.push.time = time;
        self
    }

    /// All that the credential and the host's keys are read from.
    pub fn secret_files(&self) -> BTreeMap<String, Vec<u8>> {
        let map = secret::read_dir(&self.paths.known_hosts);
        let map = map
            .into_iter()
            .map(|(name, bytes)| (format!("map/{name}"), bytes));
        map.chain(secret::read_dir(&self.paths.secret)).collect()
    }

    /// The remote's refs of these exact names.
    pub async fn list(&self, git: &Git, names: &[&str]) -> Result<BTreeMap<String, Sha>, Failure> {
        self.list_where(git, names, |name| names.contains(&name)).await
    }

    /// The remote's refs that fit one of `patterns` and are `wanted`: a pattern also fits refs that end with it.
    pub async fn list_where(
        &self,
        git: &Git,
        patterns: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Sha>, Failure> {
        let args = ["ls-remote", "--refs", "--quiet"];
        let finished = self.call(git, &args, patterns, LIST, Act::Read).await?;
        let text = String::from_utf8_lossy(&finished.stdout);
        let refs = text.lines().filter_map(|line| line.split_once('\t'));
        let refs = refs.filter(|(_, name)| wanted(name));
        Ok(refs
            .filter_map(|(sha, name)| Some((name.to_owned(), sha.parse().ok()?)))
            .collect())
    }

    /// Fetches `refspecs` with full history, and the tags on it.
    pub async fn fetch(&self, git: &Git, refspecs: &[&str]) -> Result<(), Failure> {
        let args = [
            "fetch",
            "--quiet",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
        ];
        self.call(git, &args, refspecs, FETCH, Act::Read).await?;
        Ok(())
    }

    /// Moves the remote's `name` to `sha`, never by force.
    pub async fn push(&self, git: &Git, sha: &Sha, name: &str) -> Result<(), Failure> {
        let refspec = format!("{sha}:{name}");
        let args = [
            "push",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--no-signed",
        ];
        self.call(git, &args, &[&refspec], self.push, Act::Write).await?;
        Ok(())
    }

    /// Whether the credential may push: asks for all that a push of `sha` to `name` asks for, and sends nothing. The host's
    /// hooks and its rules about single branches are not asked.
    pub async fn may_push(&self, git: &Git, sha: &Sha, name: &str) -> Result<(), Failure> {
        let refspec = format!("{sha}:{name}");
        let args = ["push", "--dry-run", "--porcelain", "--no-verify", "--no-signed"];
        let asked = self.call(git, &args, &[&refspec], LIST, Act::Write).await;
        asked.map(drop).map_err(|failure| {
            let message = format!("no push is possible: {}", failure.message);
            Failure::new(failure.reason, message)
        })
    }

    /// Deletes the remote's `name` if it still is at `sha`.
    pub async fn delete(&self, git: &Git, name: &str, sha: &Sha) -> Result<(), Failure> {
        let lease = format!("--force-with-lease={name}:{sha}");
        let refspec = format!(":{name}");
        let args = ["push", "--porcelain", "--no-verify", &lease];
        self.call(git, &args, &[&refspec], LIST, Act::Write).await?;
        Ok(())
    }

    async fn call(
        &self,
        git: &Git,
        args: &[&str],
        refs: &[&str],
        bounds: Bounds,
        act: Act,
    ) -> Result<Finished, Failure> {
        let mut gateway = self.turn.lock().await;
        let route = self.route(git, gateway.as_mut())?;
        let target = ["--", &route.url];
        let mut command: Command = git.command(args.iter().chain(&target).chain(refs));
        command.envs(route.env);
        if act == Act::Read {
            // The remote's own objects may be larger than what a push may bring.
            command.env("GIT_ALLOC_LIMIT", "512m");
        }
        let outcome = run(command, b"", bounds).await;
        let seen = route.armed.and_then(Armed::disarm);
        let host = self.remote.repository.host();
        match outcome {
            Ok(finished) if finished.status.success() => Ok(finished),
            Ok(finished) => {
                let words = format!(
                    "{}\n{}",
                    finished.stderr,
                    String::from_utf8_lossy(&finished.stdout)
                );
                Err(classify(act, &words, seen.as_ref(), host))
            }
            Err(error) => Err(Failure::new(
                Reason::GitHostUnreachable,
                format!("{host}: {error}"),
            )),
        }
    }

    fn route<'a>(&self, git: &Git, gateway: Option<&'a mut Gateway>) -> Result<Route<'a>, Failure> {
        let files = secret::read_dir(&self.paths.secret);
        let secret = secret::parse(&files, &self.remote.repository, &self.remote.secret)
            .map_err(|error| Failure::new(error.reason(), error.to_string()))?;
        match gateway {
            Some(gateway) => self.https_route(gateway, &secret),
            None => self.ssh_route(git, &secret),
        }
    }

    fn https_route<'a>(&self, gateway: &'a mut Gateway, secret: &GitSecret) -> Result<Route<'a>, Failure> {
        let url = &self.remote.repository;
        let mut hosts = secret.hosts.iter().chain(&self.remote.trusted_hosts);
        if secret.credential != Credential::Nothing && !secret::names_host(url, &mut hosts) {
            return Err(Failure::new(
                Reason::GitHostNotAllowed,
                format!(
                    "secret {:?} may not be sent to {:?}; list the host in the secret's key \"hosts\" or create the Rig of this repository",
                    self.remote.secret,
                    url.host()
                ),
            ));
        }
        let system = std::fs::read(&self.paths.system_roots).unwrap_or_default();
        let armed = gateway
            .arm(secret, &system, self.paths.proxy.as_ref())
            .map_err(|error| Failure::new(Reason::GitHostUnreachable, chain(&error)))?;
        // The gate stands in the environment, which no other container can read, and not in an argument.
        let config = [
            ("http.extraHeader", armed.header()),
            ("http.followRedirects", "false".to_owned()),
            ("http.proxy", String::new()),
            ("credential.helper", String::new()),
        ];
        let mut env = vec![
            ("GIT_ALLOW_PROTOCOL", "http".to_owned()),
            ("GIT_CONFIG_COUNT", config.len().to_string()),
        ];
        let keys = [
            ("GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"),
            ("GIT_CONFIG_KEY_1", "GIT_CONFIG_VALUE_1"),
            ("GIT_CONFIG_KEY_2", "GIT_CONFIG_VALUE_2"),
            ("GIT_CONFIG_KEY_3", "GIT_CONFIG_VALUE_3"),
        ];
        for ((key, value), (setting, text)) in keys.into_iter().zip(config) {
            env.push((key, setting.to_owned()));
            env.push((value, text));
        }
        Ok(Route {
            url: armed.url(),
            env,
            armed: Some(armed),
        })
    }

    fn ssh_route(&self, git: &Git, secret: &GitSecret) -> Result<Route<'static>, Failure> {
        let Credential::SshKey(key) = &secret.credential else {
            return Err(Failure::new(
                Reason::SecretMissing,
                "the git secret has no SSH key",
            ));
        };
        let map = secret::read_dir(&self.paths.known_hosts);
        let map = map.get("known_hosts").map(|bytes| String::from_utf8_lossy(bytes));
        let sources = [
            secret.known_hosts.as_deref(),
            map.as_deref(),
            Some(&self.remote.known_hosts),
        ];
        let known = known_hosts::choose(&self.remote.repository, sources.into_iter().flatten());
        let command = ssh::prepare(&self.paths.private, &git.home, key, &known)
            .map_err(|error| Failure::new(Reason::GitHostUnreachable, chain(&error)))?;
        Ok(Route {
            url: self.remote.repository.as_str().to_owned(),
            env: vec![
                ("GIT_ALLOW_PROTOCOL", "ssh".to_owned()),
                ("GIT_SSH_COMMAND", command),
                ("GIT_SSH_VARIANT", "ssh".to_owned()),
            ],
            armed: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_operation_that_is_given_up_leaves_the_gateway_closed() {
        drop(gastown_crypto::install());
        let dir = tempfile::tempdir().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut remote = crate::fixture::order().role.git.remote;
        remote.repository = format!("http://{}/r.git", silent.local_addr().unwrap())
            .parse()
            .unwrap();
        remote.trusted_hosts = vec!["127.0.0.1".to_owned()];
        let secret = dir.path().join("secret");
        std::fs::create_dir(&secret).unwrap();
        for (key, value) in [("username", "u"), ("password", "p")] {
            std::fs::write(secret.join(key), value).unwrap();
        }
        let paths = Paths {
            secret,
            known_hosts: dir.path().join("known-hosts"),
            private: dir.path().join("private"),
            system_roots: dir.path().join("roots"),
            proxy: None,
        };
        let upstream = Upstream::new(remote, paths).await.unwrap();
        let git = Git {
            repo: dir.path().to_owned(),
            home: dir.path().to_owned(),
            quarantine: None,
        };
        let listing = upstream.list(&git, &["refs/heads/main"]);
        tokio::select! {
            listed = listing => panic!("{listed:?}"),
            connected = silent.accept() => drop(connected),
        }
        assert!(!upstream.turn.lock().await.as_ref().unwrap().is_armed());
    }
}
