//! `kubectl gt polecat nuke`.

use std::time::Duration;

use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};

use super::Target;
use super::target::until_gone;
use crate::cluster::{Cluster, Resource, Selection};
use crate::command::doctor::none_runs;
use crate::command::dry_run::DryRunArgs;
use crate::command::listing::check_rig;
use crate::complete;
use crate::error::{CommandError, Error};
use crate::flags::duration;
use crate::output::{Format, ListPrinter, OutputArgs, name_of};
use crate::session::Session;
use crate::view::Polecat;

/// Flags of `polecat nuke`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The polecats; with --all, the rigs.
    #[arg(value_name = "RIG/NAME", required = true, add = ArgValueCompleter::new(complete::polecats))]
    polecats: Vec<String>,
    /// All polecats of the named rigs in the namespace, except Terminated ones.
    #[arg(long)]
    all: bool,
    /// Delete the Polecat objects too; their changes are still saved first.
    #[arg(short, long, visible_alias = "delete")]
    force: bool,
    /// Wait until they are Terminated or gone.
    #[arg(long)]
    wait: bool,
    /// How long to wait; 0 means no limit.
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
        let cluster = session.cluster().await?;
        self.nuke(session, &cluster).await
    }

    /// One that fails keeps none of the others; all failures are told at the end.
    async fn nuke(self, session: &mut Session, cluster: &Cluster) -> Result<(), Error> {
        let targets = self.targets(cluster).await?;
        for target in &targets {
            target.get(cluster).await?;
        }
        if targets.is_empty() {
            session
                .reporter
                .note(&format!("no polecats of {} to nuke", self.polecats.join(", ")));
        }
        let format = &self.output.output;
        let mut changed = Vec::new();
        let mut failures: Vec<Error> = Vec::new();
        for target in &targets {
            let done = self.change(cluster, &target.name, &mut failures).await;
            let Some((object, verb)) = done else { continue };
            if format.is_for_people() {
                let name = name_of(Resource::POLECATS, &object);
                session.out.line(&format!("{name} {verb}"))?;
            }
            changed.push((&target.name, object));
        }
        let waits = self.wait && !self.dry_run.is_on();
        if !format.is_for_people() && !waits {
            print(session, format, &changed)?;
        }
        if !self.dry_run.is_on() && !changed.is_empty() {
            warn(session, cluster).await;
        }
        if waits {
            // All at once, so that the time is that of the command and not of each.
            let waits = changed
                .iter()
                .map(|(name, _)| until_gone(cluster, session.reporter, name, self.timeout));
            let waited = futures::future::join_all(waits).await;
            failures.extend(waited.into_iter().filter_map(Result::err));
            if !format.is_for_people() {
                print(session, format, &as_they_ended(cluster, changed).await)?;
            }
        }
        Error::of_all(failures)
    }

    /// The polecats that were named, or those of the rigs that were named.
    async fn targets(&self, cluster: &Cluster) -> Result<Vec<Target>, Error> {
        if !self.all {
            let parsed = self.polecats.iter().map(|text| text.parse());
            return Ok(parsed.collect::<Result<_, CommandError>>()?);
        }
        let mut targets = Vec::new();
        for rig in &self.polecats {
            if rig.contains('/') {
                let why = format!(
                    "{rig:?} names a polecat, and --all all of a rig: write the rig alone, or leave --all out"
                );
                return Err(CommandError::Usage(why).into());
            }
            let selection = Selection {
                fields: Some(format!("spec.rig={rig}")),
                all_namespaces: false,
            };
            check_rig(cluster, rig, &selection).await?;
            let polecats = cluster.list(Resource::POLECATS, &selection).await?;
            let polecats = polecats.iter().map(Polecat::read);
            let left = polecats.filter(|polecat| self.force || polecat.phase() != "Terminated");
            targets.extend(left.map(|polecat| Target {
                rig: Some(rig.clone()),
                name: polecat.metadata.name,
            }));
        }
        Ok(targets)
    }

    /// The polecat as it is then, and what was done to it; nothing, when that failed.
    async fn change(
        &self,
        cluster: &Cluster,
        name: &str,
        failures: &mut Vec<Error>,
    ) -> Option<(Value, &'static str)> {
        let patch = json!({"spec": {"desiredState": "Terminated"}});
        let mode = self.dry_run.mode();
        let merged = cluster.merge(Resource::POLECATS, name, &patch, mode).await;
        let object = merged.map_err(|error| failures.push(error.into())).ok()?;
        match (self.force, self.dry_run.is_on()) {
            (true, true) => Some((object, "would be deleted (dry run)")),
            (false, true) => Some((object, "would be terminated (dry run)")),
            (false, false) => Some((object, "termination requested")),
            (true, false) => match cluster.delete(Resource::POLECATS, name).await {
                Ok(answer) if answer["kind"] == "Polecat" => Some((answer, "deletion requested")),
                Ok(_) => Some((object, "deletion requested")),
                Err(error) => {
                    failures.push(error.into());
                    Some((object, "termination requested"))
                }
            },
        }
    }
}

