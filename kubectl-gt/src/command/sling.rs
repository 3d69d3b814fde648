//! `kubectl gt sling`: dispatch work to a new polecat.

mod bead;
mod budget;
mod manifest;
mod secrets;
mod task;

use std::collections::BTreeSet;
use std::time::Duration;

use clap_complete::ArgValueCompleter;
use gastown_api::key_like;
use gastown_api::reference::SecretReference;
use serde_json::Value;

use self::budget::BudgetFlag;
use self::manifest::Manifest;
use crate::cluster::{Call, Cluster, DryRun, Resource, Selection};
use crate::command::doctor::warn_if_none_runs;
use crate::command::dry_run::{self, DryRunArgs};
use crate::command::polecat::{self, Shown, Target, follow};
use crate::complete;
use crate::error::{CommandError, Error};
use crate::flags::duration;
use crate::names::{Theme, first_free, random_name};
use crate::output::{Format, OutputArgs, name_of};
use crate::session::Session;
use crate::view::Rig;
use crate::wait::{Goal, ended, wait_for};

/// The secrets that polecats use where nothing names another: what `auth git` and `auth sync` make.
pub const GIT_SECRET: &str = "git-creds";
/// See [`GIT_SECRET`].
pub const MODEL_SECRET: &str = "claude-creds";

/// How many names to try when another client takes the chosen one first.
const TRIES: usize = 20;

/// Flags of `sling`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bead (issue) to work on; optional with --message, --file or --stdin.
    #[arg(value_name = "BEAD-ID")]
    first: String,
    /// The rig, or RIG/NAME to name the polecat; by default the rig with the bead's prefix.
    #[arg(value_name = "RIG", add = ArgValueCompleter::new(complete::rigs))]
    second: Option<String>,
    /// The polecat's name.
    #[arg(long, conflicts_with = "theme")]
    name: Option<String>,
    /// Pick the first free name of this pool; by default the rig's pool, if it has one.
    #[arg(long, value_enum)]
    theme: Option<Theme>,
    #[command(flatten)]
    task: task::TaskArgs,
    /// The model for the agent.
    #[arg(long)]
    model: Option<String>,
    /// The agent to run: claude-code or codex.
    #[arg(long)]
    agent: Option<String>,
    /// The branch to start from; by default the rig's.
    #[arg(long, value_name = "BRANCH")]
    base_branch: Option<String>,
    /// The branch to push; by default polecat/NAME/BEAD@TIME.
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// The spending limit: 5usd or $5, tokens such as 500k or 2M, or both with a comma.
    #[arg(long, value_name = "BUDGET")]
    budget: Option<BudgetFlag>,
    /// Priority among queued polecats, 0 to 1000: higher ones start first; by default 500.
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(i32).range(0..=1000))]
    priority: Option<i32>,
    /// The git secret; by default the rig's, else git-creds.
    #[arg(long, value_name = "SECRET")]
    git_secret: Option<String>,
    /// The secret with model credentials; by default the rig's, else claude-creds.
    #[arg(long, value_name = "SECRET")]
    claude_secret: Option<String>,
    /// Wait for the given state; without a value, until Working.
    #[arg(long, value_enum, value_name = "GOAL", num_args = 0..=1, require_equals = true, default_missing_value = "working")]
    wait: Option<Goal>,
    /// Wait until the agent runs; same as --wait=ready.
    #[arg(long, conflicts_with = "wait")]
    wait_ready: bool,
    /// How long to wait; 0 means no limit. By default 2m, and no limit for --wait=done.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Sling the bead even if its prefix belongs to another rig.
    #[arg(long)]
    force: bool,
    /// Show what the agent says and does until the polecat ends.
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// How long to wait for `goal` when `asked` says nothing.
pub fn timeout(goal: Goal, asked: Option<Duration>) -> Option<Duration> {
    match (asked, goal) {
        (Some(timeout), _) => Some(timeout),
        (None, Goal::Done) => None,
        (None, Goal::Working | Goal::Ready) => Some(Duration::from_mins(2)),
    }
}

