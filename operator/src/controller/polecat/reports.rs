//! The last report of each broker whose readiness is False. It is not in the status: after a restart it is read once more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::BrokerReport;
use crate::types::Key;

/// The last report of each broker whose readiness is False, by polecat.
#[derive(Debug, Default)]
pub struct ReportCache(Mutex<HashMap<Key, BrokerReport>>);

impl ReportCache {
    /// Keeps what the broker of this polecat said.
    pub fn keep(&self, key: Key, report: BrokerReport) {
        self.lock().insert(key, report);
    }

    /// What the broker of this polecat said last.
    pub fn get(&self, key: &Key) -> Option<BrokerReport> {
        self.lock().get(key).cloned()
    }

    /// The broker is ready again, or gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BrokerReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