async fn warn(session: &Session, cluster: &Cluster) {
    if let Some(why) = none_runs(cluster).await {
        session.reporter.warn(&format!(
            "{why}: nothing ends until one does; `kubectl gt doctor` says what to do, and `kubectl gt uninstall --orphan` lets polecats go without one"
        ));
    }
}

/// Those that are still there as they are now; of one that is gone, what was last seen.
async fn as_they_ended<'a>(cluster: &Cluster, changed: Vec<(&'a String, Value)>) -> Vec<(&'a String, Value)> {
    let mut ended = Vec::new();
    for (name, object) in changed {
        let now = cluster.find(Resource::POLECATS, name).await.ok().flatten();
        ended.push((name, now.unwrap_or(object)));
    }
    ended
}

fn print(session: &mut Session, format: &Format, changed: &[(&String, Value)]) -> Result<(), Error> {
    let mut printer = ListPrinter::start(&mut session.out, format);
    for (_, object) in changed {
        printer.element(object.clone(), &name_of(Resource::POLECATS, object))?;
    }
    Ok(printer.end()?)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cluster::testing::{answering, refusal};
    use crate::exit::Exit;
    use crate::flags::ClusterFlags;
    use crate::output::Out;
    use crate::output::testing::Shared;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// What is printed, and the failure, where polecat `b` cannot be changed and `d` cannot be deleted.
    async fn nuke(words: &[&str]) -> (String, Error) {
        let cluster = answering(|request| {
            let name = request.uri().path().rsplit('/').next().unwrap_or_default();
            match (request.method().as_str(), name) {
                ("PATCH", "b") | ("DELETE", "d") => refusal(403, "Forbidden", name),
                ("GET", "polecats") if request.uri().query().unwrap_or_default().contains("watch=true") => (
                    200,
                    json!({"type": "BOOKMARK", "object": {
                        "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
                        "metadata": {"resourceVersion": "1"},
                    }}),
                ),
                ("GET", "polecats") => (
                    200,
                    json!({"metadata": {"resourceVersion": "1"}, "items": [working("a")]}),
                ),
                _ => (200, working(name)),
            }
        });
        let mut session = Session::new(ClusterFlags::default());
        let shared = Shared::default();
        session.out = Out::into(Box::new(shared.clone()));
        let line = ["nuke"].iter().chain(words);
        let args = Line::try_parse_from(line).unwrap().args;
        let error = args.nuke(&mut session, &cluster).await.unwrap_err();
        (shared.text(), error)
    }

    fn working(name: &str) -> Value {
        json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
            "metadata": {"name": name, "namespace": "town"}, "spec": {"rig": "demo"}, "status": {"phase": "Working"},
        })
    }

    #[tokio::test]
    async fn one_that_fails_hides_nothing_and_keeps_none_of_the_others() {
        let (text, error) = nuke(&["a", "b", "c"]).await;
        assert_eq!(
            text,
            "polecat.gastown.gastown.io/a termination requested\npolecat.gastown.gastown.io/c termination requested\n"
        );
        assert_eq!(error.exit(), Exit::Forbidden);
        assert!(
            error.to_string().contains("failed to change polecat \"b\""),
            "{error}"
        );
    }

    #[tokio::test]
    async fn one_that_is_terminated_and_cannot_be_deleted_is_told_as_both() {
        let (text, error) = nuke(&["b", "d", "e", "--force"]).await;
        assert_eq!(
            text,
            "polecat.gastown.gastown.io/d termination requested\npolecat.gastown.gastown.io/e deletion requested\n"
        );
        let words = error.to_string();
        for failure in ["failed to change polecat \"b\"", "failed to delete polecat \"d\""] {
            assert!(words.contains(failure), "{words}");
        }
    }

    #[tokio::test]
    async fn all_are_waited_for_within_the_same_time() {
        let (text, error) = nuke(&["a", "c", "--wait", "--timeout", "20ms"]).await;
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(error.exit(), Exit::Timeout);
        let Error::Several(failures) = error else {
            panic!("{error}")
        };
        assert_eq!(failures.len(), 2);
    }
}
