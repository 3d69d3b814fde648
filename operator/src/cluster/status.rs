//! Status, by server-side apply with the resource version that was read: what a plan decided on an old state is
//! refused, and the watch brings the newer one.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::core::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::scope::ApiScope;
use super::{Call, Cluster, FIELD_MANAGER, name_of};
use crate::types::Key;

impl Cluster {
    /// Applies the status of an object that nobody has changed since it was read.
    pub async fn apply_status<K>(&self, object: &K, status: &(impl Serialize + Sync)) -> Result<K, Call>
    where
        K: Resource<DynamicType = (), Scope: ApiScope> + Clone + Debug + DeserializeOwned + Sync,
    {
        let key = Key::of(object);
        let mut metadata = json!({"name": key.name, "resourceVersion": object.meta().resource_version});
        if !key.namespace.is_empty() {
            metadata["namespace"] = key.namespace.as_str().into();
        }
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": metadata,
            "status": status,
        });
        let api = self.api::<K>(&key.namespace);
        let applied = api.patch_status(&key.name, &apply(), &Patch::Apply(&body)).await;
        applied.map_err(|error| Call::from_kube("apply the status of", &name_of::<K>(&key), error))
    }
}

/// Nobody else may own a field of the status, so a conflict is settled in our favour.
fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}
