//! The controllers. A controller is a table of contents: fetch, plan, apply; its plan is a pure function.

pub mod polecat;
pub mod rig;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use gastown_api::rig::Rig;
use kube::runtime::reflector::Store;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::cache::{Census, Scope, Wakes};
use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::server::Facts;
use crate::types::Settings;

/// The most objects of one kind that are worked on at once: it bounds connections and memory.
const CONCURRENCY: u16 = 48;
/// How long what is under way may take when the process is told to stop. With the release of the Lease it is less than
/// the grace that the chart gives the pod.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// What every controller is given.
pub struct Context {
    /// The API server.
    pub cluster: Cluster,
    /// What the administrator decided.
    pub settings: Settings,
    /// Polecats and pods, by namespace.
    pub scopes: Vec<Arc<Scope>>,
    /// The rigs.
    pub rigs: Store<Rig>,
    /// Rigs to look at.
    pub rig_wakes: Wakes<String>,
    /// When the status of a rig was last written.
    pub rig_writes: Mutex<HashMap<String, Instant>>,
    /// How many polecats each rig has.
    pub census: Arc<Census>,
    /// The figures.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// Nobody is looked at from now on.
    fn close_wakes(&self) {
        self.rig_wakes.close();
        self.scopes.iter().for_each(|scope| scope.wakes.close());
    }
}

/// Runs the controllers while this replica leads, until the process `stops`.
pub async fn run(
    context: Arc<Context>,
    facts: Arc<Facts>,
    mut leads: watch::Receiver<bool>,
    mut stops: watch::Receiver<bool>,
) {
    let synced = tokio::select! {
        _ = stops.wait_for(|stops| *stops) => return,
        synced = synced(&context) => synced,
    };
    if !synced {
        tracing::error!("a watch ended; the process has to be restarted");
        return;
    }
    facts.synced.store(true, Ordering::Relaxed);
    tracing::info!("caches are filled");
    loop {
        tokio::select! {
            biased;
            _ = stops.wait_for(|stops| *stops) => return,
            leads = leads.wait_for(|leads| *leads) => if leads.is_err() { return },
        }
        context.metrics.lead(true);
        lead_for_a_term(&context, &mut leads, &mut stops).await;
        context.metrics.lead(false);
        context.close_wakes();
    }
}

/// Leads until another replica may. When the process is told to stop, nothing new is begun, and what is under way comes
/// to its end: a status that is written without its event would never be told of.
async fn lead_for_a_term(
    context: &Arc<Context>,
    leads: &mut watch::Receiver<bool>,
    stops: &mut watch::Receiver<bool>,
) {
    let mut leading = pin!(lead(context));
    let mut lost = pin!(leads.wait_for(|leads| !*leads));
    tokio::select! {
        () = &mut leading => return,
        _ = &mut lost => return,
        _ = stops.wait_for(|stops| *stops) => {}
    }
    context.close_wakes();
    tokio::select! {
        () = leading => {}
        _ = lost => {}
        () = sleep(LAST_CALLS) => tracing::warn!("stops before all that was under way has come to its end"),
    }
}

async fn synced(context: &Context) -> bool {
    let scopes = context.scopes.iter().map(|scope| async {
        scope.polecats.wait_until_ready().await.is_ok() && scope.pods.wait_until_ready().await.is_ok()
    });
    let (scopes, rigs) = futures::join!(join_all(scopes), context.rigs.wait_until_ready());
    scopes.into_iter().all(|ready| ready) && rigs.is_ok()
}

/// Looks at every object, and then at each that changes.
async fn lead(context: &Arc<Context>) {
    let polecats = context
        .scopes
        .iter()
        .map(|scope| polecat::run(context.clone(), scope.clone()));
    futures::join!(join_all(polecats), rig::run(context.clone()));
}
