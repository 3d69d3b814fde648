//! A call that failed: what kind of failure it was, and what to do about it.

use kube::core::Status;

use super::{Cluster, Resource};
use crate::exit::Exit;

/// Why the cluster did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Call {
    /// There is no such object.
    #[error("failed to {act} {object}: it does not exist{place}; {remedy}")]
    NotFound {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// ` in namespace …`, where it has one.
        place: String,
        /// How to see what exists.
        remedy: String,
    },
    /// The name is empty.
    #[error("failed to {act} the {kind}: its name is empty; write it (is a variable of your shell not set?)")]
    NoName {
        /// What was tried.
        act: &'static str,
        /// On what kind of object.
        kind: &'static str,
    },
    /// The task that read a page broke off.
    #[error("failed to read the next page of the list; try again")]
    NextPage(#[source] tokio::task::JoinError),
    /// The cluster does not serve the kind.
    #[error(
        "failed to {act} {object}: the cluster {address} does not serve gastown.gastown.io/v1alpha1; install the operator (`helm install gastown-operator …`, see the README), or choose another cluster with --context"
    )]
    NotInstalled {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The API server.
        address: String,
    },
    /// The cluster serves the kind, and not as this plugin knows it.
    #[error(
        "failed to {act} {object}: the cluster does not know {words}: its definitions are of another version than this plugin ({version}); upgrade the chart, or use the plugin of the chart's version (`kubectl gt doctor` compares them)",
        version = env!("CARGO_PKG_VERSION")
    )]
    Skew {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The server's words.
        words: String,
    },
    /// The user may not.
    #[error("failed to {act} {object}: {words}; ask for that right, and check with `{check}`")]
    Forbidden {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The server's words.
        words: String,
        /// A command that tells whether it is granted.
        check: String,
    },
    /// The cluster does not know the user.
    #[error(
        "failed to {act} {object}: the cluster {address} does not accept your credentials ({words}); log in again, or choose another user with --user or --context"
    )]
    Unauthorized {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The API server.
        address: String,
        /// The server's words.
        words: String,
    },
    /// The object breaks a rule.
    #[error("failed to {act} {object}: {words}; correct what the message names")]
    Invalid {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The server's words.
        words: String,
    },
    /// An object of that name exists.
    #[error("failed to {act} {object}: it exists; choose another name, or delete it first")]
    Exists {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
    },
    /// Someone else wrote the same.
    #[error("failed to {act} {object}: {words}; look at the object, and repeat")]
    Conflict {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The server's words.
        words: String,
    },
    /// The server is up and could not.
    #[error("failed to {act} {object}: the API server answered {code} ({words}); repeat in a moment")]
    ServerFailed {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The HTTP status.
        code: u16,
        /// The server's words.
        words: String,
    },
    /// Nothing answers.
    #[error(
        "failed to {act} {object}: cannot reach the cluster {address} ({words}); check that it runs and that --context names it (`kubectl cluster-info`)"
    )]
    Unreachable {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The API server.
        address: String,
        /// What went wrong.
        words: String,
    },
    /// The answer took too long.
    #[error(
        "failed to {act} {object}: no answer within {seconds} s; raise --request-timeout, or check the cluster"
    )]
    TooSlow {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// How long it was waited.
        seconds: f64,
    },
    /// The answer makes no sense.
    #[error("failed to {act} {object}: {words}; check that {address} is a Kubernetes API server")]
    Decode {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// The API server.
        address: String,
        /// What is wrong with it.
        words: String,
    },
    /// The request cannot be put into words of HTTP.
    #[error("failed to {act} {object}: {source}; check names and namespace")]
    Build {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// What is wrong with it.
        source: http::Error,
    },
}

impl Call {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotFound { .. } => Exit::NotFound,
            Self::NoName { .. } => Exit::Usage,
            Self::NotInstalled { .. } | Self::Skew { .. } => Exit::NotInstalled,
            Self::Forbidden { .. } | Self::Unauthorized { .. } => Exit::Forbidden,
            Self::Invalid { .. } => Exit::Invalid,
            Self::Exists { .. } | Self::Conflict { .. } => Exit::Conflict,
            Self::Unreachable { .. } | Self::TooSlow { .. } | Self::Decode { .. } => Exit::Unreachable,
            Self::ServerFailed { .. } | Self::Build { .. } | Self::NextPage(_) => Exit::Failure,
        }
    }

    /// Whether another try may help: the network or a server that is coming up.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::ServerFailed { .. } | Self::TooSlow { .. }
        )
    }

    /// The same, with what may have been meant.
    pub fn with_hint(self, hint: Option<&str>) -> Self {
        match (self, hint) {
            (
                Self::NotFound {
                    act,
                    object,
                    place,
                    remedy,
                },
                Some(hint),
            ) => Self::NotFound {
                act,
                object,
                place,
                remedy: format!("{hint} ({remedy})"),
            },
            (other, _) => other,
        }
    }

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
            409 if reason == "AlreadyExists" => Self::Exists { act, object },
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

/// A client's error in words, with its causes, without the debug text that kube adds.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        kube::Error::Service(source) => chain(source.as_ref()),
        other => chain(other),
    }
}

/// An error and its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{answering, refusal};

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
