//! The least that anybody could write for a polecat, written by a client that does nothing else.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use futures::TryStreamExt as _;
use gastown_api::pod::pod_name;
use kube::Api;
use kube::api::ObjectMeta;
use kube::core::{ApiResource, GroupVersionKind, Object};
use kube::runtime::watcher::{self, Event};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::cluster::{Answer, Change, Cluster, IN_FLIGHT, Metadata, NAMESPACE, as_posted, pods, polecats};
use super::eyes::Unread;

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

    /// Serves each polecat that a watch shows, as a controller learns of them: without it the client knows of a polecat
    /// as soon as it has made it.
    pub async fn watch(&self) -> Result<Watching> {
        let (open, opened) = oneshot::channel();
        let served = tokio::spawn(self.clone().serve_what_comes(open));
        opened.await.context("the watch ended before it was open")?;
        Ok(Watching(served))
    }

    async fn serve_what_comes(self, open: oneshot::Sender<()>) -> Result<()> {
        let kind = GroupVersionKind::gvk(gastown_api::GROUP, gastown_api::VERSION, "Polecat");
        let resource = ApiResource::from_gvk(&kind);
        let client = self.cluster.client();
        let api = Api::<Object<Unread, Unread>>::namespaced_with(client, NAMESPACE, &resource);
        let mut open = Some(open);
        let mut known = HashSet::new();
        let mut under_way = JoinSet::new();
        let mut events = pin!(watcher::watcher(api, watcher::Config::default()));
        while let Some(event) = events.try_next().await.context("the bare client's watch broke")? {
            match event {
                Event::InitDone => drop(open.take().map(|open| open.send(()))),
                Event::Apply(polecat) if known.insert(polecat.metadata.uid.clone()) => {
                    let (bare, polecat) = (self.clone(), answer(polecat.metadata)?);
                    under_way.spawn(async move { bare.serve(&polecat).await });
                }
                Event::Init | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
            }
            while let Some(served) = under_way.try_join_next() {
                served.context("a polecat was not served to the end")??;
            }
        }
        Err(anyhow!("the bare client's watch ended"))
    }
}

/// A bare client that learns of polecats by watch, until it is stopped or dropped.
pub struct Watching(JoinHandle<Result<()>>);

impl Watching {
    /// Stops it; fails if it had failed before.
    pub async fn stop(mut self) -> Result<()> {
        if self.0.is_finished() {
            return (&mut self.0).await.context("the bare client was interrupted")?;
        }
        Ok(())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn answer(metadata: ObjectMeta) -> Result<Answer> {
    Ok(Answer {
        metadata: Metadata {
            name: metadata.name.context("an object has a name")?,
            uid: metadata.uid.context("an object has a UID")?,
            resource_version: metadata.resource_version.context("an object has a version")?,
        },
    })
}