impl Args {
    /// Dispatches the work.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        self.check()?;
        let task = self.task.read()?;
        if task
            .as_ref()
            .is_some_and(|task| key_like::found_in(task.as_bytes()))
        {
            session.reporter.warn(
                "the task holds what looks like a key, and the model will read it: name the secret's place instead, and revoke the key",
            );
        }
        let (bead, target) = self.bead_and_target(task.is_some())?;
        let cluster = session.cluster().await?;
        let target = match (target, &bead) {
            (Some(target), _) => target,
            (None, bead) => {
                let name = bead::rig_of(&cluster, bead.as_deref().unwrap_or_default()).await?;
                Target { rig: None, name }
            }
        };
        let rig_name = target.rig.clone().unwrap_or_else(|| target.name.clone());
        let rig = Rig::read(&cluster.get_named(Resource::RIGS, &rig_name).await?);
        if let (Some(bead), false) = (&bead, self.force) {
            bead::guard(&cluster, bead, &rig).await?;
        }
        let named = target.rig.is_some().then_some(target.name);
        let manifest = self.manifest(&rig, bead, task);
        let naming = self.naming(&rig, named)?;
        let secrets = secrets::check(session, &cluster, &rig, &manifest);
        secrets.await;
        let created = self.create(session, &cluster, &manifest, &naming).await?;
        let address = format!(
            "{rig_name}/{}",
            created["metadata"]["name"].as_str().unwrap_or_default()
        );
        if self.dry_run.is_on() {
            return self.print(session, &created, &address);
        }
        warn_if_none_runs(session.reporter, &cluster).await;
        if let (Some(goal), false) = (self.goal(), self.follow) {
            return self.wait(session, &cluster, created, &address, goal).await;
        }
        self.print(session, &created, &address)?;
        if !self.follow {
            return Ok(());
        }
        let polecat = follow(session, &cluster, &address, &Shown::agent()).await?;
        if polecat.phase() == "Done" {
            Ok(())
        } else {
            Err(ended(&cluster, &polecat).into())
        }
    }

    /// What the command line asks for and cannot be had together.
    fn check(&self) -> Result<(), CommandError> {
        let object = matches!(
            self.output.output,
            Format::Json | Format::Yaml | Format::JsonPath(_)
        );
        if self.follow && object {
            return Err(CommandError::Usage(
                "--follow prints what the agent says, and -o an object: choose one; --wait=done -o json prints the polecat as it ended".to_owned(),
            ));
        }
        Ok(())
    }

    fn goal(&self) -> Option<Goal> {
        if self.wait_ready {
            Some(Goal::Ready)
        } else {
            self.wait
        }
    }

    /// `BEAD RIG`, `BEAD` alone, or `RIG` alone with a task; the rig may be `RIG/NAME`. No target: the bead's own rig.
    fn bead_and_target(&self, has_task: bool) -> Result<(Option<String>, Option<Target>), CommandError> {
        let (bead, rig) = match &self.second {
            Some(rig) => (Some(self.first.clone()), rig),
            None if has_task => (None, &self.first),
            None => return Ok((Some(self.first.clone()), None)),
        };
        let target: Target = rig.parse()?;
        if target.rig.is_some() && (self.name.is_some() || self.theme.is_some()) {
            return Err(CommandError::Usage(format!(
                "{rig:?} names the polecat already; leave --name and --theme out"
            )));
        }
        Ok((bead, Some(target)))
    }

    fn manifest(&self, rig: &Rig, bead: Option<String>, task: Option<String>) -> Manifest {
        let secret = |asked: &Option<String>, of_rig: Option<&str>, default: &str| match (asked, of_rig) {
            (Some(name), _) => Some(name.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(default.to_owned()),
        };
        Manifest {
            rig: rig.metadata.name.clone(),
            bead,
            task,
            agent: self.agent.clone(),
            model: self.model.clone(),
            base_branch: self.base_branch.clone(),
            branch: self.branch.clone(),
            git_secret: secret(&self.git_secret, rig.git_secret(), GIT_SECRET)
                .map(|name| SecretReference { name }),
            model_secret: secret(&self.claude_secret, rig.model_secret(), MODEL_SECRET)
                .map(|name| SecretReference { name }),
            budget: self.budget,
            priority: self.priority,
        }
    }

    fn naming(&self, rig: &Rig, in_target: Option<String>) -> Result<Naming, CommandError> {
        if let Some(name) = in_target.or_else(|| self.name.clone()) {
            return Ok(Naming::Fixed(name));
        }
        let settings = rig.spec.settings.as_ref();
        let of_rig = settings.and_then(|settings| settings.namepool_theme.as_deref());
        let theme = match (self.theme, of_rig) {
            (Some(theme), _) => Some(theme),
            (None, Some(name)) => Some(Theme::named(name).ok_or_else(|| {
                CommandError::Invalid(format!(
                    "rig {:?} has the name pool {name:?}, which this plugin does not know; use --theme or --name, or upgrade the plugin",
                    rig.metadata.name
                ))
            })?),
            (None, None) => None,
        };
        Ok(theme.map_or(Naming::Chance, Naming::Theme))
    }

    /// Creates the polecat; a name out of a pool that was taken meanwhile is chosen anew.
    async fn create(
        &self,
        session: &Session,
        cluster: &Cluster,
        manifest: &Manifest,
        naming: &Naming,
    ) -> Result<Value, Error> {
        let mut used = match naming {
            Naming::Theme(_) => names_in_use(cluster).await?,
            Naming::Fixed(_) | Naming::Chance => BTreeSet::new(),
        };
        let mut left = TRIES;
        loop {
            left -= 1;
            let name = match naming {
                Naming::Fixed(name) => name.clone(),
                Naming::Theme(theme) => first_free(*theme, &used),
                Naming::Chance => random_name(&manifest.rig),
            };
            let object = manifest.object(&name, cluster.namespace());
            if self.dry_run.is_client() {
                if matches!(naming, Naming::Fixed(_))
                    && cluster.find(Resource::POLECATS, &name).await?.is_some()
                {
                    return Err(Call::exists("create", Resource::POLECATS, &name, cluster).into());
                }
                dry_run::check(&object)?;
                return Ok(object);
            }
            match cluster
                .create(Resource::POLECATS, &object, self.dry_run.mode())
                .await
            {
                Err(Call::Exists { .. }) if left > 0 && !matches!(naming, Naming::Fixed(_)) => {
                    session
                        .reporter
                        .note(&format!("the name {name:?} was taken meanwhile; chooses another"));
                    used.insert(name);
                }
                result => return Ok(result?),
            }
        }
    }

    fn print(&self, session: &mut Session, created: &Value, address: &str) -> Result<(), Error> {
        let name = name_of(Resource::POLECATS, created);
        let verb = match (self.dry_run.is_client(), self.dry_run.mode()) {
            (true, _) => "created (dry run)",
            (false, DryRun::Server) => "created (server dry run)",
            (false, DryRun::No) => "created",
        };
        session
            .out
            .object(&self.output.output, created, &name, |out, _| {
                out.line(&format!("{name} {verb}"))
            })?;
        if self.output.output.is_for_people() && !self.dry_run.is_on() && !self.follow {
            let next = format!(
                "next: kubectl gt polecat logs {address} -f{}",
                session.namespace_flag()
            );
            session.reporter.note(&session.reporter.style.faint(&next));
        }
        Ok(())
    }

    /// A person sees at once that it was created; a program gets one object, the polecat as it is in the end.
    async fn wait(
        &self,
        session: &mut Session,
        cluster: &Cluster,
        created: Value,
        address: &str,
        goal: Goal,
    ) -> Result<(), Error> {
        let people = self.output.output.is_for_people();
        if people {
            self.print(session, &created, address)?;
        }
        let limit = timeout(goal, self.timeout);
        let waited = wait_for(cluster, session.reporter, address, goal, limit).await;
        let object = waited.object.unwrap_or(created);
        if !people {
            self.print(session, &object, address)?;
        }
        waited.outcome?;
        let polecat = crate::view::Polecat::read(&object);
        session
            .reporter
            .note(&session.reporter.style.good(&polecat::summary(&polecat)));
        Ok(())
    }
}

