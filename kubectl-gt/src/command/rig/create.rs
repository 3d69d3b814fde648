//! `kubectl gt rig create`.

use serde_json::{Map, Value, json};

use crate::cluster::{DryRun, Resource};
use crate::command::CommandError;
use crate::command::dry_run::DryRunArgs;
use crate::error::Error;
use crate::names::Theme;
use crate::output::{OutputArgs, name_of};
use crate::session::Session;
use clap::ValueEnum as _;

/// Flags of `rig create`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rig's name.
    #[arg(value_name = "RIG")]
    name: String,
    /// The repository: `git@HOST:PATH`, `ssh://[USER@]HOST[:PORT]/PATH` or `https://HOST[:PORT]/PATH`.
    #[arg(long, value_name = "URL")]
    git_url: String,
    /// The prefix of the project's beads, such as mp in mp-a1b2.
    #[arg(long)]
    prefix: String,
    /// The branch that polecats start from; by default main.
    #[arg(long, visible_alias = "branch", value_name = "BRANCH")]
    git_branch: Option<String>,
    /// The git secret of polecats that name none.
    #[arg(long, value_name = "SECRET")]
    git_secret: Option<String>,
    /// The model credentials of polecats that name none.
    #[arg(long, value_name = "SECRET")]
    claude_secret: Option<String>,
    /// Where names of polecats come from.
    #[arg(long, value_enum)]
    theme: Option<Theme>,
    /// How many polecats may work at once.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    max_polecats: Option<i32>,
    /// The predecessor's flag; pods have no local path.
    #[arg(long, hide = true, value_name = "PATH")]
    local_path: Option<String>,
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Creates the rig.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        if self.local_path.is_some() {
            session
                .talk
                .warn("--local-path has no effect: polecats are pods and clone the repository");
        }
        self.git_url
            .parse::<gastown_api::repository::RepositoryUrl>()
            .map_err(|error| CommandError::Invalid(error.to_string()))?;
        let object = self.object();
        let (created, verb) = if self.dry_run.is_client() {
            (object, "created (dry run)")
        } else {
            let cluster = session.cluster().await?;
            let created = cluster
                .create(Resource::RIGS, &object, self.dry_run.mode())
                .await?;
            let verb = if self.dry_run.mode() == DryRun::Server {
                "created (server dry run)"
            } else {
                "created"
            };
            (created, verb)
        };
        let name = name_of(Resource::RIGS, &created);
        session
            .out
            .object(&self.output.output, &created, &name, |out, _| {
                out.line(&format!("{name} {verb}"))
            })?;
        if self.output.output.is_for_people() {
            let namespace = session.namespace_flag();
            let next = format!(
                "next: kubectl gt auth sync{namespace}, then kubectl gt sling BEAD {}{namespace}",
                self.name
            );
            session.talk.note(&session.talk.style.faint(&next));
        }
        Ok(())
    }

    fn object(&self) -> Value {
        let mut spec = Map::new();
        let mut set = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                spec.insert(field.to_owned(), value);
            }
        };
        set("gitURL", Some(json!(self.git_url)));
        set("beadsPrefix", Some(json!(self.prefix.trim_end_matches('-'))));
        set("gitBranch", self.git_branch.as_ref().map(|branch| json!(branch)));
        set(
            "gitSecretRef",
            self.git_secret.as_ref().map(|name| json!({"name": name})),
        );
        set(
            "claudeCredsSecretRef",
            self.claude_secret.as_ref().map(|name| json!({"name": name})),
        );
        let mut settings = Map::new();
        if let Some(theme) = self.theme.and_then(|theme| theme.to_possible_value()) {
            settings.insert("namepoolTheme".to_owned(), json!(theme.get_name()));
        }
        if let Some(most) = self.max_polecats {
            settings.insert("maxPolecats".to_owned(), json!(most));
        }
        set(
            "settings",
            (!settings.is_empty()).then_some(Value::Object(settings)),
        );
        json!({
            "apiVersion": format!("{}/{}", gastown_api::GROUP, gastown_api::VERSION),
            "kind": "Rig",
            "metadata": {"name": self.name},
            "spec": spec,
        })
    }
}
