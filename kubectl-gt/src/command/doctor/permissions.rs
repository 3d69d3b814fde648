//! Whether the user may do what the plugin's commands need.

use serde_json::{Value, json};

use super::findings::Findings;
use crate::cluster::Cluster;

/// Group, resource, subresource, verb, and the command that needs it.
const NEEDED: [(&str, &str, &str, &str, &str); 8] = [
    (gastown_api::GROUP, "rigs", "", "list", "rig list, sling"),
    (gastown_api::GROUP, "polecats", "", "list", "polecat list"),
    (gastown_api::GROUP, "polecats", "", "create", "sling"),
    (
        gastown_api::GROUP,
        "polecats",
        "",
        "patch",
        "polecat nuke, polecat retry",
    ),
    (
        gastown_api::GROUP,
        "polecats",
        "",
        "watch",
        "sling --wait, polecat logs -f",
    ),
    ("", "pods", "log", "get", "polecat logs"),
    ("", "pods", "exec", "create", "polecat attach"),
    ("", "secrets", "", "patch", "auth sync, auth git"),
];

/// Asks the API server about each.
pub async fn check(cluster: &Cluster, findings: &mut Findings) {
    let mut missing = Vec::new();
    for (group, resource, subresource, verb, needed_by) in NEEDED {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": cluster.namespace(),
                "group": group,
                "resource": resource,
                "subresource": subresource,
                "verb": verb,
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        match cluster.review(path, "your permissions", &review).await {
            Ok(answer) if answer["status"]["allowed"] == Value::Bool(true) => {}
            Ok(_) => {
                let object = if subresource.is_empty() {
                    resource.to_owned()
                } else {
                    format!("{resource}/{subresource}")
                };
                missing.push((verb, object, needed_by));
            }
            Err(error) => return findings.unknown("permissions", &error.to_string()),
        }
    }
    if missing.is_empty() {
        findings.good(
            "permissions",
            &format!("every command may be used in namespace {:?}", cluster.namespace()),
        );
    }
    for (verb, object, needed_by) in missing {
        let what = format!(
            "you may not {verb} {object} in namespace {:?} ({needed_by})",
            cluster.namespace()
        );
        findings.careful(
            "permissions",
            &what,
            "ask the cluster's administrator, or choose another namespace with -n",
        );
    }
}
