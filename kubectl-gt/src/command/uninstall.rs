//! `kubectl gt uninstall`: what has to be done before helm takes the operator away. Polecats and their pods carry finalizers that
//! only an operator takes off: without one, whatever is deleted stays, and so does its namespace.

mod held;
mod left;

use std::time::Duration;

use gastown_api::text::counted;
use serde_json::{Value, json};

use self::held::{Held, Object, held, without_ours};
use self::left::Left;
use crate::cluster::{Cluster, DryRun, Resource};
use crate::command::auth::Question;
use crate::command::doctor::{deployments, is_available};
use crate::command::polecat::until_gone;
use crate::error::{CommandError, Error};
use crate::flags::duration;
use crate::output::OutputArgs;
use crate::reporter::Reporter;
use crate::session::Session;

/// Flags of `uninstall`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Terminate and delete every polecat first; the operator saves their changes.
    #[arg(long, conflicts_with = "orphan")]
    end: bool,
    /// Remove the operator's finalizers from polecats and pods when no operator runs; no more changes are saved.
    #[arg(long)]
    orphan: bool,
    /// How long to wait for polecats to end; 0 means no limit.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Do not ask for confirmation.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// What there is to uninstall.
struct Found {
    operators: Vec<Value>,
    held: Held,
    left: Left,
}

impl Found {
    /// With a namespace only what is held there: the operator stays for others.
    async fn look(cluster: &Cluster, namespace: Option<&str>, reporter: Reporter) -> Result<Self, Error> {
        let operators = deployments(cluster).await?;
        let left = match namespace {
            Some(_) => Left::default(),
            None => Left::look(cluster, &operators, reporter).await?,
        };
        Ok(Self {
            held: held(cluster, namespace).await?,
            operators,
            left,
        })
    }

    fn runs(&self) -> bool {
        self.operators.iter().any(is_available)
    }
}

impl Args {
    /// Checks, and ends or orphans where asked; then says what to type. With `-n` only polecats of that namespace are touched.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let namespace = session.flags.namespace().map(str::to_owned);
        let mut found = Found::look(&cluster, namespace.as_deref(), session.reporter).await?;
        if self.end || self.orphan {
            self.agree(&found)?;
            if self.end {
                self.end(session, &cluster, &found).await?;
            } else {
                orphan(session, &cluster, &found).await?;
            }
            found = Found::look(&cluster, namespace.as_deref(), session.reporter).await?;
        }
        self.print(session, &found, namespace.as_deref())?;
        match refusal(&found.held, found.runs()) {
            Some(why) => Err(CommandError::Findings(why).into()),
            None => Ok(()),
        }
    }

    fn agree(&self, found: &Found) -> Result<(), CommandError> {
        if self.end && !found.runs() {
            return Err(CommandError::Refused(
                "no operator runs, so nothing would end; start it (`kubectl gt doctor`), or let the objects go with --orphan".to_owned(),
            ));
        }
        if self.orphan && found.runs() {
            return Err(CommandError::Refused(format!(
                "an operator runs and would put its finalizers back; end the polecats with --end, or stop it first: {}",
                stop(&found.operators)
            )));
        }
        if self.yes {
            return Ok(());
        }
        let act = if self.end { "end and delete" } else { "let go of" };
        let (polecats, pods) = (found.held.polecats.len(), found.held.pods.len());
        Question {
            text: &format!("{act} polecats: {polecats}, pods: {pods}?"),
            unasked: "nothing was done: there is no terminal to ask; look with `kubectl gt uninstall`, and repeat with --yes",
            declined: "nothing was done; repeat, and answer y, or pass --yes",
        }
        .agree()
    }

    /// All are asked to end before the first is waited for.
    async fn end(&self, session: &Session, cluster: &Cluster, found: &Found) -> Result<(), Error> {
        let patch = json!({"spec": {"desiredState": "Terminated"}});
        let mut failures: Vec<Error> = Vec::new();
        let places: Vec<_> = found
            .held
            .polecats
            .iter()
            .map(|polecat| {
                (
                    cluster.within_namespace(&polecat.namespace),
                    polecat.name.as_str(),
                )
            })
            .collect();
        for (place, name) in &places {
            let ended = async {
                place.merge(Resource::POLECATS, name, &patch, DryRun::No).await?;
                place.delete(Resource::POLECATS, name).await
            };
            match ended.await {
                Ok(_) | Err(crate::cluster::Call::NotFound { .. }) => {}
                Err(error) => failures.push(error.into()),
            }
        }
        let waits = places
            .iter()
            .map(|(place, name)| until_gone(place, session.reporter, name, self.timeout));
        let waited = futures::future::join_all(waits).await;
        failures.extend(waited.into_iter().filter_map(Result::err));
        Error::of_all(failures)
    }

    fn print(&self, session: &mut Session, found: &Found, namespace: Option<&str>) -> Result<(), Error> {
        let mut next = commands(&found.operators, namespace.is_none() && found.held.served);
        next.extend(found.left.commands());
        let namespaces = found.left.namespaces(&found.operators);
        let value = json!({
            "operators": found.operators.iter().map(|deployment| json!({
                "namespace": deployment["metadata"]["namespace"],
                "available": is_available(deployment),
            })).collect::<Vec<_>>(),
            "polecats": found.held.polecats.iter().map(Object::value).collect::<Vec<_>>(),
            "pods": found.held.pods.iter().map(Object::value).collect::<Vec<_>>(),
            "next": next,
        });
        let clear = refusal(&found.held, found.runs()).is_none();
        Ok(session
            .out
            .object(&self.output.output, &value, &next.join("\n"), |out, _| {
                for object in found.held.polecats.iter().chain(&found.held.pods) {
                    out.line(&object.line())?;
                }
                if clear && next.is_empty() {
                    out.line("nothing is left to uninstall")?;
                } else if clear {
                    for name in namespaces.iter().filter(|_| namespace.is_none()) {
                        out.line(&format!(
                            "namespace {name:?} stays; if nothing else is in it, `kubectl delete namespace {name}` deletes it"
                        ))?;
                    }
                    // Last, so that whoever reads it can type the rest of the output.
                    out.line("nothing is in the way; type:")?;
                    for line in &next {
                        out.line(&format!("  {line}"))?;
                    }
                }
                Ok(())
            })?)
    }
}

