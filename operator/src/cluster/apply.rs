//! Writes to polecats, rigs and pods. Each carries a precondition, so that a plan on an old state changes nothing.

use std::collections::BTreeMap;

use gastown_api::budget::Share;
use gastown_api::labels;
use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use gastown_api::work_order::Control;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, Request};
use kube::core::{NamespaceResourceScope, Resource};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::refusal::classify_forbidden;
use super::{Call, Cluster, FIELD_MANAGER};
use crate::pod_view::PodView;
use crate::types::Refusal;

/// What came of creating a pod.
#[derive(Debug)]
pub enum Created {
    /// It exists now.
    Pod(Box<PodView>),
    /// One of its name existed before.
    Exists,
    /// The API server will not have it.
    Refused(Refusal),
}

impl Cluster {
    fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Sets finalizers and labels of a polecat that nobody has changed since it was read.
    pub async fn claim(
        &self,
        polecat: &Polecat,
        finalizers: &[String],
        labels: &BTreeMap<String, String>,
    ) -> Result<Polecat, Call> {
        self.mark_polecat("claim", polecat, finalizers, labels).await
    }

    /// Puts finalizers and labels back on a polecat that nobody has changed since it was read.
    pub async fn restore_polecat(
        &self,
        polecat: &Polecat,
        finalizers: &[String],
        labels: &BTreeMap<String, String>,
    ) -> Result<Polecat, Call> {
        self.mark_polecat("restore", polecat, finalizers, labels).await
    }

    async fn mark_polecat(
        &self,
        act: &'static str,
        polecat: &Polecat,
        finalizers: &[String],
        labels: &BTreeMap<String, String>,
    ) -> Result<Polecat, Call> {
        let patch = json!({"metadata": {
            "resourceVersion": polecat.metadata.resource_version,
            "finalizers": finalizers,
            "labels": labels,
        }});
        self.patch_polecat(act, polecat, &patch).await
    }

    /// Takes our finalizer off a polecat that nobody has changed since it was read.
    pub async fn release_polecat(&self, polecat: &Polecat, finalizers: &[String]) -> Result<Polecat, Call> {
        let patch = json!({"metadata": {
            "resourceVersion": polecat.metadata.resource_version,
            "finalizers": finalizers,
        }});
        self.patch_polecat("release", polecat, &patch).await
    }

    /// Deletes a polecat that nobody has changed since it was read; answers what is left of it while finalizers hold
    /// it, else what it was, without any.
    pub async fn delete_polecat(&self, polecat: &Polecat) -> Result<Polecat, Call> {
        let (namespace, name) = (polecat.namespace().unwrap_or_default(), polecat.name_any());
        let api: Api<Polecat> = self.namespaced(&namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: polecat.metadata.uid.clone(),
                resource_version: polecat.metadata.resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        let answer = api.delete(&name, &params).await;
        let answer = answer
            .map_err(|error| Call::from_kube("delete", &format!("polecat {namespace}/{name}"), error))?;
        Ok(answer.left().unwrap_or_else(|| {
            let mut gone = polecat.clone();
            gone.metadata.finalizers = None;
            gone.metadata.deletion_timestamp = gone.metadata.creation_timestamp.clone();
            gone
        }))
    }

    async fn patch_polecat(
        &self,
        act: &'static str,
        polecat: &Polecat,
        patch: &serde_json::Value,
    ) -> Result<Polecat, Call> {
        let (namespace, name) = (polecat.namespace().unwrap_or_default(), polecat.name_any());
        let api: Api<Polecat> = self.namespaced(&namespace);
        let params = manager();
        let patched = api.patch(&name, &params, &Patch::Merge(patch)).await;
        patched.map_err(|error| Call::from_kube(act, &format!("polecat {namespace}/{name}"), error))
    }

    /// Takes the predecessor's finalizer off a rig that nobody has changed since it was read.
    pub async fn release_rig(&self, rig: &Rig) -> Result<(), Call> {
        let ours = |f: &&String| f.as_str() != labels::PREDECESSOR_RIG_FINALIZER;
        let finalizers: Vec<_> = rig.finalizers().iter().filter(ours).collect();
        let patch = json!({"metadata": {
            "resourceVersion": rig.metadata.resource_version,
            "finalizers": finalizers,
        }});
        let api: Api<Rig> = Api::all(self.client.clone());
        let name = rig.name_any();
        let patched = api.patch(&name, &manager(), &Patch::Merge(&patch)).await;
        patched
            .map(drop)
            .map_err(|error| Call::from_kube("release", &format!("rig {name}"), error))
    }

    /// Creates a pod. It is posted, never applied: two operators cannot both succeed.
    pub async fn create_pod(&self, pod: &Pod) -> Result<Created, Call> {
        let namespace = pod.namespace().unwrap_or_default();
        let object = format!("pod {namespace}/{}", pod.name_any());
        let body = serde_json::to_vec(pod).map_err(|source| Call::Encode {
            object: object.clone(),
            source,
        })?;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let url = Pod::url_path(&(), Some(&namespace));
        let request = Request::new(url)
            .create(&params, body)
            .map_err(|source| Call::Build {
                act: "create",
                object: object.clone(),
                source: Box::new(source),
            })?;
        match self.client.request::<PodView>(request).await {
            Ok(view) => Ok(Created::Pod(Box::new(view))),
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                Ok(Created::Exists)
            }
            Err(kube::Error::Api(status)) => match classify_forbidden(&status) {
                Some(refusal) => Ok(Created::Refused(refusal)),
                None => Err(Call::from_kube("create", &object, kube::Error::Api(status))),
            },
            Err(error) => Err(Call::from_kube("create", &object, error)),
        }
    }

