//! `kubectl gt polecat nuke`.

use std::time::Duration;

use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::Target;
use crate::cluster::Resource;
use crate::command::CommandError;
use crate::command::dry_run::DryRunArgs;
use crate::complete;
use crate::error::Error;
use crate::flags::duration;
use crate::output::{Format, ListPrinter, OutputArgs, name_of};
use crate::session::Session;

/// Flags of `polecat nuke`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The polecats.
    #[arg(value_name = "RIG/NAME", required = true, add = ArgValueCompleter::new(complete::polecats))]
    polecats: Vec<String>,
    /// Delete the objects as well; what they changed is saved first all the same.
    #[arg(short, long, visible_alias = "delete")]
    force: bool,
    /// Wait until they are Terminated or gone.
    #[arg(long)]
    wait: bool,
    /// How long to wait; 0 is without limit.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Terminates the polecats; all are checked before the first is touched.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let targets: Vec<Target> = self
            .polecats
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, CommandError>>()?;
        let cluster = session.cluster().await?;
        for target in &targets {
            target.get(&cluster).await?;
        }
        let verb = match (self.force, self.dry_run.is_on()) {
            (true, true) => "would be deleted (dry run)",
            (false, true) => "would be terminated (dry run)",
            (true, false) => "deletion requested",
            (false, false) => "termination requested",
        };
        let patch = json!({"spec": {"desiredState": "Terminated"}});
        let mut changed = Vec::new();
        for target in &targets {
            let mode = self.dry_run.mode();
            let mut object = cluster
                .merge(Resource::POLECATS, &target.name, &patch, mode)
                .await?;
            if self.force && !self.dry_run.is_on() {
                let answer = cluster.delete(Resource::POLECATS, &target.name).await?;
                if answer["kind"] == "Polecat" {
                    object = answer;
                }
            }
            changed.push(object);
        }
        if self.wait && !self.dry_run.is_on() {
            for target in &targets {
                super::target::until_gone(&cluster, session.talk, &target.name, self.timeout).await?;
            }
        }
        let format = &self.output.output;
        if format.is_for_people() {
            for object in &changed {
                let name = name_of(Resource::POLECATS, object);
                session.out.line(&format!("{name} {verb}"))?;
            }
            return Ok(());
        }
        print(session, format, &changed)
    }
}

fn print(session: &mut Session, format: &Format, objects: &[serde_json::Value]) -> Result<(), Error> {
    let mut printer = ListPrinter::start(&mut session.out, format);
    for object in objects {
        printer.element(object, &name_of(Resource::POLECATS, object))?;
    }
    Ok(printer.end()?)
}
