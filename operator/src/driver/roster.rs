//! The kinds that are registered: their watches, caches and drivers.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;
use kube::core::Resource;
use serde::de::DeserializeOwned;

use super::{Controller, Drive, Driver, trigger_what_is_delivered};
use crate::cache::{Expectations, Packed, ReconcileTriggers, Reflected, Stored};
use crate::cluster::{ApiScope, Cluster, watch};
use crate::metrics::Metrics;
use crate::pod_view::PodView;

/// The kinds that are registered: their watches, caches and drivers.
pub struct Roster {
    /// The API server.
    pub cluster: Cluster,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    namespaces: Vec<Option<String>>,
    watches: Vec<BoxFuture<'static, ()>>,
    pub(super) filled: Vec<BoxFuture<'static, bool>>,
    pub(super) drivers: Vec<Arc<dyn Drive>>,
}

impl Roster {
    /// Nothing yet, for objects of these namespaces; without any: of all.
    #[must_use]
    pub fn new(cluster: Cluster, metrics: Arc<Metrics>, namespaces: &[String]) -> Self {
        let namespaces = match namespaces {
            [] => vec![None],
            names => names.iter().cloned().map(Some).collect(),
        };
        Self {
            cluster,
            metrics,
            namespaces,
            watches: Vec::new(),
            filled: Vec::new(),
            drivers: Vec::new(),
        }
    }

    /// A cache of the custom resources of a kind that live in namespaces, with its watches.
    pub fn namespaced<S>(&mut self) -> Arc<Reflected<S>>
    where
        S: Stored<Object: DeserializeOwned + Debug>,
        <S::Object as Resource>::Scope: ApiScope,
    {
        self.custom_resources(&self.namespaces.clone())
    }

    /// A cache of the custom resources of a kind that belong to the cluster, with its watch.
    pub fn of_the_cluster<S>(&mut self) -> Arc<Reflected<S>>
    where
        S: Stored<Object: DeserializeOwned + Debug>,
        <S::Object as Resource>::Scope: ApiScope,
    {
        self.custom_resources(&[None])
    }

    fn custom_resources<S>(&mut self, namespaces: &[Option<String>]) -> Arc<Reflected<S>>
    where
        S: Stored<Object: DeserializeOwned + Debug>,
        <S::Object as Resource>::Scope: ApiScope,
    {
        let objects = Arc::new(Reflected::new(namespaces));
        for scope in objects.scopes() {
            let (cluster, objects, scope) = (self.cluster.clone(), objects.clone(), scope.clone());
            self.watches.push(Box::pin(async move {
                watch::custom_resources(cluster, &objects, &scope).await;
            }));
        }
        self.await_first_lists(&objects);
        objects
    }

    /// A cache of the pods that have this label, with its watches.
    pub fn pods(&mut self, label: &'static str) -> Arc<Reflected<Packed<PodView>>> {
        let pods = Arc::new(Reflected::new(&self.namespaces));
        for scope in pods.scopes() {
            let (cluster, pods, scope) = (self.cluster.clone(), pods.clone(), scope.clone());
            self.watches.push(Box::pin(async move {
                watch::pods(cluster, &pods, &scope, label).await;
            }));
        }
        self.await_first_lists(&pods);
        pods
    }

    fn await_first_lists<S: Stored>(&mut self, objects: &Arc<Reflected<S>>) {
        let objects = objects.clone();
        self.filled.push(Box::pin(async move { objects.ready().await }));
    }

    /// Drives the objects of a kind with its controller; answers what triggers them. Those that a watch of the kind
    /// delivers are triggered already.
    pub fn drive<C: Controller>(
        &mut self,
        objects: &Arc<Reflected<C::Stored>>,
        controller: C,
    ) -> Arc<ReconcileTriggers> {
        let namespaces: Vec<_> = objects
            .scopes()
            .iter()
            .map(|s| s.namespace().map(str::to_owned))
            .collect();
        let triggers = Arc::new(ReconcileTriggers::new(&namespaces));
        trigger_what_is_delivered(objects, triggers.clone());
        self.drivers.push(Arc::new(Driver {
            controller,
            cluster: self.cluster.clone(),
            metrics: self.metrics.clone(),
            objects: objects.clone(),
            triggers: triggers.clone(),
            expectations: Arc::new(Expectations::default()),
        }));
        triggers
    }

    /// The watches: each runs until the process ends.
    pub fn watches(&mut self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.watches)
    }
}
