//! Real git against a real remote through the broker.

mod attack;
mod delivery;
mod remote;
mod repair;
mod reread;
mod signs;
mod sshd;
mod start;
mod transport;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gastown_api::evidence::Evidence;
use gastown_api::git::Sha;
use gastown_api::work_order::WorkOrder;
use tokio::net::TcpListener;

use super::{Git, Host, Names, Paths, Repository, Upstream};
use crate::fixture;
use crate::record::Record;
use crate::serve::serve;
use remote::Remote;

const WORK: &str = "refs/heads/polecat/furiosa/gt-1@m1";
const WIP: &str = "refs/gastown/wip/furiosa/01234567";
const UID: &str = "01234567-89ab-cdef";

/// A remote, a broker before it, and a clone behind it.
struct Trial {
    dir: tempfile::TempDir,
    remote: Remote,
    broker: Broker,
}

struct Broker {
    record: Record,
    host: Host,
    url: String,
}

impl Broker {
    fn evidence(&self) -> Evidence {
        self.record.evidence()
    }

    async fn reread(&self) -> Result<(), super::Failure> {
        self.host.repository().unwrap().reread().await
    }

    async fn finish(&self) {
        self.host.repository().unwrap().finish().await;
    }

    /// A fresh clone in `name` below `dir`, on the work branch.
    async fn clone(&self, dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        git(dir, &["clone", "-q", &self.url, name]).await.unwrap();
        git(&path, &["checkout", "-q", "-B", "polecat/furiosa/gt-1@m1"])
            .await
            .unwrap();
        path
    }
}

impl Trial {
    /// A remote over plain HTTP with a commit on `main`.
    async fn new() -> Self {
        Self::of(Remote::http().await, |_| {}).await
    }

    async fn of(remote: Remote, change: impl FnOnce(&mut WorkOrder)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let order = order(&remote, change);
        let broker = start(dir.path(), "broker", &order, UID).await.unwrap();
        Self { dir, remote, broker }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A fresh clone in `name`, on the work branch.
    async fn clone(&self, name: &str) -> PathBuf {
        self.broker.clone(self.dir.path(), name).await
    }
}

fn order(remote: &Remote, change: impl FnOnce(&mut WorkOrder)) -> WorkOrder {
    let mut order = fixture::order();
    order.role.git.remote.repository = remote.url.parse().unwrap();
    order.role.git.max_push_bytes = 4 * 1024 * 1024;
    change(&mut order);
    order
}

async fn start(dir: &Path, name: &str, order: &WorkOrder, uid: &str) -> Result<Broker, super::Failure> {
    start_within(dir, name, order, uid, polecat_common::limits::PUSH).await
}

/// The way to the remote of `order`, with the secret in `dir`.
async fn upstream(dir: &Path, home: &Path, order: &WorkOrder) -> Upstream {
    let paths = Paths {
        secret: dir.join("secret"),
        known_hosts: dir.join("known-hosts"),
        private: home.join("upstream"),
        system_roots: dir.join("no-roots"),
        proxy: order.proxy.clone(),
    };
    Upstream::new(order.role.git.remote.clone(), paths).await.unwrap()
}

/// The same, with another limit for a push.
async fn start_within(
    dir: &Path,
    name: &str,
    order: &WorkOrder,
    uid: &str,
    push: Duration,
) -> Result<Broker, super::Failure> {
    let home = dir.join(name);
    std::fs::create_dir_all(&home).unwrap();
    let record = Record::open(&home, home.join("termination-log"), order).unwrap();
    let upstream = upstream(dir, &home, order).await.with_push_within(push);
    let git = Git {
        repo: home.join("repo.git"),
        home,
        quarantine: None,
    };
    let names = Names::new(
        &order.role.git.base_branch,
        &order.role.git.work_branch,
        &order.owner,
        uid,
    );
    let host = Host::new(record.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/repo.git", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, host.clone().router(), 64));
    let repository = Repository::open(git, names, upstream, order.role.git.clone(), record.clone()).await?;
    host.serve_repository(Arc::new(repository));
    Ok(Broker { record, host, url })
}

/// git as a user runs it; what it wrote, whether or not it succeeded.
async fn git(dir: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = tokio::process::Command::new("git");
    command.args(args).current_dir(dir).kill_on_drop(true);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs([
        ("HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@example"),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@example"),
    ]);
    let output = command.output().await.unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = text.trim().to_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(text)
    }
}

/// Writes `text` to `path` in the clone and commits it; the commit.
async fn commit(clone: &Path, path: &str, text: &str) -> Sha {
    let file = clone.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
    git(clone, &["add", "-A"]).await.unwrap();
    git(clone, &["commit", "-q", "--no-verify", "-m", path])
        .await
        .unwrap();
    tip(clone, "HEAD").await.unwrap()
}

async fn tip(repo: &Path, name: &str) -> Option<Sha> {
    let found = git(repo, &["rev-parse", "--verify", "--quiet", name]).await;
    found.ok().map(|sha| sha.parse().unwrap())
}
