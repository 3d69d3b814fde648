//! From an API server's answer to what it means for whoever asked.

use kube::core::Status;

use super::{Call, chain, words};
use crate::cluster::{Cluster, Resource};

impl Call {
    /// What became of `act` on the object of that name, or on the collection where `name` is empty.
    pub fn from_kube(
        act: &'static str,
        resource: Resource,
        name: &str,
        cluster: &Cluster,
        error: kube::Error,
    ) -> Self {
        let object = resource.describe(name);
        let address = cluster.address().to_owned();
        match error {
            kube::Error::Api(status) => Self::from_status(act, resource, object, cluster, &status),
            kube::Error::SerdeError(source) => Self::Decode {
                act,
                object,
                address,
                words: format!("the answer is no Kubernetes object ({source})"),
            },
            kube::Error::Auth(source) => Self::Unauthorized {
                act,
                object,
                address,
                words: chain(&source),
            },
            other => Self::Unreachable {
                act,
                object,
                address,
                words: words(&other),
            },
        }
    }

    /// An object of that name is there already.
    pub fn exists(act: &'static str, resource: Resource, name: &str, cluster: &Cluster) -> Self {
        Self::Exists {
            act,
            object: resource.describe(name),
            delete: deletion(resource, name, cluster),
        }
    }

    fn from_status(
        act: &'static str,
        resource: Resource,
        object: String,
        cluster: &Cluster,
        status: &Status,
    ) -> Self {
        let words = status.message.trim().replace('\n', " ");
        let (reason, code) = (status.reason.as_str(), status.code);
        match code {
            404 if missing_namespace(status) => Self::NotFound {
                act,
                place: String::new(),
                remedy: remedy(Resource::NAMESPACES),
                object: format!("{object}: namespace {:?}", cluster.namespace()),
            },
            404 if names_an_object(status) => Self::NotFound {
                act,
                place: place(resource, cluster.namespace()),
                remedy: remedy(resource),
                object,
            },
            404 if resource.is_ours() => Self::NotInstalled {
                act,
                object,
                address: cluster.address().to_owned(),
            },
            // What every API server serves.
            404 => Self::Decode {
                act,
                object,
                address: cluster.address().to_owned(),
                words: format!("the server answers 404 ({words})"),
            },
            401 => Self::Unauthorized {
                act,
                object,
                address: cluster.address().to_owned(),
                words,
            },
            403 => Self::Forbidden {
                act,
                check: check(status, cluster.namespace()),
                object,
                words,
            },
            400 if words.contains("unknown field") || words.contains("strict decoding") => Self::Skew {
                act,
                object,
                words: unknown_fields(&words),
            },
            // So the API server answers an apply of a field that its schema lacks.
            500 if words.contains(NOT_DECLARED) => Self::Skew {
                act,
                object,
                words: undeclared_field(&words),
            },
            400 | 413 | 422 => Self::Invalid { act, object, words },
            409 if reason == "AlreadyExists" => Self::Exists {
                act,
                delete: deletion(resource, &named(status), cluster),
                object,
            },
            409 => Self::Conflict { act, object, words },
            _ => Self::ServerFailed {
                act,
                object,
                code,
                words,
            },
        }
    }
}

/// The API server answers 404 for a kind that it does not serve too, without naming an object.
fn names_an_object(status: &Status) -> bool {
    status
        .details
        .as_ref()
        .is_some_and(|details| !details.name.is_empty())
}

/// An object cannot be created in a namespace that does not exist.
fn missing_namespace(status: &Status) -> bool {
    let kind = status.details.as_ref().map(|details| details.kind.as_str());
    kind == Some("namespaces")
}

fn named(status: &Status) -> String {
    let name = status.details.as_ref().map(|details| details.name.as_str());
    name.filter(|name| !name.is_empty()).unwrap_or("NAME").to_owned()
}

/// The command that deletes the object.
fn deletion(resource: Resource, name: &str, cluster: &Cluster) -> String {
    match resource {
        Resource::POLECATS => format!("kubectl gt polecat nuke {} --force", cluster.typed(name)),
        Resource::RIGS => format!("kubectl gt rig delete {name}"),
        _ => {
            let (kind, namespace) = (resource.qualified(), cluster.namespace());
            let place = if resource.is_namespaced() {
                format!(" -n {namespace}")
            } else {
                String::new()
            };
            format!("kubectl delete {kind} {name}{place}")
        }
    }
}

/// ` in namespace …`, for kinds that are in one.
fn place(resource: Resource, namespace: &str) -> String {
    if resource.is_namespaced() {
        format!(" in namespace {namespace:?}")
    } else {
        String::new()
    }
}

/// How to see what exists instead.
fn remedy(resource: Resource) -> String {
    let all = resource.describe("");
    match resource {
        Resource::RIGS => {
            "`kubectl gt rig list` shows what exists, `kubectl gt rig create` makes one".to_owned()
        }
        Resource::POLECATS => "`kubectl gt polecat list -A` shows what exists".to_owned(),
        Resource::NAMESPACES => "create it, or choose another with -n".to_owned(),
        _ if resource.is_namespaced() => {
            format!("check the name and the namespace (-n) with `kubectl get {all}`")
        }
        _ => format!("check the name with `kubectl get {all}`"),
    }
}

