//! Says before the pod does that a secret is missing: the polecat would park until it appears.

use gastown_api::repository::RepositoryUrl;
use serde_json::Value;

use super::manifest::Manifest;
use crate::cluster::{Call, Cluster, Resource};
use crate::git_secret;
use crate::model_secret;
use crate::session::Session;
use crate::view::Rig;

/// Warns of secrets that do not exist or cannot work, with the command that cures it. That secrets may not be read
/// is no reason to stop: the broker looks again.
pub async fn check(session: &Session, cluster: &Cluster, rig: &Rig, manifest: &Manifest) {
    for warning in warnings(cluster, &session.namespace_flag(), rig, manifest).await {
        session.reporter.warn(&warning);
    }
}

async fn warnings(cluster: &Cluster, flag: &str, rig: &Rig, manifest: &Manifest) -> Vec<String> {
    let git = manifest
        .git_secret
        .as_ref()
        .map(|secret| secret.name.as_str())
        .or(rig.git_secret());
    let url: Option<RepositoryUrl> = rig.spec.git_url.parse().ok();
    let mut looks = Vec::new();
    if let (Some(name), Some(url)) = (git, &url) {
        let needed = Needed {
            name,
            purpose: "to clone and push",
            remedy: format!("{}{flag}", git_secret::remedy(&rig.metadata.name, name, url)),
        };
        let problems = |secret: &Value| git_secret::problems(secret, url);
        looks.push(look(cluster, needed, problems).await);
    }
    let model = manifest
        .model_secret
        .as_ref()
        .map(|secret| secret.name.as_str())
        .or(rig.model_secret());
    if let Some(name) = model {
        let needed = Needed {
            name,
            purpose: "to call the model",
            remedy: format!("{}{flag}", model_secret::remedy(name)),
        };
        let problems = |secret: &Value| model_secret::problems(secret, jiff::Timestamp::now());
        looks.push(look(cluster, needed, problems).await);
    }
    let absent: Vec<_> = looks.iter().filter_map(Look::absent).collect();
    // Who wrote a namespace meant it.
    let elsewhere = if flag.is_empty() {
        elsewhere(cluster, &absent).await
    } else {
        None
    };
    let hint = elsewhere.map(|namespace| not_here(cluster.namespace(), &namespace, &absent));
    let others = looks
        .iter()
        .filter(|look| hint.is_none() || look.absent().is_none())
        .flat_map(Look::warnings);
    hint.iter().cloned().chain(others).collect()
}

/// Another namespace that has all secrets of these names.
async fn elsewhere(cluster: &Cluster, absent: &[&Needed<'_>]) -> Option<String> {
    let (first, others) = absent.split_first()?;
    let mut found = cluster.namespaces_with(Resource::SECRETS, first.name).await;
    for needed in others {
        let also = cluster.namespaces_with(Resource::SECRETS, needed.name).await;
        found.retain(|namespace| also.contains(namespace));
    }
    found.into_iter().next()
}

/// Secrets that another namespace has: `-n` was forgotten, more likely than to make them here, too.
fn not_here(here: &str, there: &str, absent: &[&Needed<'_>]) -> String {
    let names: Vec<_> = absent.iter().map(|needed| format!("{:?}", needed.name)).collect();
    let remedies: Vec<_> = absent.iter().map(|needed| needed.remedy.as_str()).collect();
    let (noun, them) = if names.len() == 1 {
        ("secret", "it")
    } else {
        ("secrets", "them")
    };
    format!(
        "the polecat waits in namespace {here:?}, which does not have the {noun} {}; namespace {there:?} has {them}: end this polecat (`kubectl gt polecat nuke NAME --force`), and repeat with -n {there}; or make {them} here, too, with:\n  {}",
        names.join(" and "),
        remedies.join("\n  ")
    )
}

/// A secret that the polecat needs.
struct Needed<'a> {
    name: &'a str,
    purpose: &'static str,
    remedy: String,
}

/// What was seen of a secret.
enum Look<'a> {
    /// It is not there.
    Absent(Needed<'a>),
    /// What keeps it from working.
    Flawed(Needed<'a>, Vec<String>),
    /// It could not be read.
    Unread(Needed<'a>, Call),
}

impl Look<'_> {
    fn absent(&self) -> Option<&Needed<'_>> {
        match self {
            Self::Absent(needed) => Some(needed),
            _ => None,
        }
    }

    fn warnings(&self) -> Vec<String> {
        match self {
            Self::Absent(needed) => vec![format!(
                "there is no secret {:?} {}: the polecat will wait for it; make it with:\n  {}",
                needed.name, needed.purpose, needed.remedy
            )],
            Self::Flawed(needed, problems) => problems
                .iter()
                .map(|problem| {
                    format!(
                        "secret {:?}: {problem}; cure it with:\n  {}",
                        needed.name, needed.remedy
                    )
                })
                .collect(),
            Self::Unread(_, Call::Forbidden { .. }) => Vec::new(),
            Self::Unread(needed, error) => {
                vec![format!("secret {:?} could not be checked: {error}", needed.name)]
            }
        }
    }
}

async fn look<'a>(
    cluster: &Cluster,
    needed: Needed<'a>,
    problems: impl FnOnce(&Value) -> Vec<String>,
) -> Look<'a> {
    match cluster.find(Resource::SECRETS, needed.name).await {
        Ok(None) => Look::Absent(needed),
        Ok(Some(secret)) => Look::Flawed(needed, problems(&secret)),
        Err(error) => Look::Unread(needed, error),
    }
}