/// Where the name comes from.
enum Naming {
    Fixed(String),
    Theme(Theme),
    Chance,
}

async fn names_in_use(cluster: &Cluster) -> Result<BTreeSet<String>, Call> {
    let mut names = BTreeSet::new();
    cluster
        .each_table(Resource::POLECATS, &Selection::default(), |page| {
            let first = page.rows.iter().filter_map(|row| row.cells.first());
            names.extend(first.filter_map(Value::as_str).map(str::to_owned));
            Ok::<_, Call>(())
        })
        .await?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use clap::Parser as _;

    use super::*;
    use crate::cluster::testing::{answering, refusal};
    use crate::exit::Exit;
    use crate::flags::ClusterFlags;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[tokio::test]
    async fn a_name_of_chance_that_is_always_taken_is_an_error_in_the_end() {
        let posts = Arc::new(AtomicUsize::new(0));
        let counter = posts.clone();
        let cluster = answering(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            refusal(409, "AlreadyExists", "x")
        });
        let session = Session::new(ClusterFlags::default());
        let args = Line::try_parse_from(["sling", "mp-1", "demo"]).unwrap().args;
        let manifest = args.manifest(&Rig::default(), None, None);
        let create = async |naming: Naming| {
            posts.store(0, Ordering::Relaxed);
            let error = args
                .create(&session, &cluster, &manifest, &naming)
                .await
                .unwrap_err();
            assert_eq!(error.exit(), Exit::Conflict);
            posts.load(Ordering::Relaxed)
        };
        assert_eq!(create(Naming::Chance).await, TRIES);
        assert_eq!(create(Naming::Fixed("nux".to_owned())).await, 1);
    }
}
