//! Leads while this replica holds the Lease.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Drive, Roster};
use crate::metrics::Metrics;

/// How long what is under way may take when the process is told to stop. With the release of the Lease it is less than
/// the grace that the chart gives the pod.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// The drivers of all kinds.
type Drivers = Vec<Arc<dyn Drive>>;

impl Roster {
    /// Runs the drivers while this replica leads, until the process `stops`. Says so when the caches are filled.
    pub async fn run(
        self,
        metrics: Arc<Metrics>,
        synced: impl FnOnce() + Send,
        mut leads: watch::Receiver<bool>,
        mut stops: watch::Receiver<bool>,
    ) {
        let filled = tokio::select! {
            _ = stops.wait_for(|stops| *stops) => return,
            filled = join_all(self.filled) => filled,
        };
        if !filled.into_iter().all(|filled| filled) {
            tracing::error!("a watch ended; the process has to be restarted");
            return;
        }
        synced();
        tracing::info!("caches are filled");
        loop {
            tokio::select! {
                biased;
                _ = stops.wait_for(|stops| *stops) => return,
                leads = leads.wait_for(|leads| *leads) => if leads.is_err() { return },
            }
            metrics.lead(true);
            lead_for_a_term(&self.drivers, &mut leads, &mut stops).await;
            metrics.lead(false);
            close(&self.drivers);
        }
    }
}

/// Leads until another replica may. When the process is told to stop, nothing new is begun, and what is under way comes
/// to its end: a status that is written without its event would never be told of.
async fn lead_for_a_term(
    drivers: &Drivers,
    leads: &mut watch::Receiver<bool>,
    stops: &mut watch::Receiver<bool>,
) {
    let mut leading = pin!(join_all(drivers.iter().map(|driver| driver.clone().lead())));
    let mut lost = pin!(leads.wait_for(|leads| !*leads));
    tokio::select! {
        _ = &mut leading => return,
        _ = &mut lost => return,
        _ = stops.wait_for(|stops| *stops) => {}
    }
    close(drivers);
    tokio::select! {
        _ = leading => {}
        _ = lost => {}
        () = sleep(LAST_CALLS) => tracing::warn!("stops before all that was under way has come to its end"),
    }
}

/// Nothing is reconciled from now on.
fn close(drivers: &Drivers) {
    for driver in drivers {
        driver.close();
    }
}
