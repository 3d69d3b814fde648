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
    let namespace = session.namespace_flag();
    let git = manifest
        .git_secret
        .as_ref()
        .map(|secret| secret.name.as_str())
        .or(rig.git_secret());
    let url: Option<RepositoryUrl> = rig.spec.git_url.parse().ok();
    if let (Some(name), Some(url)) = (git, &url) {
        let remedy = format!("{}{namespace}", git_secret::remedy(&rig.metadata.name, name, url));
        let needed = Needed {
            name,
            purpose: "to clone and push",
            remedy: &remedy,
        };
        look(session, cluster, needed, |secret| {
            git_secret::problems(secret, url)
        })
        .await;
    }
    let model = manifest
        .model_secret
        .as_ref()
        .map(|secret| secret.name.as_str())
        .or(rig.model_secret());
    if let Some(name) = model {
        let remedy = format!("{}{namespace}", model_secret::remedy(name));
        let needed = Needed {
            name,
            purpose: "to call the model",
            remedy: &remedy,
        };
        let problems = |secret: &Value| model_secret::problems(secret, jiff::Timestamp::now());
        look(session, cluster, needed, problems).await;
    }
}

/// A secret that the polecat needs.
struct Needed<'a> {
    name: &'a str,
    purpose: &'static str,
    remedy: &'a str,
}

async fn look(
    session: &Session,
    cluster: &Cluster,
    needed: Needed<'_>,
    problems: impl FnOnce(&Value) -> Vec<String>,
) {
    let Needed {
        name,
        purpose,
        remedy,
    } = needed;
    match cluster.find(Resource::SECRETS, name).await {
        Ok(None) => session.talk.warn(&format!(
            "there is no secret {name:?} {purpose}: the polecat will wait for it; make it with:\n  {remedy}"
        )),
        Ok(Some(secret)) => {
            for problem in problems(&secret) {
                session
                    .talk
                    .warn(&format!("secret {name:?}: {problem}; cure it with:\n  {remedy}"));
            }
        }
        Err(Call::Forbidden { .. }) => {}
        Err(error) => session
            .talk
            .warn(&format!("secret {name:?} could not be checked: {error}")),
    }
}