#[cfg(test)]
mod tests {
    use gastown_api::reference::SecretReference;
    use serde_json::json;

    use super::*;
    use crate::cluster::testing::{answering, refusal};

    /// Namespaces and names of secrets.
    type Secrets = &'static [(&'static str, &'static str)];

    /// The warnings of a sling into `town`, where each namespace has these secrets.
    async fn warned(all: Secrets, flag: &str, may_look: bool) -> Vec<String> {
        let cluster = answering(move |request| {
            let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
            if let Some(name) = path.strip_prefix("/api/v1/namespaces/town/secrets/") {
                return if all.contains(&("town", name)) {
                    (
                        200,
                        json!({"data": {"ANTHROPIC_API_KEY": "c2stYW50LWFwaTAzLWFiY2RlZg=="}}),
                    )
                } else {
                    refusal(404, "NotFound", name)
                };
            }
            if !may_look {
                return refusal(403, "Forbidden", "");
            }
            let rows: Vec<_> = all
                .iter()
                .filter(|(_, name)| {
                    query.contains(&format!("metadata.name%3D{name}"))
                        || query.contains(&format!("metadata.name={name}"))
                })
                .map(|(namespace, _)| json!({"cells": [], "object": {"metadata": {"namespace": namespace}}}))
                .collect();
            (200, json!({"columnDefinitions": [], "rows": rows}))
        });
        let rig =
            Rig::read(&json!({"metadata": {"name": "demo"}, "spec": {"gitURL": "git@example.com:a/b.git"}}));
        let manifest = Manifest {
            rig: "demo".to_owned(),
            bead: None,
            task: None,
            agent: None,
            model: None,
            base_branch: None,
            branch: None,
            git_secret: Some(SecretReference {
                name: "git-creds".to_owned(),
            }),
            model_secret: Some(SecretReference {
                name: "claude-creds".to_owned(),
            }),
            budget: None,
            priority: None,
        };
        warnings(&cluster, flag, &rig, &manifest).await
    }

    #[tokio::test]
    async fn secrets_that_another_namespace_has_are_not_to_be_made_anew() {
        let both = &[
            ("system", "git-creds"),
            ("system", "claude-creds"),
            ("a", "git-creds"),
        ];
        let words = warned(both, "", true).await;
        assert_eq!(words.len(), 1, "{words:?}");
        for part in ["\"town\"", "\"git-creds\" and \"claude-creds\"", "-n system"] {
            assert!(words[0].contains(part), "{words:?}");
        }
        let one = &[("town", "claude-creds"), ("system", "git-creds")];
        let words = warned(one, "", true).await;
        assert!(words.len() == 1 && words[0].contains("-n system"), "{words:?}");
    }

    #[tokio::test]
    async fn secrets_that_no_namespace_has_are_to_be_made_here() {
        let cases: [(Secrets, &str, bool); 4] = [
            (&[], "", true),
            // Neither has both.
            (&[("a", "git-creds"), ("b", "claude-creds")], "", true),
            (&[("system", "git-creds"), ("system", "claude-creds")], "", false),
            // Who writes `-n town` means it.
            (
                &[("system", "git-creds"), ("system", "claude-creds")],
                " -n town",
                true,
            ),
        ];
        for (all, flag, may_look) in cases {
            let words = warned(all, flag, may_look).await;
            assert_eq!(words.len(), 2, "{words:?}");
            assert!(words[0].contains("kubectl gt auth git --rig demo"), "{words:?}");
            assert!(words[1].contains("kubectl gt auth sync"), "{words:?}");
        }
    }
}
