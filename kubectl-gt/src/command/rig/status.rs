//! `kubectl gt rig status`.

use std::collections::BTreeSet;

use clap_complete::ArgValueCompleter;
use jiff::Timestamp;

use crate::age;
use crate::cluster::Resource;
use crate::complete;
use crate::error::Error;
use crate::output::detail::Detail;
use crate::output::{OutputArgs, name_of};
use crate::session::Session;
use crate::view::{Condition, Rig, RigOperator, facts, remedy};

/// Flags of `rig status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rig.
    #[arg(value_name = "RIG", add = ArgValueCompleter::new(complete::rigs))]
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Prints one rig.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let object = cluster.get_named(Resource::RIGS, &self.name).await?;
        let rig = Rig::read(&object);
        let name = name_of(Resource::RIGS, &object);
        let format = &self.output.output;
        Ok(session.out.object(format, &object, &name, |out, _| {
            detail(&rig, Timestamp::now()).print(out)
        })?)
    }
}

fn detail(rig: &Rig, now: Timestamp) -> Detail {
    let mut detail = Detail::default();
    let settings = rig.spec.settings.clone().unwrap_or_default();
    detail
        .field("Name", &rig.metadata.name)
        .field("Phase", rig.phase())
        .field("Repository", &rig.spec.git_url)
        .field("Branch", rig.spec.git_branch.as_deref().unwrap_or("main"))
        .field("Bead prefix", &rig.spec.beads_prefix)
        .field("Git secret", rig.git_secret().unwrap_or("(each polecat's own)"))
        .field(
            "Model secret",
            rig.model_secret().unwrap_or("(each polecat's own)"),
        )
        .field("Name pool", settings.namepool_theme.unwrap_or_default())
        .field(
            "Most polecats",
            settings.max_polecats.map_or_else(String::new, |n| n.to_string()),
        )
        .field(
            "Polecats",
            format!(
                "{} ({} working)",
                rig.status.polecat_count, rig.status.working_polecats
            ),
        )
        .field("Age", age::since(&rig.metadata.creation_timestamp, now));
    by_operator(&mut detail, &rig.status.operators);
    conditions(&mut detail, &rig.status.conditions, now, &mut BTreeSet::new());
    detail
}

/// The counts of each operator, where there is more than one.
fn by_operator(detail: &mut Detail, operators: &[RigOperator]) {
    if operators.len() < 2 {
        return;
    }
    detail.section("Operators");
    for operator in operators {
        let scope = if operator.namespaces.is_empty() {
            "every namespace".to_owned()
        } else {
            operator.namespaces.join(", ")
        };
        detail.text(format!(
            "{}: {} ({} working), of {scope}",
            operator.name, operator.polecat_count, operator.working_polecats
        ));
    }
}

/// The conditions of an object, with what to do about those that say something is wrong.
///
/// Several of them have one cause, which attempts may have, too: what to do is said once, and added to `told`.
pub fn conditions(detail: &mut Detail, conditions: &[Condition], now: Timestamp, told: &mut BTreeSet<&str>) {
    if conditions.is_empty() {
        return;
    }
    detail.section("Conditions");
    for condition in conditions {
        let age = age::since(&condition.last_transition_time, now);
        let head = format!(
            "{:<13} {:<7} {:<22} {age}",
            condition.type_, condition.status, condition.reason
        );
        detail.text(head.trim_end());
        for line in facts(&condition.reason, &condition.message).lines() {
            detail.text(format!("    {line}"));
        }
        if let Some(remedy) = remedy(&condition.reason).filter(|remedy| told.insert(*remedy)) {
            detail.text(format!("    → {remedy}"));
        }
    }
}
