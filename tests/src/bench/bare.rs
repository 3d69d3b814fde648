//! The least that anybody could write for a polecat, written by a client that does nothing else.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use gastown_api::pod::pod_name;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::cluster::{Answer, Change, Cluster, IN_FLIGHT, as_posted, pods, polecats};

/// A client that writes what the operator writes, from a polecat and a pod that the operator made.
#[derive(Clone)]
pub struct Bare {
    cluster: Cluster,
    polecat: Arc<Value>,
    pod: Arc<Value>,
    slots: Arc<Semaphore>,
}

impl Bare {
    /// Takes the polecat `name` and its pod, both as the operator left them, as models.
    pub async fn model(cluster: Cluster, name: &str) -> Result<Self> {
        let polecat = cluster.get(&format!("{}/{name}", polecats())).await?;
        let pod = cluster.get(&format!("{}/{}", pods(), pod_name(name))).await?;
        Ok(Self {
            cluster,
            polecat: Arc::new(polecat),
            pod: Arc::new(pod),
            slots: Arc::new(Semaphore::new(IN_FLIGHT)),
        })
    }

    /// How many bytes the pod has, without what the API server added.
    #[must_use]
    pub fn pod_bytes(&self) -> usize {
        as_posted(&self.pod, "x", "x").to_string().len()
    }

    /// Gives a new polecat its finalizer and labels, its pod, and its status: three writes.
    pub async fn serve(&self, polecat: &Answer) -> Result<()> {
        let _slot = self.slots.acquire().await.context("the slots are never closed")?;
        let (name, uid) = (&polecat.metadata.name, &polecat.metadata.uid);
        let path = format!("{}/{name}", polecats());
        let claim = json!({"metadata": {
            "resourceVersion": polecat.metadata.resource_version,
            "finalizers": self.polecat["metadata"]["finalizers"],
            "labels": self.polecat["metadata"]["labels"],
        }});
        let _: IgnoredAny = self.cluster.patch(&path, Change::Merge, &claim).await?;
        let pod = as_posted(&self.pod, name, uid);
        let _: IgnoredAny = self.cluster.post(&pods(), &pod).await?;
        let status = json!({
            "apiVersion": self.polecat["apiVersion"],
            "kind": self.polecat["kind"],
            "metadata": {"name": name},
            "status": self.polecat["status"],
        });
        let _: IgnoredAny = self
            .cluster
            .patch(&format!("{path}/status"), Change::Apply, &status)
            .await?;
        Ok(())
    }
}
