//! What a controller writes with, while this replica leads.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::ObjectMeta;

use super::background::BackgroundWrites;
use crate::cache::{Expectations, ObservedVersion, ReconcileTriggers};
use crate::cluster::Cluster;
use crate::types::{Key, time_until};

/// What a controller writes with to the objects of one scope, while this replica leads.
pub struct Writes {
    /// The API server.
    pub cluster: Cluster,
    /// Writes that nobody waits for.
    pub background: BackgroundWrites,
    pub(super) version: Arc<ObservedVersion>,
    pub(super) triggers: Arc<ReconcileTriggers>,
    pub(super) expectations: Arc<Expectations>,
}

impl Writes {
    /// Has the watch of the kind show this version of its object before that is reconciled again.
    pub fn wrote(&self, key: &Key, meta: &ObjectMeta) {
        self.expectations.expect(key, &self.version, meta);
    }

    /// Has `watch` show this version of something that belongs to the object before that is reconciled again.
    pub fn wrote_for(&self, key: &Key, watch: Option<&Arc<ObservedVersion>>, meta: &ObjectMeta) {
        if let Some(watch) = watch {
            self.expectations.expect(key, watch, meta);
        }
    }

    /// Triggers an object.
    pub fn trigger(&self, key: Key) {
        self.triggers.send(key);
    }

    /// Triggers an object at that time, but not at once: for one that is gone, so that no queue holds it.
    pub fn trigger_at(&self, key: Key, at: Timestamp) {
        let left = time_until(at, Timestamp::now()).max(Duration::from_secs(1));
        let triggers = self.triggers.clone();
        tokio::spawn(async move {
            tokio::time::sleep(left).await;
            triggers.send(key);
        });
    }
}
