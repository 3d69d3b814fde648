//! The controllers. A controller is a table of contents: fetch, plan, apply; its plan is a pure function.

pub mod polecat;
pub mod rig;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::future::join_all;
use gastown_api::rig::Rig;
use kube::runtime::reflector::Store;
use tokio::sync::watch;

use crate::cache::{Census, Scope, Wakes};
use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::server::Facts;
use polecat::validate::Settings;

/// The most objects of one kind that are worked on at once: it bounds connections and memory.
const CONCURRENCY: u16 = 48;

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

/// Runs the controllers while this replica leads.
pub async fn run(context: Arc<Context>, facts: Arc<Facts>, mut leads: watch::Receiver<bool>) {
    if !synced(&context).await {
        tracing::error!("a watch ended; the process has to be restarted");
        return;
    }
    facts.synced.store(true, Ordering::Relaxed);
    tracing::info!("caches are filled");
    while leads.wait_for(|leads| *leads).await.is_ok() {
        context.metrics.lead(true);
        tokio::select! {
            () = lead(&context) => {}
            _ = leads.wait_for(|leads| !*leads) => {}
        }
        context.metrics.lead(false);
        context.rig_wakes.close();
        context.scopes.iter().for_each(|scope| scope.wakes.close());
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
