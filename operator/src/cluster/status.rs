//! Status, by server-side apply with the resource version that was read: what a plan decided on an old state is
//! refused, and the watch brings the newer one.

use gastown_api::polecat::{Polecat, PolecatStatus};
use gastown_api::rig::{Rig, RigStatus};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::json;

use super::{Call, Cluster, FIELD_MANAGER};

impl Cluster {
    /// Applies the status of a polecat.
    pub async fn apply_polecat_status(
        &self,
        polecat: &Polecat,
        status: &PolecatStatus,
    ) -> Result<Polecat, Call> {
        let (namespace, name) = (polecat.namespace().unwrap_or_default(), polecat.name_any());
        let body = json!({
            "apiVersion": Polecat::api_version(&()),
            "kind": Polecat::kind(&()),
            "metadata": {
                "name": name,
                "namespace": namespace,
                "resourceVersion": polecat.metadata.resource_version,
            },
            "status": status,
        });
        let api: Api<Polecat> = Api::namespaced(self.client.clone(), &namespace);
        let applied = api.patch_status(&name, &apply(), &Patch::Apply(&body)).await;
        applied.map_err(|error| {
            Call::from_kube(
                "apply the status of",
                &format!("polecat {namespace}/{name}"),
                error,
            )
        })
    }

    /// Applies the status of a rig.
    pub async fn apply_rig_status(&self, rig: &Rig, status: &RigStatus) -> Result<(), Call> {
        let name = rig.name_any();
        let body = json!({
            "apiVersion": Rig::api_version(&()),
            "kind": Rig::kind(&()),
            "metadata": {"name": name, "resourceVersion": rig.metadata.resource_version},
            "status": status,
        });
        let api: Api<Rig> = Api::all(self.client.clone());
        let applied = api.patch_status(&name, &apply(), &Patch::Apply(&body)).await;
        applied
            .map(drop)
            .map_err(|error| Call::from_kube("apply the status of", &format!("rig {name}"), error))
    }
}

/// Nobody else may own a field of the status, so a conflict is settled in our favour.
fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}
