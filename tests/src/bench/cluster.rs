//! The API server under measurement: plain requests, and the namespace and objects that the measurements use.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use gastown_api::labels;
use http::{HeaderName, HeaderValue, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use super::audit;

/// The namespace of all polecats here; it enforces what a real one would.
pub const NAMESPACE: &str = "bench";
/// The rig of all polecats here.
pub const RIG: &str = "bench";
/// How many requests are under way at most where as many as possible are sent.
pub const IN_FLIGHT: usize = 32;

/// How a body changes an object.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// JSON merge patch.
    Merge,
    /// Server-side apply.
    Apply,
}

/// An API server that serves the definitions of this checkout.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

/// What is read of an answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// Name, UID, resource version.
    pub metadata: Metadata,
}

/// Which object, and which state of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its resource version.
    pub resource_version: String,
}

impl Cluster {
    /// Connects to the API server of `kubeconfig`.
    pub async fn connect(kubeconfig: &Path) -> Result<Self> {
        // A second installation in the same process is refused, which is no harm: it is the same provider.
        let _ = gastown_crypto::install();
        let file = Kubeconfig::read_from(kubeconfig)
            .with_context(|| format!("failed to read the kubeconfig {:?}", kubeconfig.display()))?;
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .with_context(|| format!("failed to use the kubeconfig {:?}", kubeconfig.display()))?;
        let agent = HeaderValue::from_static(audit::USER_AGENT);
        config
            .headers
            .push((HeaderName::from_static("user-agent"), agent));
        let client = Client::try_from(config).context("failed to make a client")?;
        Ok(Self { client })
    }

    /// The client, for watches.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Makes the namespace and the rig.
    pub async fn furnish(&self) -> Result<()> {
        let namespace = json!({"metadata": {
            "name": NAMESPACE,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        }});
        let rig = json!({
            "apiVersion": format!("{}/{}", gastown_api::GROUP, gastown_api::VERSION),
            "kind": "Rig",
            "metadata": {"name": RIG},
            "spec": {"gitURL": "https://git.example.com/bench/project.git", "beadsPrefix": "be", "gitBranch": "main"},
        });
        let _: IgnoredAny = self.post("/api/v1/namespaces", &namespace).await?;
        let rigs = format!("/apis/{}/{}/rigs", gastown_api::GROUP, gastown_api::VERSION);
        let _: IgnoredAny = self.post(&rigs, &rig).await?;
        Ok(())
    }

    /// Creates the polecat `name`, as a user's manifest would.
    pub async fn sling(&self, name: &str) -> Result<Answer> {
        let polecat = json!({
            "apiVersion": format!("{}/{}", gastown_api::GROUP, gastown_api::VERSION),
            "kind": "Polecat",
            "metadata": {"name": name},
            "spec": {
                "rig": RIG,
                "desiredState": "Working",
                "beadID": "be-1a2b",
                "task": {"description": "The test of the calculator fails: find out why, fix it, and commit the fix."},
                "kubernetes": {
                    "gitRepository": "https://git.example.com/bench/project.git",
                    "gitBranch": "main",
                    "gitSecretRef": {"name": "git-credentials"},
                    "claudeCredsSecretRef": {"name": "claude-creds"},
                },
            },
        });
        self.post(&polecats(), &polecat).await
    }

    /// Creates an object in the collection at `path`.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        self.send("POST", path, "application/json", body).await
    }

    /// Reads the object or collection at `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send("GET", path, "application/json", &Value::Null).await
    }

    /// Changes the object at `path`.
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, change: Change, body: &Value) -> Result<T> {
        let (query, content_type) = match change {
            Change::Merge => ("fieldManager=bench", "application/merge-patch+json"),
            Change::Apply => ("fieldManager=bench&force=true", "application/apply-patch+yaml"),
        };
        self.send("PATCH", &format!("{path}?{query}"), content_type, body)
            .await
    }

    /// Deletes every polecat and pod, finalizers or not.
    ///
    /// Nobody else does: the operator must be stopped, and there is neither kubelet nor garbage collector.
    pub async fn clear(&self) -> Result<()> {
        for collection in [polecats(), pods()] {
            let names = self.names(&collection).await?;
            in_parallel(names, |name| {
                let path = format!("{collection}/{name}");
                async move {
                    let strip = json!({"metadata": {"finalizers": null}});
                    let _: IgnoredAny = self.patch(&path, Change::Merge, &strip).await?;
                    Ok(())
                }
            })
            .await?;
            let options = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"});
            let _: IgnoredAny = self
                .send("DELETE", &collection, "application/json", &options)
                .await?;
        }
        Ok(())
    }

    async fn names(&self, collection: &str) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            metadata: HashMap<String, Value>,
        }
        let list: List = self.get(collection).await?;
        let name = |item: Item| {
            item.metadata
                .get("name")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        Ok(list.items.into_iter().filter_map(name).collect())
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<T> {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).context("failed to write a body")?
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(bytes)
            .with_context(|| format!("failed to make the request {method} {path}"))?;
        let answer = self.client.request(request).await;
        answer.with_context(|| format!("failed to {method} {path}"))
    }
}

/// The collection of polecats.
#[must_use]
pub fn polecats() -> String {
    let (group, version) = (gastown_api::GROUP, gastown_api::VERSION);
    format!("/apis/{group}/{version}/namespaces/{NAMESPACE}/polecats")
}

/// The collection of pods.
#[must_use]
pub fn pods() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods")
}

/// A pod as it can be created for another polecat: what the API server added to it is taken off, but for defaults.
#[must_use]
pub fn as_posted(pod: &Value, polecat: &str, uid: &str) -> Value {
    let mut pod = pod.clone();
    if let Some(object) = pod.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        for field in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "managedFields",
            "generation",
            "selfLink",
        ] {
            metadata.remove(field);
        }
    }
    pod["metadata"]["name"] = gastown_api::pod::pod_name(polecat).into();
    pod["metadata"]["labels"][labels::POLECAT] = polecat.into();
    if let Some(owner) = pod.pointer_mut("/metadata/ownerReferences/0") {
        owner["name"] = polecat.into();
        owner["uid"] = uid.into();
    }
    pod
}

/// Does `work` with each of `items`, [`IN_FLIGHT`] at a time, until one fails.
pub async fn in_parallel<T, F>(items: Vec<T>, work: impl Fn(T) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    stream::iter(items)
        .map(work)
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

/// Waits a moment in which the API server writes its log and its watchers catch up.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_posted_again_for_another_polecat_without_what_the_server_added() {
        let pod = json!({
            "metadata": {"name": "polecat-a", "uid": "1", "resourceVersion": "2", "managedFields": [],
                "labels": {"gastown.io/polecat": "a"}, "ownerReferences": [{"name": "a", "uid": "0"}]},
            "spec": {"containers": []},
            "status": {"phase": "Pending"},
        });
        let expected = json!({
            "metadata": {"name": "polecat-b", "labels": {"gastown.io/polecat": "b"},
                "ownerReferences": [{"name": "b", "uid": "9"}]},
            "spec": {"containers": []},
        });
        assert_eq!(as_posted(&pod, "b", "9"), expected);
    }
}
