//! The sidecar that holds the keys: loopback git host and model proxy, ledger and evidence.

mod clock;
mod control;
mod egress;
#[cfg(test)]
mod fixture;
mod git;
pub mod model;
#[doc(hidden)]
pub mod parsers;
mod ready;
pub mod record;
mod serve;
mod settings;
mod tls;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use gastown_api::evidence::{BrokerState, Evidence};
use gastown_api::pod;
use gastown_api::reason::Reason;
use gastown_api::work_order::WorkOrder;
use polecat_common::disk::limit_of_pod;
use polecat_common::order::{self, ReadOrder};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use control::Storage;
use git::{Git, Host, Names, Paths, Repository, Upstream};
use record::{OpenRecord, Record};

/// How often a mounted secret is looked for: the kubelet fills an optional volume later.
const LOOK: Duration = Duration::from_secs(1);

/// Connections to the git host at a time: clone, keeper, agent, and what the agent tries.
const GIT_CONNECTIONS: usize = 64;

/// Where the broker finds and puts everything.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What to do.
    pub order: WorkOrder,
    /// Part of the name of the pod's WIP ref.
    pub pod_uid: String,
    /// Private state.
    pub dir: PathBuf,
    /// The mounted git secret.
    pub git_secret: PathBuf,
    /// The mounted secrets of the model.
    pub model_secrets: model::Paths,
    /// The mounted ConfigMap with `known_hosts`.
    pub known_hosts: PathBuf,
    /// The system's trusted certificates.
    pub system_roots: PathBuf,
    /// The limits of ephemeral storage, as the operator mounts them.
    pub storage: PathBuf,
    /// The termination message.
    pub termination_log: PathBuf,
    /// The git host's address.
    pub git_listen: SocketAddr,
    /// The model proxy's address.
    pub model_listen: SocketAddr,
    /// Readiness' address.
    pub ready_listen: SocketAddr,
}

