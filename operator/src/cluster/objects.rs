//! Writes to custom resources of any kind. Each carries the resource version that was read as its precondition, so that a
//! plan on an old state changes nothing.

use std::collections::BTreeMap;
use std::fmt::Debug;

use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, Preconditions};
use kube::core::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::pods::manager;
use super::scope::ApiScope;
use super::{Call, Cluster, name_of};
use crate::types::Key;

impl Cluster {
    /// Sets finalizers and labels of an object that nobody has changed since it was read; `act` is for the message.
    pub async fn mark<K>(
        &self,
        act: &'static str,
        object: &K,
        finalizers: &[String],
        labels: &BTreeMap<String, String>,
    ) -> Result<K, Call>
    where
        K: Resource<DynamicType = (), Scope: ApiScope> + Clone + Debug + DeserializeOwned,
    {
        let patch = json!({"metadata": {
            "resourceVersion": object.meta().resource_version,
            "finalizers": finalizers,
            "labels": labels,
        }});
        self.patch(act, object, &patch).await
    }

    /// Takes a finalizer off an object that nobody has changed since it was read.
    pub async fn release_finalizer<K>(&self, object: &K, finalizer: &str) -> Result<K, Call>
    where
        K: Resource<DynamicType = (), Scope: ApiScope> + Clone + Debug + DeserializeOwned,
    {
        let left: Vec<_> = object.finalizers().iter().filter(|f| *f != finalizer).collect();
        let patch = json!({"metadata": {
            "resourceVersion": object.meta().resource_version,
            "finalizers": left,
        }});
        self.patch("release", object, &patch).await
    }

    /// Deletes an object that nobody has changed since it was read; answers what is left of it while finalizers hold
    /// it, else what it was, without any.
    pub async fn delete<K>(&self, object: &K) -> Result<K, Call>
    where
        K: Resource<DynamicType = (), Scope: ApiScope> + Clone + Debug + DeserializeOwned,
    {
        let key = Key::of(object);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: object.meta().uid.clone(),
                resource_version: object.meta().resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        let answer = self.api::<K>(&key.namespace).delete(&key.name, &params).await;
        let answer = answer.map_err(|error| Call::from_kube("delete", &name_of::<K>(&key), error))?;
        Ok(answer.left().unwrap_or_else(|| {
            let mut gone = object.clone();
            let meta = gone.meta_mut();
            meta.finalizers = None;
            meta.deletion_timestamp = meta.creation_timestamp.clone();
            gone
        }))
    }

    async fn patch<K>(&self, act: &'static str, object: &K, patch: &Value) -> Result<K, Call>
    where
        K: Resource<DynamicType = (), Scope: ApiScope> + Clone + Debug + DeserializeOwned,
    {
        let key = Key::of(object);
        let api = self.api::<K>(&key.namespace);
        let patched = api.patch(&key.name, &manager(), &Patch::Merge(patch)).await;
        patched.map_err(|error| Call::from_kube(act, &name_of::<K>(&key), error))
    }
}