/// What is in the way of an uninstallation, and the way out; none: nothing.
fn refusal(held: &Held, runs: bool) -> Option<String> {
    let (polecats, pods) = (held.polecats.len(), held.pods.len());
    if polecats + pods == 0 {
        return None;
    }
    let (polecats, pods) = (counted(polecats, "polecat"), counted(pods, "pod"));
    let counts = format!("objects that only an operator lets go of: {polecats}, {pods}");
    Some(if runs {
        format!("{counts}; end and delete them with `kubectl gt uninstall --end`, while it runs")
    } else {
        format!(
            "{counts}, and no operator runs; start one and repeat, or let them go with `kubectl gt uninstall --orphan`"
        )
    })
}

/// The command that stops each operator.
fn stop(operators: &[Value]) -> String {
    let lines: Vec<_> = operators
        .iter()
        .map(|deployment| {
            let text = |field: &str| deployment["metadata"][field].as_str().unwrap_or_default();
            format!(
                "`kubectl -n {} scale deployment {} --replicas=0`",
                text("namespace"),
                text("name")
            )
        })
        .collect();
    lines.join(", ")
}

/// What to type then. The definitions stay after helm: they take every Rig with them.
fn commands(operators: &[Value], definitions: bool) -> Vec<String> {
    let mut commands: Vec<_> = operators
        .iter()
        .map(|deployment| {
            let metadata = &deployment["metadata"];
            let annotation = |name: &str| metadata["annotations"][name].as_str();
            let own = |field: &str| metadata[field].as_str().unwrap_or_default();
            format!(
                "helm uninstall {} -n {}",
                annotation("meta.helm.sh/release-name").unwrap_or(own("name")),
                annotation("meta.helm.sh/release-namespace").unwrap_or(own("namespace"))
            )
        })
        .collect();
    if definitions {
        commands.push("kubectl delete crd rigs.gastown.gastown.io polecats.gastown.gastown.io".to_owned());
    }
    commands
}

/// Takes our finalizers off; those of others stay.
async fn orphan(session: &mut Session, cluster: &Cluster, found: &Found) -> Result<(), Error> {
    let mut failures: Vec<Error> = Vec::new();
    let all = [
        (Resource::PODS, &found.held.pods),
        (Resource::POLECATS, &found.held.polecats),
    ];
    for (resource, objects) in all {
        for object in objects {
            let place = cluster.within_namespace(&object.namespace);
            let patch = without_ours(object);
            match place.merge(resource, &object.name, &patch, DryRun::No).await {
                Ok(_) | Err(crate::cluster::Call::NotFound { .. }) => {
                    session.reporter.note(&format!("let go: {}", object.line()));
                }
                Err(error) => failures.push(error.into()),
            }
        }
    }
    Error::of_all(failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Object {
        Object {
            kind: "polecat",
            namespace: "town".to_owned(),
            name: name.to_owned(),
            phase: "Working".to_owned(),
            finalizers: Vec::new(),
            version: String::new(),
        }
    }

    #[test]
    fn what_is_in_the_way_is_said_with_the_way_out_that_works_now() {
        let held = |polecats: usize, pods: usize| Held {
            polecats: (0..polecats).map(|_| object("a")).collect(),
            pods: (0..pods).map(|_| object("b")).collect(),
            served: true,
        };
        assert_eq!(refusal(&held(0, 0), true), None);
        assert_eq!(refusal(&held(0, 0), false), None);
        for (polecats, pods, runs, way) in [
            (2, 1, true, "--end"),
            (2, 0, false, "--orphan"),
            (0, 1, false, "--orphan"),
            (0, 1, true, "--end"),
        ] {
            let why = refusal(&held(polecats, pods), runs).unwrap();
            assert!(why.contains(way), "{why}");
        }
    }

    #[test]
    fn the_release_is_the_one_that_helm_made_wherever_it_was_put() {
        let deployment = json!({"metadata": {"name": "town-gastown-operator", "namespace": "elsewhere", "annotations": {
            "meta.helm.sh/release-name": "town", "meta.helm.sh/release-namespace": "gastown-system",
        }}});
        let plain = json!({"metadata": {"name": "gastown-operator", "namespace": "gastown-system"}});
        let lines = commands(&[deployment.clone(), plain], true);
        assert_eq!(lines[0], "helm uninstall town -n gastown-system");
        assert_eq!(lines[1], "helm uninstall gastown-operator -n gastown-system");
        assert!(lines[2].starts_with("kubectl delete crd"));
        let one = commands(std::slice::from_ref(&deployment), false);
        assert_eq!(one.len(), 1, "other namespaces may still need the definitions");
        assert!(
            stop(&[deployment]).contains("-n elsewhere scale deployment town-gastown-operator --replicas=0")
        );
    }
}
