//! `kubectl gt polecat idle` and `resume`.

use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};

use super::Target;
use crate::cluster::{Cluster, Resource};
use crate::command::doctor::warn_if_none_runs;
use crate::command::dry_run::DryRunArgs;
use crate::complete;
use crate::error::{CommandError, Error};
use crate::output::{ListPrinter, OutputArgs, name_of};
use crate::session::Session;
use crate::view::Polecat;

/// Flags of both.
#[derive(Debug, clap::Args)]
struct Flags {
    /// The polecats.
    #[arg(value_name = "RIG/NAME", required = true, add = ArgValueCompleter::new(complete::polecats))]
    polecats: Vec<String>,
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Flags of `polecat idle`.
#[derive(Debug, clap::Args)]
pub struct Idle {
    #[command(flatten)]
    flags: Flags,
}

/// Flags of `polecat resume`.
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    flags: Flags,
}

impl Idle {
    /// Wants the polecats Idle.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        self.flags.want(session, "Idle", "asked to stop", may_stop).await
    }
}

impl Resume {
    /// Wants the polecats Working.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        self.flags
            .want(session, "Working", "asked to work", may_work)
            .await
    }
}

/// Why a polecat cannot be stopped, with what can be done; none: it can.
fn may_stop(polecat: &Polecat, typed: &str) -> Option<String> {
    match polecat.phase() {
        "Done" => Some("its work is delivered, and nothing runs".to_owned()),
        "Terminated" => Some("it is ended for good".to_owned()),
        "Stuck" => Some(format!(
            "nothing runs; `kubectl gt polecat describe {typed}` shows why it ended"
        )),
        _ => None,
    }
}

/// Why a polecat cannot work, with what can be done; none: it can.
fn may_work(polecat: &Polecat, typed: &str) -> Option<String> {
    match polecat.phase() {
        "Done" => Some("its work is delivered; dispatch what is left with `kubectl gt sling`".to_owned()),
        "Terminated" => {
            Some("it is ended for good; dispatch its work again with `kubectl gt sling`".to_owned())
        }
        "Stuck" => Some(format!(
            "an attempt failed; start another with `kubectl gt polecat retry {typed}`"
        )),
        _ => None,
    }
}

impl Flags {
    /// All are checked before the first is changed.
    async fn want(
        self,
        session: &mut Session,
        state: &str,
        verb: &str,
        refused: fn(&Polecat, &str) -> Option<String>,
    ) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let mut names = Vec::new();
        for text in &self.polecats {
            let target: Target = text.parse()?;
            let (_, polecat) = target.get(&cluster).await?;
            check(&cluster, &polecat, refused)?;
            names.push(target.name);
        }
        let patch = json!({"spec": {"desiredState": state}});
        let (mut changed, mut failures) = (Vec::new(), Vec::new());
        for name in &names {
            let mode = self.dry_run.mode();
            match cluster.merge(Resource::POLECATS, name, &patch, mode).await {
                Ok(object) => changed.push(object),
                Err(error) => failures.push(error.into()),
            }
        }
        self.print(session, &changed, verb)?;
        if !self.dry_run.is_on() {
            warn_if_none_runs(session.reporter, &cluster).await;
        }
        Error::of_all(failures)
    }

    fn print(&self, session: &mut Session, changed: &[Value], verb: &str) -> Result<(), Error> {
        let format = &self.output.output;
        let dry = if self.dry_run.is_on() { " (dry run)" } else { "" };
        if format.is_for_people() {
            for object in changed {
                let name = name_of(Resource::POLECATS, object);
                session.out.line(&format!("{name} {verb}{dry}"))?;
            }
            return Ok(());
        }
        let mut printer = ListPrinter::start(&mut session.out, format);
        for object in changed {
            printer.element(object.clone(), &name_of(Resource::POLECATS, object))?;
        }
        Ok(printer.end()?)
    }
}

fn check(
    cluster: &Cluster,
    polecat: &Polecat,
    refused: fn(&Polecat, &str) -> Option<String>,
) -> Result<(), CommandError> {
    let address = polecat.address();
    match refused(polecat, &cluster.typed(&address)) {
        Some(why) => Err(CommandError::Refused(format!(
            "polecat {address:?} is {}: {why}",
            polecat.phase()
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_neither_stopped_nor_resumed_and_the_way_on_is_said() {
        let polecat = |phase: &str| Polecat::read(&json!({"status": {"phase": phase}}));
        for phase in ["Working", "Idle", ""] {
            let polecat = polecat(phase);
            assert_eq!(
                (may_stop(&polecat, "a"), may_work(&polecat, "a")),
                (None, None),
                "{phase}"
            );
        }
        for (phase, way) in [
            ("Stuck", "retry a -n town"),
            ("Done", "sling"),
            ("Terminated", "sling"),
        ] {
            let polecat = polecat(phase);
            assert!(may_stop(&polecat, "a").is_some(), "{phase}");
            let why = may_work(&polecat, "a -n town").unwrap();
            assert!(why.contains(way), "{phase}: {why}");
        }
    }
}
