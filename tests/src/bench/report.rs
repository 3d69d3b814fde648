//! Everything a run has shown, as it is kept.

use jiff::Timestamp;
use serde::Serialize;

use super::arrival::Round;
use super::bars::Row;
use super::life::{Ends, Lives};
use super::listing::Listing;
use super::proxy::Proxy;
use super::size::{ColdStart, Idle, Size};

/// The report of one run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it began.
    pub started: Timestamp,
    /// Whether all was done at a tenth of the size.
    pub quick: bool,
    /// The machine.
    pub machine: Machine,
    /// The bars that the figures touch.
    pub rows: Vec<Row>,
    /// The figures.
    pub figures: Figures,
}

/// What the figures depend on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Processors.
    pub processors: usize,
    /// The load averages when the run began and when it ended: above 1 at the beginning, somebody else was at work.
    pub load: [String; 2],
}

/// The figures.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// How many bytes a pod has.
    pub pod_bytes: usize,
    /// Arrivals, round by round.
    pub rounds: Vec<Round>,
    /// Whole lives.
    pub lives: Lives,
    /// Pods that ended at once.
    pub ends: Ends,
    /// The operator by the number of polecats.
    pub sizes: Vec<Size>,
    /// A start among the most polecats.
    pub cold_start: ColdStart,
    /// Idle among the most polecats.
    pub idle: Idle,
    /// The plugin's list of the most polecats.
    pub lists: Vec<Listing>,
    /// The model proxy.
    pub proxy: Proxy,
}

/// The load averages of the last 1, 5 and 15 minutes.
#[must_use]
pub fn load() -> String {
    let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
