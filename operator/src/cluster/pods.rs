//! Pods: each write names the UID of the pod that the plan saw, so that a plan on an old state changes nothing.

use std::collections::BTreeMap;

use gastown_api::budget::Share;
use gastown_api::labels;
use gastown_api::work_order::Control;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, LogParams, Patch, PatchParams, PostParams, Preconditions, Request};
use kube::{Api, Resource as _, ResourceExt as _};
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
    /// The pod of that name, as the API server has it now.
    pub async fn find_pod(&self, namespace: &str, name: &str) -> Result<Option<PodView>, Call> {
        let found = self.api::<PodView>(namespace).get_opt(name).await;
        let mut pod =
            found.map_err(|error| Call::from_kube("read", &format!("pod {namespace}/{name}"), error))?;
        if let Some(pod) = &mut pod {
            pod.prune();
        }
        Ok(pod)
    }

    /// The last lines of a container's log.
    pub async fn end_of_log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        lines: i64,
    ) -> Result<String, Call> {
        let params = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(lines),
            ..LogParams::default()
        };
        let log = self.api::<Pod>(namespace).logs(pod, &params).await;
        log.map_err(|error| {
            let object = format!("{container}'s log of pod {namespace}/{pod}");
            Call::from_kube("read", &object, error)
        })
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
        let api: Api<PodView> = self.api(namespace);
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
        let api: Api<PodView> = self.api(namespace);
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
        let api: Api<PodView> = self.api(namespace);
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

/// For patches that others may add to.
pub(super) fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
