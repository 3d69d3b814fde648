//! Puts the parts together and runs them until the process is told to stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::Args;
use crate::cluster::Cluster;
use crate::cluster::lease::Elector;
use crate::config::{Config, LoadConfig};
use crate::controller;
use crate::driver::Roster;
use crate::metrics::Metrics;
use crate::server::{self, Serve, ServerState};
use crate::types::{OperatorIdentity, Settings};

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Run {
    /// The configuration cannot be used.
    #[error(transparent)]
    LoadConfig(#[from] LoadConfig),
    /// There is no cluster to speak to.
    #[error("failed to find the cluster; run in a pod with a service account, or set KUBECONFIG")]
    Connect {
        /// What is missing.
        source: Box<kube::Error>,
    },
    /// Metrics and health cannot be served.
    #[error(transparent)]
    Serve(#[from] Serve),
    /// The process cannot be told to stop.
    #[error("failed to listen for SIGTERM")]
    Signal(#[source] io::Error),
    /// A part ended that should not have.
    #[error("failed to go on: a part of the operator ended; its last log line says why")]
    PartEnded,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Result<(), Run> {
    let client = Client::try_default().await.map_err(|source| Run::Connect {
        source: Box::new(source),
    })?;
    run_until(&args, client, told_to_stop()).await
}

/// Runs until `end`; then what is under way comes to its end and the Lease is let go, so that another replica leads at
/// once. Who drops this instead leaves everything as it is, as a killed process does.
pub async fn run_until(
    args: &Args,
    client: Client,
    end: impl Future<Output = Result<(), Run>>,
) -> Result<(), Run> {
    let config = Config::load(args.config.as_deref())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        edition = gastown_crypto::EDITION,
        module = gastown_crypto::module_version(),
        agent_image = args.agent_image,
        "starts"
    );
    let cluster = Cluster {
        client,
        identity: args.identity.clone(),
    };
    let settings = Arc::new(Settings {
        agent_image: args.agent_image.clone(),
        registry_secret: args.registry_secret.clone(),
        image_bundles: args.image_bundles.clone(),
        config,
        operator: Arc::new(OperatorIdentity {
            name: format!("{}/{}", args.leader_election_namespace, args.lease_name),
            namespaces: args.namespaces.clone(),
        }),
    });
    let metrics = Arc::new(Metrics::new());
    let mut roster = Roster::new(cluster.clone(), metrics.clone(), &args.namespaces);
    controller::register(&mut roster, &settings);
    let state = Arc::new(ServerState {
        metrics: metrics.clone(),
        synced: AtomicBool::new(false),
    });
    let (stop, stops) = watch::channel(false);
    let (step_down, told_to_step_down) = watch::channel(false);
    let (elector, leads) = Elector::new(&cluster, &args.leader_election_namespace, &args.lease_name);

    let mut parts = JoinSet::new();
    for watch in roster.watches() {
        parts.spawn(ending(watch));
    }
    let serving = server::serve(args.listen, state.clone());
    parts.spawn(async move { serving.await.map_err(Run::from) });
    let mut controllers = JoinSet::new();
    let synced = move || state.synced.store(true, Ordering::Relaxed);
    controllers.spawn(roster.run(metrics, synced, leads, stops));
    let mut election = JoinSet::new();
    election.spawn(elector.run(told_to_step_down));

    let outcome = tokio::select! {
        outcome = end => outcome,
        Some(ended) = parts.join_next() => ended.unwrap_or(Err(Run::PartEnded)),
        Some(_) = controllers.join_next() => Err(Run::PartEnded),
    };
    stop.send_replace(true);
    controllers.join_next().await;
    parts.shutdown().await;
    step_down.send_replace(true);
    match election.join_next().await {
        Some(Ok(())) => outcome,
        Some(Err(_)) | None => Err(Run::PartEnded),
    }
}

async fn ending(part: impl Future<Output = ()>) -> Result<(), Run> {
    part.await;
    Err(Run::PartEnded)
}

async fn told_to_stop() -> Result<(), Run> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Run::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Run::Signal)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stops");
    Ok(())
}
