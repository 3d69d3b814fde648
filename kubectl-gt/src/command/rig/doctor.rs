//! `kubectl gt rig doctor`.

use clap_complete::ArgValueCompleter;
use gastown_api::repository::RepositoryUrl;
use serde_json::Value;

use crate::cluster::{Cluster, Resource, Selection};
use crate::command::doctor::findings::Findings;
use crate::command::doctor::secrets::{self, Needed};
use crate::command::{GIT_SECRET, MODEL_SECRET};
use crate::complete;
use crate::error::Error;
use crate::output::OutputArgs;
use crate::session::Session;
use crate::view::{Polecat, Rig, remedy};
use crate::{git_secret, model_secret};

/// Flags of `rig doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rig.
    #[arg(value_name = "RIG", add = ArgValueCompleter::new(complete::rigs))]
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Checks what the rig's polecats in the namespace need, and fails when something needs a person.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let flag = session.namespace_flag();
        let rig = Rig::read(&cluster.get_named(Resource::RIGS, &self.name).await?);
        let mut findings = Findings::default();
        state(&rig, &mut findings);
        match rig.spec.git_url.parse::<RepositoryUrl>() {
            Ok(url) => {
                findings.good("repository", &format!("{url}"));
                git(&cluster, &rig, &url, &flag, &mut findings).await;
            }
            Err(error) => findings.bad(
                "repository",
                &error.to_string(),
                "create the rig again with a right --git-url",
            ),
        }
        model(&cluster, &rig, &flag, &mut findings).await;
        polecats(&cluster, &rig, &mut findings).await?;
        findings.print(session, &self.output.output)?;
        Ok(findings.verdict()?)
    }
}

fn state(rig: &Rig, findings: &mut Findings) {
    match rig.phase() {
        "Ready" => findings.good("rig", "is Ready"),
        "Pending" => findings.bad(
            "rig",
            "no operator has looked at it",
            "check that the operator runs: kubectl gt doctor",
        ),
        phase => findings.careful(
            "rig",
            &format!("is {phase}"),
            &format!("read `kubectl gt rig status {}`", rig.metadata.name),
        ),
    }
    for condition in &rig.status.conditions {
        if condition.type_ == gastown_api::condition::FIELDS_IGNORED && condition.status == "True" {
            findings.careful(
                "rig",
                &condition.message,
                remedy(&condition.reason).unwrap_or_default(),
            );
        }
    }
}

async fn git(cluster: &Cluster, rig: &Rig, url: &RepositoryUrl, flag: &str, findings: &mut Findings) {
    let name = rig.git_secret().unwrap_or(GIT_SECRET);
    let needed = Needed {
        what: "git secret",
        name,
        vital: true,
        good: "fits the repository",
        remedy: format!("{}{flag}", git_secret::remedy(&rig.metadata.name, name, url)),
    };
    secrets::check(
        cluster,
        needed,
        |secret| git_secret::problems(secret, url),
        findings,
    )
    .await;
}

async fn model(cluster: &Cluster, rig: &Rig, flag: &str, findings: &mut Findings) {
    let name = rig.model_secret().unwrap_or(MODEL_SECRET);
    let needed = Needed {
        what: "model secret",
        name,
        vital: true,
        good: "holds a credential",
        remedy: format!("{}{flag}", model_secret::remedy(name)),
    };
    let problems = |secret: &Value| model_secret::problems(secret, jiff::Timestamp::now());
    secrets::check(cluster, needed, problems, findings).await;
}

async fn polecats(cluster: &Cluster, rig: &Rig, findings: &mut Findings) -> Result<(), Error> {
    let selection = Selection {
        fields: Some(format!("spec.rig={}", rig.metadata.name)),
        all_namespaces: false,
    };
    let mut count = 0;
    let mut stuck = Vec::new();
    cluster
        .each_page(Resource::POLECATS, &selection, |page| {
            count += page.items.len();
            let polecats = page.items.iter().map(Polecat::read);
            stuck.extend(polecats.filter(|polecat| polecat.phase() == "Stuck"));
            Ok::<_, Error>(())
        })
        .await?;
    if stuck.is_empty() {
        findings.good("polecats", &format!("{count}, none is Stuck"));
    }
    for polecat in stuck.iter().take(10) {
        let what = format!("{} is Stuck: {}", polecat.metadata.name, polecat.reason());
        findings.bad(
            "polecats",
            &what,
            remedy(polecat.reason()).unwrap_or("read `kubectl gt polecat describe`"),
        );
    }
    if stuck.len() > 10 {
        let what = format!("{} more are Stuck", stuck.len() - 10);
        findings.bad(
            "polecats",
            &what,
            &format!("list them: kubectl gt polecat list {}", rig.metadata.name),
        );
    }
    Ok(())
}
