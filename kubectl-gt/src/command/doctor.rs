//! `kubectl gt doctor`: what has to be right before anything works, each finding with its remedy.

mod definitions;
pub mod findings;
mod operators;
mod permissions;
mod pods;
pub mod secrets;
mod waiting;

use std::collections::BTreeSet;

use gastown_api::text::counted;
use serde_json::Value;

use self::findings::Findings;
pub use self::operators::{deployments, is_available, none_runs, operator_version, warn_if_none_runs};
use self::secrets::Needed;
use crate::cluster::{Call, Cluster, Resource, Selection};
use crate::command::{GIT_SECRET, MODEL_SECRET};
use crate::error::Error;
use crate::output::OutputArgs;
use crate::session::Session;
use crate::view::Rig;
use crate::{git_secret, model_secret};

/// Native sidecars and `ValidatingAdmissionPolicy` v1 came with this minor version.
const LEAST_MINOR: u32 = 30;

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Checks everything, and fails when something needs a person.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let flag = session.namespace_flag();
        let mut findings = Findings::default();
        kubernetes(&cluster, &mut findings).await?;
        let installed = definitions::check(&cluster, &mut findings).await;
        let operators = operators::check(&cluster, &mut findings).await;
        namespace(&cluster, &mut findings).await;
        permissions::check(&cluster, &mut findings).await;
        let rigs = if installed {
            rigs(&cluster, &mut findings).await
        } else {
            Vec::new()
        };
        if !operators.places.is_empty() {
            operators::left_behind(&rigs, &operators.places, &mut findings);
        }
        of_the_namespace(&cluster, &rigs, &flag, &mut findings).await;
        pods::check(&cluster, &operators.places, &operators.images, &mut findings).await;
        if installed {
            waiting::check(&cluster, &mut findings).await;
        }
        findings.print(session, &self.output.output)?;
        Ok(findings.verdict()?)
    }
}

/// A cluster that does not answer is no finding: nothing else can be checked.
async fn kubernetes(cluster: &Cluster, findings: &mut Findings) -> Result<(), Call> {
    let version = cluster.read("/version", "the cluster's version").await?;
    let text = version["gitVersion"].as_str().unwrap_or("unknown");
    let what = format!("{text} at {}", cluster.address());
    let minor = version["minor"].as_str().unwrap_or_default();
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(number) if number < LEAST_MINOR => findings.bad(
            "kubernetes",
            &what,
            "use Kubernetes 1.30 or OpenShift 4.17 or later: pods need native sidecars",
        ),
        Ok(_) => findings.good("kubernetes", &what),
        Err(_) => findings.unknown(
            "kubernetes",
            &format!("{what}: its minor version {minor:?} is no number"),
        ),
    }
    Ok(())
}

async fn namespace(cluster: &Cluster, findings: &mut Findings) {
    let name = cluster.namespace();
    match cluster.find(Resource::NAMESPACES, name).await {
        Ok(Some(_)) => findings.good("namespace", &format!("{name:?} exists")),
        Ok(None) => findings.bad(
            "namespace",
            &format!("{name:?} does not exist"),
            "create it, or choose another with -n",
        ),
        Err(Call::Forbidden { .. }) => {
            findings.unknown("namespace", &format!("you may not look at namespace {name:?}"));
        }
        Err(error) => findings.unknown("namespace", &error.to_string()),
    }
}

async fn rigs(cluster: &Cluster, findings: &mut Findings) -> Vec<Rig> {
    match cluster.list(Resource::RIGS, &Selection::default()).await {
        Ok(objects) => {
            let rigs: Vec<_> = objects.iter().map(Rig::read).collect();
            let unwell: Vec<_> = rigs.iter().filter(|rig| rig.phase() == "Degraded").collect();
            for rig in &unwell {
                let name = &rig.metadata.name;
                findings.bad(
                    "rigs",
                    &format!("rig {name:?} is Degraded"),
                    &format!("read `kubectl gt rig doctor {name}`"),
                );
            }
            if rigs.is_empty() {
                let remedy = "make one: kubectl gt rig create NAME --git-url URL --prefix PREFIX";
                findings.careful("rigs", "there are none", remedy);
            } else if unwell.is_empty() {
                findings.good("rigs", &counted(rigs.len(), "rig"));
            }
            rigs
        }
        Err(error) => {
            // The error ends with its remedy.
            findings.bad("rigs", &error.to_string(), "");
            Vec::new()
        }
    }
}

/// The secrets that polecats of the namespace use.
async fn of_the_namespace(cluster: &Cluster, rigs: &[Rig], flag: &str, findings: &mut Findings) {
    let mut models: BTreeSet<&str> = rigs.iter().filter_map(Rig::model_secret).collect();
    models.insert(MODEL_SECRET);
    for name in models {
        let needed = Needed {
            what: "model secret",
            name,
            vital: false,
            good: "holds a credential",
            remedy: format!("{}{flag}", model_secret::remedy(name)),
        };
        let problems = |secret: &Value| model_secret::problems(secret, jiff::Timestamp::now());
        secrets::check(cluster, needed, problems, findings).await;
    }
    let mut gits: BTreeSet<&str> = rigs.iter().filter_map(Rig::git_secret).collect();
    gits.insert(GIT_SECRET);
    for name in gits {
        let needed = Needed {
            what: "git secret",
            name,
            vital: false,
            good: "exists",
            remedy: format!("{}{flag}", git_secret::remedy_of_any(name)),
        };
        secrets::check(cluster, needed, |_| Vec::new(), findings).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::cluster::testing::{answering, nowhere};

    #[tokio::test]
    async fn only_a_version_that_can_be_read_is_good() {
        for (minor, level) in [
            ("29", "problem"),
            ("30", "ok"),
            ("34+", "ok"),
            ("", "unknown"),
            ("+", "unknown"),
        ] {
            let cluster = answering(move |_| (200, json!({"gitVersion": "v1", "minor": minor})));
            let mut findings = Findings::default();
            kubernetes(&cluster, &mut findings).await.unwrap();
            assert_eq!(findings.levels(), [level], "{minor:?}");
        }
    }

    #[tokio::test]
    async fn only_what_was_forbidden_is_called_so() {
        let mut findings = Findings::default();
        namespace(&nowhere(), &mut findings).await;
        of_the_namespace(&nowhere(), &[], "", &mut findings).await;
        let words = findings.words();
        assert_eq!(words.len(), 3);
        for words in words {
            assert!(words.contains("cannot reach the cluster"), "{words}");
        }
    }
}