    /// Deletes the pod of that UID, with its own grace; none: it is gone.
    pub async fn delete_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<Option<PodView>, Call> {
        let api: Api<PodView> = self.namespaced(namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(name, &params).await {
            Ok(answer) => Ok(answer.left()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Call::from_kube(
                "delete",
                &format!("pod {namespace}/{name}"),
                error,
            )),
        }
    }

    /// Tells the pod of that UID what is set aside of its budget; none: it is gone.
    pub async fn grant(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        granted: Share,
    ) -> Result<Option<PodView>, Call> {
        let api: Api<PodView> = self.namespaced(namespace);
        let object = format!("pod {namespace}/{name}");
        let control = serde_json::to_string(&Control { granted }).map_err(|source| Call::Encode {
            object: object.clone(),
            source,
        })?;
        let patch = json!({"metadata": {"uid": uid, "annotations": {labels::CONTROL: control}}});
        match api.patch(name, &manager(), &Patch::Merge(patch)).await {
            Ok(pod) => Ok(Some(pod)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Call::from_kube("tell the budget of", &object, error)),
        }
    }

    /// Takes our finalizer off the pod of that UID; none: it is gone. The kubelet's own writes do not conflict.
    pub async fn release_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<Option<PodView>, Call> {
        let patch = json!({"metadata": {
            "uid": uid,
            "$deleteFromPrimitiveList/finalizers": [labels::EVIDENCE_FINALIZER],
        }});
        self.patch_pod("release", namespace, name, patch).await
    }

    /// Puts our finalizer and `labels` back on the pod of that UID; none: it is gone.
    pub async fn restore_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<PodView>, Call> {
        // A strategic merge adds to the list of finalizers.
        let patch = json!({"metadata": {
            "uid": uid,
            "finalizers": [labels::EVIDENCE_FINALIZER],
            "labels": labels,
        }});
        self.patch_pod("restore", namespace, name, patch).await
    }

    async fn patch_pod(
        &self,
        act: &'static str,
        namespace: &str,
        name: &str,
        patch: serde_json::Value,
    ) -> Result<Option<PodView>, Call> {
        let api: Api<PodView> = self.namespaced(namespace);
        match api.patch(name, &manager(), &Patch::Strategic(patch)).await {
            Ok(mut pod) => {
                pod.prune();
                Ok(Some(pod))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Call::from_kube(act, &format!("pod {namespace}/{name}"), error)),
        }
    }
}

fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