/// Why the broker cannot work at all.
#[derive(Debug, thiserror::Error)]
pub enum RunBroker {
    /// The pod lacks an environment variable.
    #[error("failed to read {name:?} from the environment; the pod must set it from its metadata")]
    ReadEnvironment {
        /// Its name.
        name: &'static str,
    },
    /// No memory.
    #[error(transparent)]
    OpenRecord(#[from] OpenRecord),
    /// A port is taken; only the agent could have done that.
    #[error("failed to listen on {address}; nothing else in the pod may listen there")]
    Listen {
        /// The port.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No signals.
    #[error("failed to wait for signals")]
    AwaitSignal(#[source] std::io::Error),
}

/// Runs the role.
pub fn main() -> Result<ExitCode, Box<dyn Error>> {
    polecat_common::runtime::hide()?;
    // Standard output is for evidence alone.
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .init();
    let pod_uid = std::env::var(pod::POD_UID_ENV).map_err(|_| RunBroker::ReadEnvironment {
        name: pod::POD_UID_ENV,
    })?;
    let order = order::read_or_kept(Path::new(pod::BROKER_DIR), |warning| tracing::warn!("{warning}"))
        .inspect_err(say_changed)?;
    let setup = Setup {
        order,
        pod_uid,
        dir: pod::BROKER_DIR.into(),
        git_secret: pod::GIT_SECRET_DIR.into(),
        model_secrets: model::Paths {
            secret: pod::MODEL_SECRET_DIR.into(),
            api_key: pod::API_KEY_DIR.into(),
            control: pod::CONTROL_FILE.into(),
        },
        known_hosts: pod::KNOWN_HOSTS_DIR.into(),
        system_roots: "/etc/ssl/certs/ca-certificates.crt".into(),
        storage: pod::STORAGE_DIR.into(),
        termination_log: pod::TERMINATION_LOG.into(),
        git_listen: (Ipv4Addr::LOCALHOST, pod::GIT_PORT).into(),
        model_listen: (Ipv4Addr::LOCALHOST, pod::MODEL_PORT).into(),
        ready_listen: (Ipv4Addr::UNSPECIFIED, pod::READY_PORT).into(),
    };
    polecat_common::runtime::of_a_sidecar()?.block_on(run(setup))?;
    Ok(ExitCode::SUCCESS)
}

/// A broker that begins with an order that is not its pod's has nothing to tell but that.
fn say_changed(error: &ReadOrder) {
    let ReadOrder::Check { attempt, .. } = error else {
        return;
    };
    let evidence = Evidence {
        state: BrokerState::Stopped {
            reason: error.reason(),
            message: error.to_string(),
        },
        ..Evidence::starting(*attempt)
    };
    if let Err(error) = std::fs::write(pod::TERMINATION_LOG, evidence.to_json()) {
        tracing::error!(%error, "failed to write the termination message");
    }
}

/// Works until SIGTERM. What ends the attempt early is entered in the record, and the broker stays to take snapshots
/// and to be read.
pub async fn run(setup: Setup) -> Result<(), RunBroker> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunBroker::AwaitSignal)?;
    let record = Record::open(&setup.dir, setup.termination_log.clone(), &setup.order)?;
    tokio::spawn(ready::ring(
        listen(&record, setup.ready_listen).await?,
        record.news(),
    ));
    let host = Host::new(record.clone());
    let listener = listen(&record, setup.git_listen).await?;
    let storage = Storage::new(limit_of_pod(&setup.storage));
    let control = control::router(
        record.clone(),
        host.clone(),
        setup.order.role.disk,
        storage.clone(),
    );
    let router = host.clone().router().merge(control);
    tokio::spawn(serve::serve(listener, router, GIT_CONNECTIONS));
    let model_listener = listen(&record, setup.model_listen).await?;
    let silence = setup.order.role.pace.silence_seconds;
    tokio::spawn(clock::watch(record.clone(), setup.order.limits, silence));
    tokio::spawn(control::watch_volume(
        record.clone(),
        setup.dir.clone(),
        setup.order.role.disk,
        storage,
    ));
    tokio::select! {
        () = work(&setup, &record, &host, model_listener) => {}
        _ = terminate.recv() => {}
    }
    finish(&setup, &record, &host).await;
    Ok(())
}

/// A taken port is said in the evidence before the broker ends.
async fn listen(record: &Record, address: SocketAddr) -> Result<TcpListener, RunBroker> {
    TcpListener::bind(address).await.map_err(|source| {
        let error = RunBroker::Listen { address, source };
        record.enter(BrokerState::Stopped {
            reason: Reason::AgentFailed,
            message: error.to_string(),
        });
        error
    })
}

/// Never ends by itself: what cannot go on waits for the pod to be ended.
async fn work(setup: &Setup, record: &Record, host: &Host, model_listener: TcpListener) {
    await_secrets(setup, record).await;
    match open_repository(setup, record).await {
        Ok(repository) => {
            host.serve_repository(Arc::new(repository));
            record.enter(BrokerState::Serving);
            tracing::info!("serving");
            serve_model(setup, record, model_listener).await;
        }
        Err(failure) => {
            tracing::error!(%failure, "the repository cannot be served");
            let git::Failure { reason, message } = failure;
            record.enter(BrokerState::Stopped { reason, message });
        }
    }
    std::future::pending::<()>().await;
}

async fn serve_model(setup: &Setup, record: &Record, listener: TcpListener) {
    let context = model::Context {
        order: setup.order.role.model.clone(),
        record: record.clone(),
        paths: setup.model_secrets.clone(),
        proxy: setup.order.proxy.clone(),
        system_roots: setup.system_roots.clone(),
        listener,
    };
    if let Err(error) = model::serve(context).await {
        record.enter(BrokerState::Stopped {
            reason: Reason::EndpointNotAllowed,
            message: error.to_string(),
        });
    }
}

/// Parks until both secrets are there and can be used: before any model call, and naming what is wrong.
async fn await_secrets(setup: &Setup, record: &Record) {
    while let Some(git::Failure { reason, message }) = missing(setup) {
        if matches!(record.evidence().state, BrokerState::Stopped { .. }) {
            return;
        }
        record.enter(BrokerState::Parked {
            reason,
            message,
            until: None,
        });
        tokio::time::sleep(LOOK).await;
    }
    if matches!(record.evidence().state, BrokerState::Parked { .. }) {
        record.enter(BrokerState::Starting);
    }
}

fn missing(setup: &Setup) -> Option<git::Failure> {
    let model = model::missing(&setup.order.role.model, &setup.model_secrets);
    let git = git::missing(&setup.git_secret, &setup.order.role.git.remote);
    let model = model.map(|(reason, message)| git::Failure::new(reason, message));
    match (git, model) {
        (Some(git), Some(model)) => {
            let message = format!("{}; {}", git.message, model.message);
            Some(git::Failure::new(git.reason, message))
        }
        (git, model) => git.or(model),
    }
}

async fn open_repository(setup: &Setup, record: &Record) -> Result<Repository, git::Failure> {
    let order = &setup.order;
    let paths = Paths {
        secret: setup.git_secret.clone(),
        known_hosts: setup.known_hosts.clone(),
        private: setup.dir.join("upstream"),
        system_roots: setup.system_roots.clone(),
        proxy: order.proxy.clone(),
    };
    let upstream = Upstream::new(order.role.git.remote.clone(), paths).await;
    let upstream =
        upstream.map_err(|error| git::Failure::new(Reason::GitHostUnreachable, error.to_string()))?;
    let local = Git {
        repo: setup.dir.join("repo.git"),
        home: setup.dir.clone(),
        quarantine: None,
    };
    let names = Names::new(
        &order.role.git.base_branch,
        &order.role.git.work_branch,
        &order.owner,
        &setup.pod_uid,
    );
    Repository::open(local, names, upstream, order.role.git.clone(), record.clone()).await
}

/// The push in flight ends, a snapshot that is no longer needed goes, and the evidence is written once more; within
/// the grace, which the kubelet keeps anyway.
async fn finish(setup: &Setup, record: &Record, host: &Host) {
    if let Some(repository) = host.repository() {
        let grace = Duration::from_secs(setup.order.limits.grace_seconds);
        if tokio::time::timeout(grace, repository.finish()).await.is_err() {
            tracing::warn!("the grace was over before the last push");
        }
    }
    record.finish();
    tracing::info!("ended");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gastown_api::evidence::Evidence;

    use super::*;

    fn setup(dir: &Path) -> Setup {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        Setup {
            order: fixture::order(),
            pod_uid: "01234567".to_owned(),
            dir: dir.to_owned(),
            git_secret: dir.join("git"),
            model_secrets: model::Paths {
                secret: dir.join("model"),
                api_key: dir.join("api-key"),
                control: dir.join("control"),
            },
            known_hosts: dir.join("known-hosts"),
            system_roots: dir.join("roots"),
            storage: dir.join("storage"),
            termination_log: dir.join("termination-log"),
            git_listen: any,
            model_listen: any,
            ready_listen: any,
        }
    }

    fn said(dir: &Path) -> Evidence {
        serde_json::from_slice(&std::fs::read(dir.join("termination-log")).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn it_parks_until_both_secrets_are_there_and_names_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let broker = tokio::spawn(run(setup(dir.path())));
        let message = async || {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            match said(dir.path()).state {
                BrokerState::Parked {
                    reason: Reason::SecretMissing,
                    message,
                    ..
                } => message,
                state => panic!("{state:?}"),
            }
        };
        let both = message().await;
        assert!(
            both.contains("\"git-creds\"") && both.contains("\"claude-creds\""),
            "{both}"
        );
        std::fs::create_dir(dir.path().join("git")).unwrap();
        std::fs::write(dir.path().join("git/ssh-privatekey"), fixture::SSH_KEY).unwrap();
        let one = message().await;
        assert!(
            !one.contains("git-creds") && one.contains("\"ANTHROPIC_API_KEY\""),
            "{one}"
        );
        broker.abort();
    }

    #[tokio::test]
    async fn a_git_key_that_cannot_be_used_parks_by_name_until_it_is_repaired() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("git")).unwrap();
        let key = dir.path().join("git/ssh-privatekey");
        std::fs::write(&key, "ssh-ed25519 AAAA someone").unwrap();
        let broker = tokio::spawn(run(setup(dir.path())));
        let parked = async |wanted: Reason| loop {
            if let Ok(json) = std::fs::read(dir.path().join("termination-log"))
                && let Ok(Evidence { state, .. }) = serde_json::from_slice(&json)
                && let BrokerState::Parked { reason, message, .. } = state
                && reason == wanted
            {
                return message;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let wrong = parked(Reason::SecretInvalid).await;
        for part in [
            "\"git-creds\"",
            "\"ssh-privatekey\"",
            "without .pub",
            "claude-creds",
        ] {
            assert!(wrong.contains(part), "{part} not in {wrong}");
        }
        std::fs::write(&key, fixture::SSH_KEY).unwrap();
        let missing = parked(Reason::SecretMissing).await;
        assert!(
            !missing.contains("git-creds"),
            "only the model's key is missing now: {missing}"
        );
        broker.abort();
    }

    #[tokio::test]
    async fn a_taken_port_ends_the_attempt_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut setup = setup(dir.path());
        setup.git_listen = taken.local_addr().unwrap();
        let error = run(setup).await.unwrap_err();
        assert!(matches!(error, RunBroker::Listen { .. }), "{error}");
        let BrokerState::Stopped { reason, message } = said(dir.path()).state else {
            panic!("it did not stop")
        };
        assert_eq!(reason, Reason::AgentFailed);
        assert!(
            message.contains(&taken.local_addr().unwrap().to_string()),
            "{message}"
        );
    }
}
