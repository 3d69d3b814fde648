//! `kubectl gt auth status`.

use gastown_api::git_secret::{HOSTS, SSH_KEYS, TOKEN_KEYS, hosts_of, read_ssh_key};
use gastown_api::text::counted;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::sync::LAST_SYNC;
use crate::age;
use crate::cluster::Resource;
use crate::command::{GIT_SECRET, MODEL_SECRET};
use crate::error::{CommandError, Error};
use crate::model_secret::{credential, expiry, problems};
use crate::output::OutputArgs;
use crate::output::detail::Detail;
use crate::secret::{Data, is_filled, values};
use crate::session::Session;
use crate::{git_secret, model_secret};

/// Flags of `auth status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The secret with model credentials.
    #[arg(long, default_value = MODEL_SECRET)]
    secret: String,
    /// The git secret.
    #[arg(long, value_name = "SECRET", default_value = GIT_SECRET)]
    git_secret: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// The checks of one secret; never its values.
struct Report {
    value: Value,
    problems: Vec<String>,
}

impl Args {
    /// Prints both secrets; an error if one is unusable.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let now = Timestamp::now();
        let model = cluster.find(Resource::SECRETS, &self.secret).await?;
        let git = cluster.find(Resource::SECRETS, &self.git_secret).await?;
        let (sync, make) = self.remedies(&session.namespace_flag());
        let model = report(&self.secret, "model", model.as_ref(), now, &sync);
        let git = report(&self.git_secret, "git", git.as_ref(), now, &make);
        let value = json!([model.value, git.value]);
        let name = format!("secret/{}\nsecret/{}", self.secret, self.git_secret);
        session.out.object(&self.output.output, &value, &name, |out, _| {
            for (at, report) in [&model, &git].into_iter().enumerate() {
                if at > 0 {
                    out.line("")?;
                }
                detail(report, now).print(out)?;
            }
            Ok(())
        })?;
        let problems = [model.problems, git.problems].concat();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(CommandError::Findings(problems.join("; ")).into())
        }
    }

    /// The commands that make the two secrets that were looked at.
    fn remedies(&self, namespace: &str) -> (String, String) {
        (
            format!("{}{namespace}", model_secret::remedy(&self.secret)),
            format!("{}{namespace}", git_secret::remedy_of_any(&self.git_secret)),
        )
    }
}

fn report(name: &str, purpose: &str, secret: Option<&Value>, now: Timestamp, remedy: &str) -> Report {
    let Some(secret) = secret else {
        return Report {
            value: json!({"name": name, "purpose": purpose, "exists": false}),
            problems: vec![format!("secret {name:?} does not exist; make it with `{remedy}`")],
        };
    };
    let data = values(secret);
    let keys: Vec<_> = data
        .iter()
        .map(|(key, value)| json!({"key": key, "bytes": value.len()}))
        .collect();
    let (credential, problems) = if purpose == "model" {
        (credential(&data), problems(secret, now))
    } else {
        of_git(&data)
    };
    let expires = credential.and_then(|key| expiry(key, &data[key]));
    let hosts = data
        .get(HOSTS)
        .map(|hosts| hosts_of(&String::from_utf8_lossy(hosts)));
    let hosts = hosts.map(Result::unwrap_or_default);
    let problems: Vec<_> = problems
        .into_iter()
        .map(|problem| format!("secret {name:?}: {problem}; cure it with `{remedy}`"))
        .collect();
    Report {
        value: json!({
            "name": name,
            "purpose": purpose,
            "exists": true,
            "credential": credential,
            "expiresAt": expires.map(|at| at.to_string()),
            "lastSync": secret["metadata"]["annotations"][LAST_SYNC],
            "hosts": hosts,
            "keys": keys,
            "problems": problems,
        }),
        problems,
    }
}

/// The credential of a git secret, and what is wrong with it whichever the repository.
fn of_git(data: &Data) -> (Option<&'static str>, Vec<String>) {
    let mut kinds = SSH_KEYS.into_iter().chain(TOKEN_KEYS);
    let Some(key) = kinds.find(|key| is_filled(data, key)) else {
        return (None, vec!["it holds neither an SSH key nor a token".to_owned()]);
    };
    let flaw = SSH_KEYS
        .contains(&key)
        .then(|| read_ssh_key(&data[key]).err())
        .flatten();
    let problem = flaw.map(|flaw| format!("its key {key:?} {flaw}"));
    (Some(key), problem.into_iter().collect())
}

fn detail(report: &Report, now: Timestamp) -> Detail {
    let value = &report.value;
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    let mut detail = Detail::default();
    detail.field("Secret", text("name")).field(
        "For",
        if text("purpose") == "model" {
            "calls to the model"
        } else {
            "git clone and push"
        },
    );
    if value["exists"] == false {
        detail.field("State", "does not exist");
        return detail;
    }
    let expires = text("expiresAt").parse::<Timestamp>().ok().map(|at| {
        let left = at.duration_since(now).as_secs();
        if left > 0 {
            format!("{at} (in {})", age::short(left))
        } else {
            format!("{at} (expired)")
        }
    });
    let hosts = value["hosts"].as_array().map(|hosts| {
        let hosts: Vec<_> = hosts.iter().filter_map(Value::as_str).collect();
        hosts.join(", ")
    });
    let synced = age::since(text("lastSync"), now);
    detail
        .field("Credential", text("credential"))
        .field("Expires", expires.unwrap_or_default())
        .field("Hosts", hosts.unwrap_or_default())
        .field(
            "Last sync",
            if synced.is_empty() {
                synced
            } else {
                format!("{synced} ago")
            },
        )
        .section("Keys");
    for key in value["keys"].as_array().into_iter().flatten() {
        detail.text(format!(
            "{:<24} {}",
            key["key"].as_str().unwrap_or_default(),
            counted(key["bytes"].as_u64().unwrap_or_default(), "byte")
        ));
    }
    detail
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
    fn what_makes_a_secret_names_it_and_its_namespace() {
        let of = |words: &[&str], namespace| Line::parse_from(words).args.remedies(namespace);
        let (sync, git) = of(&["status"], "");
        assert_eq!(sync, "kubectl gt auth sync");
        assert_eq!(git, "kubectl gt auth git --rig RIG --key FILE");
        let (sync, git) = of(
            &["status", "--secret", "mine", "--git-secret", "deploy"],
            " -n town",
        );
        assert_eq!(sync, "kubectl gt auth sync --secret mine -n town");
        assert_eq!(
            git,
            "kubectl gt auth git --rig RIG --key FILE --name deploy -n town"
        );
    }
}
