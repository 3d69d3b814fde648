//! `kubectl gt rig create`.

use gastown_api::person::Person;
use serde_json::{Map, Value, json};

use crate::cluster::{DryRun, Resource};
use crate::command::dry_run::DryRunArgs;
use crate::command::{GIT_SECRET, MODEL_SECRET};
use crate::error::{CommandError, Error};
use crate::git_secret;
use crate::model_secret;
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
    /// The repository; same as --git-url.
    #[arg(
        value_name = "URL",
        conflicts_with = "git_url",
        required_unless_present = "git_url"
    )]
    url: Option<String>,
    /// The repository: `git@HOST:PATH`, `ssh://[USER@]HOST[:PORT]/PATH` or `https://HOST[:PORT]/PATH`.
    #[arg(long, value_name = "URL")]
    git_url: Option<String>,
    /// The prefix of the project's beads, such as mp in mp-a1b2; by default derived from the rig's name, as in gt.
    #[arg(long)]
    prefix: Option<String>,
    /// The branch that polecats start from; by default main.
    #[arg(long, visible_alias = "branch", value_name = "BRANCH")]
    git_branch: Option<String>,
    /// The git secret for polecats that name none.
    #[arg(long, value_name = "SECRET")]
    git_secret: Option<String>,
    /// The secret with model credentials for polecats that name none.
    #[arg(long, value_name = "SECRET")]
    claude_secret: Option<String>,
    /// Author of commits; by default the polecat.
    #[arg(long, value_name = "'NAME <MAIL>'", value_parser = person)]
    git_author: Option<Person>,
    /// Committer of commits; by default the polecat.
    #[arg(long, value_name = "'NAME <MAIL>'", value_parser = person)]
    git_committer: Option<Person>,
    /// The pool that names of polecats are taken from.
    #[arg(long, value_enum)]
    theme: Option<Theme>,
    /// How many polecats may work at once; others wait as Queued.
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
                .reporter
                .warn("--local-path has no effect: polecats are pods and clone the repository");
        }
        self.repository()
            .parse::<gastown_api::repository::RepositoryUrl>()
            .map_err(|error| CommandError::Invalid(error.to_string()))?;
        if self.prefix.is_none() {
            session.reporter.note(&format!(
                "the prefix of its beads is {:?}; --prefix sets another, and it cannot be changed later",
                self.bead_prefix()
            ));
        }
        let object = self.object();
        let (created, verb) = if self.dry_run.is_client() {
            crate::command::dry_run::check(&object)?;
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
            let next = self.next(&session.namespace_flag());
            session.reporter.note(&session.reporter.style.faint(&next));
        }
        Ok(())
    }

    /// The commands that lead from a rig to work on it.
    fn next(&self, namespace: &str) -> String {
        let rig = &self.name;
        let secret = self.git_secret.as_deref().unwrap_or(GIT_SECRET);
        let git = match self.repository().parse() {
            Ok(url) => git_secret::remedy(rig, secret, &url),
            // It was checked before.
            Err(_) => git_secret::remedy_of_any(secret),
        };
        let model = model_secret::remedy(self.claude_secret.as_deref().unwrap_or(MODEL_SECRET));
        format!("next:\n  {git}{namespace}\n  {model}{namespace}\n  kubectl gt sling BEAD {rig}{namespace}")
    }

    fn repository(&self) -> &str {
        let url = self.git_url.as_deref().or(self.url.as_deref());
        url.unwrap_or_default()
    }

    fn bead_prefix(&self) -> String {
        match &self.prefix {
            Some(prefix) => prefix.trim_end_matches('-').to_owned(),
            None => prefix_of(&self.name),
        }
    }

    fn object(&self) -> Value {
        let mut spec = Map::new();
        let mut set = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                spec.insert(field.to_owned(), value);
            }
        };
        set("gitURL", Some(json!(self.repository())));
        set("beadsPrefix", Some(json!(self.bead_prefix())));
        set("gitBranch", self.git_branch.as_ref().map(|branch| json!(branch)));
        set(
            "gitSecretRef",
            self.git_secret.as_ref().map(|name| json!({"name": name})),
        );
        set(
            "claudeCredsSecretRef",
            self.claude_secret.as_ref().map(|name| json!({"name": name})),
        );
        let mut people = Map::new();
        for (field, person) in [
            ("gitAuthor", &self.git_author),
            ("gitCommitter", &self.git_committer),
        ] {
            if let Some(person) = person {
                people.insert(field.to_owned(), json!(person));
            }
        }
        set(
            "polecatDefaults",
            (!people.is_empty()).then(|| json!({"kubernetes": people})),
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

/// `NAME <MAIL>`, as git writes it.
fn person(text: &str) -> Result<Person, String> {
    let parts = text
        .trim()
        .strip_suffix('>')
        .and_then(|text| text.split_once('<'));
    let (name, email) = parts.ok_or_else(|| format!("{text:?} is no author; write 'NAME <MAIL>'"))?;
    Ok(Person {
        name: name.trim().to_owned(),
        email: email.trim().to_owned(),
    })
}

/// The prefix that Gas Town makes of a rig's name: the first letters of its parts, of a short name itself, else its first two
/// letters.
fn prefix_of(name: &str) -> String {
    let letters = |text: &str| {
        text.chars()
            .filter(char::is_ascii_alphabetic)
            .collect::<String>()
            .to_ascii_lowercase()
    };
    let name = name
        .strip_suffix("-py")
        .or(name.strip_suffix("-go"))
        .unwrap_or(name);
    let parts: Vec<_> = name
        .split(['-', '_', '.'])
        .map(letters)
        .filter(|part| !part.is_empty())
        .collect();
    match parts.as_slice() {
        [one] if one.len() <= 3 => one.clone(),
        [one] => one.chars().take(2).collect(),
        parts => parts
            .iter()
            .filter_map(|part| part.chars().next())
            .take(10)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn every_command_up_to_the_work_is_named_as_it_is_typed() {
        let next = |words: &[&str]| {
            let line = ["create", "demo"].iter().chain(words);
            Line::try_parse_from(line).unwrap().args.next(" -n town")
        };
        let lines = [
            "next:",
            "  kubectl gt auth git --rig demo --key ~/.ssh/deploy-key -n town",
            "  kubectl gt auth sync -n town",
            "  kubectl gt sling BEAD demo -n town",
        ];
        assert_eq!(next(&["git@example.com:a/b.git"]), lines.join("\n"));
        let own = next(&[
            "https://example.com/a/b",
            "--git-secret",
            "g",
            "--claude-secret",
            "c",
        ]);
        assert!(
            own.contains("auth git --rig demo --token-from-env GIT_TOKEN --name g -n town"),
            "{own}"
        );
        assert!(own.contains("auth sync --secret c -n town"), "{own}");
    }

    #[test]
    fn a_prefix_is_made_as_gas_town_makes_it() {
        for (name, prefix) in [
            ("my-project", "mp"),
            ("gastown", "ga"),
            ("foo", "foo"),
            ("my-long-project", "mlp"),
            ("tool-py", "to"),
            ("web_app", "wa"),
            ("a1-b2", "ab"),
        ] {
            assert_eq!(prefix_of(name), prefix, "{name}");
        }
    }
}
