//! Objects that carry a finalizer of the operator.

use gastown_api::labels::{EVIDENCE_FINALIZER, POLECAT, POLECAT_FINALIZER};
use serde_json::{Value, json};

use crate::cluster::{Call, Cluster, Resource, Selection};
use crate::view::Polecat;

/// The finalizers that an operator takes off.
const OURS: [&str; 2] = [EVIDENCE_FINALIZER, POLECAT_FINALIZER];

/// What is held.
#[derive(Debug, Default)]
pub struct Held {
    /// Polecats.
    pub polecats: Vec<Object>,
    /// Their pods.
    pub pods: Vec<Object>,
    /// Whether the cluster serves our kinds. Pods may outlive the definitions.
    pub served: bool,
}

/// An object that is held.
#[derive(Debug)]
pub struct Object {
    /// Its kind, in lower case.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: String,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Its version: what was written since is not overwritten.
    pub version: String,
}

impl Object {
    fn read(kind: &'static str, object: &Value, phase: &str) -> Option<Self> {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        let finalizers: Vec<_> = metadata["finalizers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
            .collect();
        let held = finalizers
            .iter()
            .any(|finalizer| OURS.contains(&finalizer.as_str()));
        held.then(|| Self {
            kind,
            namespace: text("namespace"),
            name: text("name"),
            phase: phase.to_owned(),
            finalizers,
            version: text("resourceVersion"),
        })
    }

    /// For a person.
    pub fn line(&self) -> String {
        format!(
            "{}/{} in {:?}: {}",
            self.kind, self.name, self.namespace, self.phase
        )
    }

    /// For a program.
    pub fn value(&self) -> Value {
        json!({"kind": self.kind, "namespace": self.namespace, "name": self.name, "phase": self.phase})
    }
}

/// The patch that takes our finalizers off, and leaves those of others.
pub fn without_ours(object: &Object) -> Value {
    let kept: Vec<_> = object
        .finalizers
        .iter()
        .filter(|finalizer| !OURS.contains(&finalizer.as_str()))
        .collect();
    json!({"metadata": {"finalizers": kept, "resourceVersion": object.version}})
}

/// What is held in the namespace, or in all.
pub async fn held(cluster: &Cluster, namespace: Option<&str>) -> Result<Held, Call> {
    let place = namespace.map_or_else(
        || cluster.clone(),
        |namespace| cluster.within_namespace(namespace),
    );
    let selection = Selection {
        fields: None,
        all_namespaces: namespace.is_none(),
    };
    let (polecats, served) = match place.list(Resource::POLECATS, &selection).await {
        Err(Call::NotInstalled { .. }) => (Vec::new(), false),
        polecats => (polecats?, true),
    };
    let within = namespace.map_or_else(String::new, |namespace| format!("/namespaces/{namespace}"));
    let label = POLECAT.replace('/', "%2F");
    let pods = place
        .read(
            &format!("/api/v1{within}/pods?labelSelector={label}"),
            "pods of polecats",
        )
        .await?;
    let pods = pods["items"].as_array().into_iter().flatten();
    Ok(Held {
        served,
        polecats: polecats
            .iter()
            .filter_map(|object| Object::read("polecat", object, Polecat::read(object).phase()))
            .collect(),
        pods: pods
            .filter_map(|pod| Object::read("pod", pod, pod["status"]["phase"].as_str().unwrap_or_default()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{answering, refusal};

    fn object(name: &str, finalizers: &[&str]) -> Value {
        json!({"metadata": {"name": name, "namespace": "town", "resourceVersion": "7", "finalizers": finalizers}, "status": {"phase": "Running"}})
    }

    #[tokio::test]
    async fn pods_are_found_also_where_the_definitions_are_gone() {
        let cluster = answering(|request| {
            if request.uri().path().contains("/pods") {
                (
                    200,
                    json!({"items": [object("polecat-a", &[EVIDENCE_FINALIZER])]}),
                )
            } else {
                refusal(404, "NotFound", "")
            }
        });
        let held = held(&cluster, None).await.unwrap();
        assert_eq!((held.polecats.len(), held.pods.len(), held.served), (0, 1, false));
    }

    #[tokio::test]
    async fn only_what_carries_our_finalizer_is_held_and_others_finalizers_stay() {
        let cluster = answering(|request| {
            let items = if request.uri().path().ends_with("/polecats") {
                vec![
                    object("a", &[POLECAT_FINALIZER, "them/x"]),
                    object("b", &[]),
                    object("c", &["them/x"]),
                ]
            } else {
                vec![
                    object("polecat-a", &[EVIDENCE_FINALIZER]),
                    object("polecat-b", &[]),
                ]
            };
            (200, json!({"items": items}))
        });
        let held = held(&cluster, None).await.unwrap();
        assert!(held.served);
        let names = |objects: &[Object]| {
            objects
                .iter()
                .map(|object| object.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&held.polecats), ["a"]);
        assert_eq!(names(&held.pods), ["polecat-a"]);
        let patch = without_ours(&held.polecats[0]);
        assert_eq!(
            patch,
            json!({"metadata": {"finalizers": ["them/x"], "resourceVersion": "7"}})
        );
    }
}
