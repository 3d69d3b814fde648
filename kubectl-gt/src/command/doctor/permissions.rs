//! Whether the user may do what the plugin's commands need.

use serde_json::{Value, json};

use super::findings::Findings;
use crate::cluster::{Call, Cluster, Resource};

/// What commands ask of a kind.
struct Needed {
    resource: Resource,
    /// Empty for the objects themselves.
    subresource: &'static str,
    /// Whether it is asked of every namespace at once.
    everywhere: bool,
    /// Each verb, and the commands that use it.
    verbs: &'static [(&'static str, &'static str)],
}

impl Needed {
    const fn of(resource: Resource, verbs: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            resource,
            subresource: "",
            everywhere: !resource.is_namespaced(),
            verbs,
        }
    }
}

/// What every command asks for, but for what doctor itself looks at: of that it says what it may not see.
const NEEDED: [Needed; 8] = [
    Needed::of(
        Resource::RIGS,
        &[
            ("get", "rig status, sling"),
            ("list", "rig list, status"),
            ("create", "rig create"),
            ("patch", "validate --server"),
            ("delete", "rig delete"),
        ],
    ),
    Needed::of(
        Resource::POLECATS,
        &[
            ("get", "polecat status, polecat logs"),
            ("list", "polecat list, costs"),
            ("watch", "sling --wait, polecat nuke --wait"),
            ("create", "sling"),
            ("patch", "polecat nuke, polecat retry"),
            ("delete", "polecat nuke --force"),
        ],
    ),
    Needed {
        everywhere: true,
        ..Needed::of(
            Resource::POLECATS,
            &[("list", "status, rig delete, polecat list -A")],
        )
    },
    Needed::of(Resource::PODS, &[("get", "polecat logs, polecat attach")]),
    Needed {
        subresource: "log",
        ..Needed::of(Resource::PODS, &[("get", "polecat logs")])
    },
    Needed {
        subresource: "exec",
        ..Needed::of(Resource::PODS, &[("create", "polecat attach")])
    },
    Needed::of(Resource::EVENTS, &[("list", "polecat describe")]),
    Needed::of(
        Resource::SECRETS,
        &[
            ("get", "auth status, sling"),
            ("create", "auth sync, auth git"),
            ("patch", "auth sync, auth git"),
        ],
    ),
];

/// Asks the API server about each.
pub async fn check(cluster: &Cluster, findings: &mut Findings) {
    let mut every = true;
    for needed in &NEEDED {
        let missing = match missing(cluster, needed).await {
            Ok(missing) => missing,
            Err(error) => return findings.unknown("permissions", &error.to_string()),
        };
        if missing.is_empty() {
            continue;
        }
        every = false;
        let verbs: Vec<_> = missing.iter().map(|(verb, _)| *verb).collect();
        let mut commands: Vec<_> = missing.iter().flat_map(|(_, by)| by.split(", ")).collect();
        commands.sort_unstable();
        commands.dedup();
        let (place, remedy) = place(cluster, needed);
        let what = format!(
            "you may not {} {}{place} ({})",
            verbs.join(", "),
            object(needed),
            commands.join(", ")
        );
        findings.careful("permissions", &what, remedy);
    }
    if every {
        let what = format!("every command may be used in namespace {:?}", cluster.namespace());
        findings.good("permissions", &what);
    }
}

/// The verbs that the user may not use, with their commands.
async fn missing(cluster: &Cluster, needed: &Needed) -> Result<Vec<(&'static str, &'static str)>, Call> {
    let mut missing = Vec::new();
    for (verb, commands) in needed.verbs {
        let namespace = if needed.everywhere {
            ""
        } else {
            cluster.namespace()
        };
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": namespace,
                "group": needed.resource.group,
                "resource": needed.resource.describe(""),
                "subresource": needed.subresource,
                "verb": verb,
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = cluster.review(path, "your permissions", &review).await?;
        if answer["status"]["allowed"] != Value::Bool(true) {
            missing.push((*verb, *commands));
        }
    }
    Ok(missing)
}

/// `pods/log`.
fn object(needed: &Needed) -> String {
    let plural = needed.resource.describe("");
    if needed.subresource.is_empty() {
        plural
    } else {
        format!("{plural}/{}", needed.subresource)
    }
}

/// ` in namespace …`, where it is asked in one, and what to do.
fn place(cluster: &Cluster, needed: &Needed) -> (String, &'static str) {
    match (needed.resource.is_namespaced(), needed.everywhere) {
        (true, false) => (
            format!(" in namespace {:?}", cluster.namespace()),
            "ask the cluster's administrator, or choose another namespace with -n",
        ),
        (true, true) => (
            " in every namespace".to_owned(),
            "ask the cluster's administrator, or stay in one namespace (such as status --this-namespace)",
        ),
        (false, _) => (String::new(), "ask the cluster's administrator"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::answering;

    /// What is found where everything but `refused` is allowed: namespace, object and verb.
    async fn found(refused: &'static [[&str; 3]]) -> Findings {
        let cluster = answering(move |request| {
            let asked = &request.body()["spec"]["resourceAttributes"];
            let refused = refused.iter().any(|&[namespace, object, verb]| {
                let (resource, subresource) = object.split_once('/').unwrap_or((object, ""));
                let of = [namespace, resource, subresource, verb];
                ["namespace", "resource", "subresource", "verb"].map(|field| &asked[field]) == of
            });
            (201, json!({"status": {"allowed": !refused}}))
        });
        let mut findings = Findings::default();
        check(&cluster, &mut findings).await;
        findings
    }

    #[tokio::test]
    async fn who_may_everything_is_told_so() {
        let findings = found(&[]).await;
        assert_eq!(findings.levels(), ["ok"]);
    }

    #[tokio::test]
    async fn a_verb_that_any_command_uses_is_missed() {
        let findings = found(&[
            ["", "rigs", "create"],
            ["", "rigs", "delete"],
            ["town", "polecats", "delete"],
            ["", "polecats", "list"],
            ["town", "pods/log", "get"],
            ["town", "events", "list"],
            ["town", "secrets", "get"],
            ["town", "secrets", "create"],
        ])
        .await;
        assert_eq!(
            findings.words(),
            [
                "you may not create, delete rigs (rig create, rig delete)",
                "you may not delete polecats in namespace \"town\" (polecat nuke --force)",
                "you may not list polecats in every namespace (polecat list -A, rig delete, status)",
                "you may not get pods/log in namespace \"town\" (polecat logs)",
                "you may not list events in namespace \"town\" (polecat describe)",
                "you may not get, create secrets in namespace \"town\" (auth git, auth status, auth sync, sling)",
            ]
        );
    }
}
