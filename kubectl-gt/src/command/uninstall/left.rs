//! What neither helm nor the end of the polecats takes away: the Lease that the operator made, and the secrets that
//! `kubectl gt auth` made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cluster::{Call, Cluster, FIELD_MANAGER, Resource, Selection};
use crate::reporter::Reporter;

/// Leases of operators, those of nodes aside, of which a cluster has one each.
const LEASES: &str =
    "/apis/coordination.k8s.io/v1/leases?fieldSelector=metadata.namespace%21%3Dkube-node-lease";

/// What the chart calls the Lease, after the name of the release.
const LEASE: &str = "gastown-operator";

/// Names by namespace.
type Names = BTreeMap<String, BTreeSet<String>>;

/// What is left.
#[derive(Debug, Default)]
pub struct Left {
    leases: Names,
    secrets: Names,
}

impl Left {
    /// Looks in every namespace. Of secrets no value is read.
    pub async fn look(cluster: &Cluster, operators: &[Value], reporter: Reporter) -> Result<Self, Call> {
        let mut left = Self::default();
        match cluster.read(LEASES, "leases").await {
            Ok(list) => list["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|lease| is_of_an_operator(lease, operators))
                .for_each(|lease| add(&mut left.leases, &lease["metadata"])),
            Err(Call::Forbidden { .. }) => reporter.warn("you may not list leases, and the operator's stays"),
            Err(error) => return Err(error),
        }
        let everywhere = Selection {
            fields: None,
            all_namespaces: true,
        };
        let read = cluster.each_table(Resource::SECRETS, &everywhere, |page| {
            let ours = page.rows.iter().map(|row| &row.object["metadata"]);
            ours.filter(|metadata| is_made_by_us(metadata))
                .for_each(|metadata| add(&mut left.secrets, metadata));
            Ok::<_, Call>(())
        });
        match read.await {
            Ok(()) => {}
            Err(Call::Forbidden { .. }) => {
                reporter.warn("you may not list secrets, and those that `kubectl gt auth` made stay");
            }
            Err(error) => return Err(error),
        }
        Ok(left)
    }

    /// The commands that take it away.
    pub fn commands(&self) -> Vec<String> {
        let of = |kind: &'static str, names: &Names| -> Vec<String> {
            names
                .iter()
                .map(|(namespace, names)| {
                    let names: Vec<_> = names.iter().map(String::as_str).collect();
                    format!("kubectl delete {kind} {} -n {namespace}", names.join(" "))
                })
                .collect()
        };
        [of("lease", &self.leases), of("secret", &self.secrets)].concat()
    }

    /// The namespaces of the operators and of what is left that somebody made for them. Something else may be in them.
    pub fn namespaces(&self, operators: &[Value]) -> BTreeSet<String> {
        let places = operators
            .iter()
            .filter_map(|deployment| deployment["metadata"]["namespace"].as_str().map(str::to_owned));
        let all = places.chain(self.leases.keys().chain(self.secrets.keys()).cloned());
        all.filter(|name| name != "default" && !name.starts_with("kube-"))
            .collect()
    }
}

fn add(names: &mut Names, metadata: &Value) {
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    names.entry(text("namespace")).or_default().insert(text("name"));
}

/// By its name, which is the release's, or by what an operator that is still there was given.
fn is_of_an_operator(lease: &Value, operators: &[Value]) -> bool {
    let name = lease["metadata"]["name"].as_str().unwrap_or_default();
    let named = operators.iter().any(|deployment| {
        let text = deployment["spec"]["template"]["spec"]["containers"].to_string();
        deployment["metadata"]["namespace"] == lease["metadata"]["namespace"]
            && text.contains(&format!("\"--lease-name={name}\""))
    });
    named || name == LEASE || name.ends_with(&format!("-{LEASE}"))
}

/// Whether nobody but the plugin set fields of it: what somebody else made is not ours to take away.
fn is_made_by_us(metadata: &Value) -> bool {
    let managers = metadata["managedFields"].as_array();
    managers.is_some_and(|managers| {
        !managers.is_empty() && managers.iter().all(|entry| entry["manager"] == FIELD_MANAGER)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::testing::{answering, refusal};
    use crate::session::Session;

    fn reporter() -> Reporter {
        Session::new(crate::flags::ClusterFlags::default()).reporter
    }

    fn secret(namespace: &str, name: &str, managers: &[&str]) -> Value {
        let managers: Vec<_> = managers.iter().map(|name| json!({"manager": name})).collect();
        json!({"cells": [], "object": {"metadata": {"namespace": namespace, "name": name, "managedFields": managers}}})
    }

    #[tokio::test]
    async fn the_lease_and_what_the_plugin_made_are_named_and_nothing_else() {
        let cluster = answering(|request| {
            if request.uri().path().ends_with("/leases") {
                let lease =
                    |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}});
                let leases = [
                    lease("town", "gastown-operator"),
                    lease("other", "a-gastown-operator"),
                    lease("odd", "mine"),
                    lease("elsewhere", "mine"),
                    lease("kube-system", "kube-scheduler"),
                ];
                return (200, json!({"items": leases}));
            }
            let rows = [
                secret("town", "git-creds", &["kubectl-gt", "kubectl-gt"]),
                secret("town", "claude-creds", &["kubectl-gt"]),
                secret("default", "claude-creds", &["kubectl-gt"]),
                secret("town", "by-hand", &["kubectl-create", "kubectl-gt"]),
                secret("town", "sh.helm.release.v1.gastown-operator.v1", &["helm"]),
                secret("town", "unknown", &[]),
            ];
            (200, json!({"columnDefinitions": [], "rows": rows}))
        });
        let containers = json!([{"args": ["--lease-name=mine"]}]);
        let operators = [json!({
            "metadata": {"namespace": "odd"}, "spec": {"template": {"spec": {"containers": containers}}},
        })];
        let left = Left::look(&cluster, &operators, reporter()).await.unwrap();
        let wanted = [
            "kubectl delete lease mine -n odd",
            "kubectl delete lease a-gastown-operator -n other",
            "kubectl delete lease gastown-operator -n town",
            "kubectl delete secret claude-creds -n default",
            "kubectl delete secret claude-creds git-creds -n town",
        ];
        assert_eq!(left.commands(), wanted);
        let namespaces: Vec<_> = left.namespaces(&operators).into_iter().collect();
        assert_eq!(namespaces, ["odd", "other", "town"]);
    }

    #[tokio::test]
    async fn who_may_not_list_secrets_still_learns_the_rest() {
        let cluster = answering(|_| refusal(403, "Forbidden", ""));
        let left = Left::look(&cluster, &[], reporter()).await.unwrap();
        assert!(left.commands().is_empty());
    }
}
