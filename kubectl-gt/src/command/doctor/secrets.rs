//! Checks that the secrets that polecats need exist and are usable.

use std::fmt::Write as _;

use serde_json::Value;

use super::findings::Findings;
use crate::cluster::{Call, Cluster, Resource};

/// A secret that polecats need.
pub struct Needed<'a> {
    /// The name of the check.
    pub what: &'static str,
    /// Its name.
    pub name: &'a str,
    /// Whether polecats need it in any case; if not, another secret may replace it.
    pub vital: bool,
    /// The message if it has no problem.
    pub good: &'static str,
    /// The command that makes it.
    pub remedy: String,
}

/// Checks the secret.
pub async fn check(
    cluster: &Cluster,
    needed: Needed<'_>,
    problems: impl FnOnce(&Value) -> Vec<String>,
    findings: &mut Findings,
) {
    let Needed {
        what,
        name,
        vital,
        good,
        remedy,
    } = needed;
    match cluster.find(Resource::SECRETS, name).await {
        Ok(Some(secret)) => {
            let problems = problems(&secret);
            if problems.is_empty() {
                findings.good(what, &format!("{name:?} {good}"));
            }
            for problem in problems {
                findings.bad(what, &format!("{name:?}: {problem}"), &remedy);
            }
        }
        Ok(None) => {
            let mut missing = format!("{name:?} does not exist in namespace {:?}", cluster.namespace());
            // `-n` was forgotten, more likely than to make it here, too.
            if let Some(there) = cluster.namespaces_with(Resource::SECRETS, name).await.first() {
                let _ = write!(missing, "; namespace {there:?} has one: repeat with -n {there}");
            }
            if vital {
                findings.bad(what, &missing, &remedy);
            } else {
                findings.careful(what, &missing, &remedy);
            }
        }
        Err(Call::Forbidden { .. }) => {
            findings.unknown(what, &format!("you may not read secret {name:?}"));
        }
        Err(error) => findings.unknown(what, &error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::testing::{answering, refusal};

    #[tokio::test]
    async fn another_namespace_that_has_the_secret_is_named() {
        let cluster = answering(|request| {
            if request.uri().path().contains("/namespaces/") {
                return refusal(404, "NotFound", "git-creds");
            }
            let row = json!({"cells": [], "object": {"metadata": {"namespace": "gastown-system"}}});
            (200, json!({"columnDefinitions": [], "rows": [row]}))
        });
        let needed = Needed {
            what: "git secret",
            name: "git-creds",
            vital: true,
            good: "fits",
            remedy: String::new(),
        };
        let mut findings = Findings::default();
        check(&cluster, needed, |_| Vec::new(), &mut findings).await;
        let words = findings.words().join("\n");
        assert!(words.contains("repeat with -n gastown-system"), "{words}");
    }
}
