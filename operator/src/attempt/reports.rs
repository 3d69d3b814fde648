//! The last report of each broker whose readiness is False. It is not in a status: after a restart it is read once more.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::observed::BrokerReport;
use crate::types::Key;

/// The last report of each broker whose readiness is False, by owner.
#[derive(Debug)]
pub struct ReportCache<E>(Mutex<HashMap<Key, BrokerReport<E>>>);

impl<E> Default for ReportCache<E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<E: Clone> ReportCache<E> {
    /// Keeps what the broker of this owner said.
    pub fn keep(&self, key: Key, report: BrokerReport<E>) {
        self.0.lock().insert(key, report);
    }

    /// What the broker of this owner said last.
    pub fn get(&self, key: &Key) -> Option<BrokerReport<E>> {
        self.0.lock().get(key).cloned()
    }

    /// The broker is ready again, or gone.
    pub fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}