/// `kubectl auth can-i …` for what was refused.
fn check(status: &Status, namespace: &str) -> String {
    let word = |before: &str| {
        let (_, rest) = status.message.split_once(before)?;
        rest.split('"').next().map(str::to_owned)
    };
    let verb = word("cannot ").map(|rest| rest.split(' ').next().unwrap_or_default().to_owned());
    let resource = word("resource \"");
    match (verb, resource) {
        (Some(verb), Some(resource)) => format!("kubectl auth can-i {verb} {resource} -n {namespace}"),
        _ => format!("kubectl auth can-i --list -n {namespace}"),
    }
}

/// `unknown field "spec.x"`, out of the server's longer sentence.
fn unknown_fields(words: &str) -> String {
    let fields: Vec<_> = words
        .match_indices("unknown field \"")
        .filter_map(|(at, found)| words[at + found.len()..].split('"').next())
        .collect();
    if fields.is_empty() {
        words.to_owned()
    } else {
        format!("the field {}", fields.join(", "))
    }
}

const NOT_DECLARED: &str = ": field not declared in schema";

/// `the field spec.x`, out of `… .spec.x: field not declared in schema`.
fn undeclared_field(words: &str) -> String {
    let before = words.split(NOT_DECLARED).next().unwrap_or_default();
    let field = before.rsplit(' ').next().unwrap_or_default();
    format!("the field {}", field.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{answering, refusal};
    use crate::exit::Exit;

    #[tokio::test]
    async fn what_is_in_the_way_is_deleted_by_a_command_that_can_be_typed() {
        let cluster = answering(|_| refusal(409, "AlreadyExists", "furiosa"));
        for (resource, command) in [
            (Resource::POLECATS, "`kubectl gt polecat nuke furiosa --force`"),
            (Resource::RIGS, "`kubectl gt rig delete furiosa`"),
            (Resource::SECRETS, "`kubectl delete secret furiosa -n town`"),
        ] {
            let object = serde_json::json!({"metadata": {"name": "furiosa"}});
            let created = cluster
                .create(resource, &object, crate::cluster::DryRun::No)
                .await;
            let words = created.unwrap_err().to_string();
            assert!(words.contains("it exists") && words.contains(command), "{words}");
        }
    }

    fn status(code: u16, reason: &str, message: &str) -> Status {
        Status {
            code,
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Status::default()
        }
    }

    #[test]
    fn what_may_be_checked_is_named_as_kubectl_names_it() {
        let forbidden = status(
            403,
            "Forbidden",
            r#"polecats.gastown.gastown.io is forbidden: User "jane" cannot list resource "polecats" in API group "gastown.gastown.io" in the namespace "default""#,
        );
        assert_eq!(
            check(&forbidden, "default"),
            "kubectl auth can-i list polecats -n default"
        );
        assert_eq!(
            check(&status(403, "", "no"), "x"),
            "kubectl auth can-i --list -n x"
        );
    }

    #[tokio::test]
    async fn what_does_not_exist_is_told_with_a_command_that_shows_what_does() {
        let cluster = answering(|_| refusal(404, "NotFound", "x"));
        for (resource, place, remedy) in [
            (
                Resource::DEFINITIONS,
                "it does not exist;",
                "`kubectl get customresourcedefinitions`",
            ),
            (
                Resource::SECRETS,
                "it does not exist in namespace \"town\";",
                "(-n) with `kubectl get secrets`",
            ),
            (Resource::RIGS, "it does not exist;", "`kubectl gt rig list`"),
        ] {
            let error = cluster.get(resource, "x").await.unwrap_err();
            assert_eq!(error.exit(), Exit::NotFound);
            let words = error.to_string();
            assert!(words.contains(place) && words.contains(remedy), "{words}");
        }
    }

    #[tokio::test]
    async fn only_a_kind_of_the_operator_is_taken_for_not_installed() {
        let cluster = answering(|_| refusal(404, "NotFound", ""));
        let error = cluster.get(Resource::RIGS, "x").await.unwrap_err();
        assert_eq!(error.exit(), Exit::NotInstalled);
        let error = cluster
            .read("/version", "the cluster's version")
            .await
            .unwrap_err();
        assert_eq!(error.exit(), Exit::Unreachable);
        let words = error.to_string();
        assert!(
            words.contains("check that https://town.example is a Kubernetes API server"),
            "{words}"
        );
    }

    #[test]
    fn the_fields_that_a_cluster_does_not_know_are_named() {
        let words = r#"Polecat in version "v1alpha1" cannot be handled as a Polecat: strict decoding error: unknown field "spec.a", unknown field "spec.b""#;
        assert_eq!(unknown_fields(words), "the field spec.a, spec.b");
        let words = "failed to create typed patch object (town/a; x/v1, Kind=Polecat): .spec.budget: field not declared in schema";
        assert_eq!(undeclared_field(words), "the field spec.budget");
    }
}
