//! A secret as `auth` writes it: read first, so that nothing is lost that it holds, then written by server-side apply, and
//! shown without its values.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::{Call, Cluster, FIELD_MANAGER, Resource};
use crate::command::dry_run::DryRunArgs;
use crate::error::{CommandError, Error};
use crate::output::{OutputArgs, name_of};
use crate::secret::{Data, applied_by, size, values};
use crate::session::Session;

/// Flags of every command that writes a secret.
#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    /// Take over keys of the secret that another field manager set.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The content of a secret before it is written.
#[derive(Debug, Default)]
pub struct Existing {
    /// Its values.
    pub data: Data,
    /// The keys that the plugin applied itself.
    pub own: BTreeSet<String>,
    /// Its type, which cannot be changed.
    pub kind: Option<String>,
    /// Its version: a write on top of another one is refused.
    pub version: Option<String>,
}

/// What is to be in a secret.
#[derive(Debug, Default)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// What it held.
    pub existing: Existing,
    /// What it is to hold.
    pub data: Data,
    /// Its annotations.
    pub annotations: BTreeMap<&'static str, String>,
}

impl Existing {
    /// What the API server answered; none: there is no such secret.
    pub fn read(secret: Option<&Value>) -> Self {
        let Some(secret) = secret else {
            return Self::default();
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            data: values(secret),
            own: applied_by(secret, FIELD_MANAGER).into_iter().collect(),
            kind: text(&secret["type"]),
            version: text(&secret["metadata"]["resourceVersion"]),
        }
    }
}

impl Draft {
    /// The keys that are new or have another value.
    fn changed(&self) -> impl Iterator<Item = &str> {
        let changed = |(key, value): &(&String, &Vec<u8>)| self.existing.data.get(*key) != Some(*value);
        self.data.iter().filter(changed).map(|(key, _)| key.as_str())
    }

    /// The keys that are to go.
    fn removed(&self) -> impl Iterator<Item = &str> {
        let keys = self.existing.data.keys().map(String::as_str);
        keys.filter(|key| !self.data.contains_key(*key))
    }

    /// What is applied: what changes, and what was applied before, which would go without it. Other keys stay whose they
    /// are.
    fn object(&self, namespace: &str) -> Value {
        let own = self.existing.own.iter().map(String::as_str);
        let keys: BTreeSet<&str> = self.changed().chain(own).collect();
        let data: BTreeMap<_, _> = keys
            .into_iter()
            .filter_map(|key| Some((key, STANDARD.encode(self.data.get(key)?))))
            .collect();
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": namespace},
            "type": self.existing.kind.as_deref().unwrap_or("Opaque"),
            "data": data,
        });
        if let Some(version) = &self.existing.version {
            object["metadata"]["resourceVersion"] = json!(version);
        }
        if !self.annotations.is_empty() {
            object["metadata"]["annotations"] = json!(self.annotations);
        }
        object
    }

    /// Takes away the keys that are to go and that an apply leaves, since someone else set them.
    fn removal(&self) -> Option<Value> {
        let foreign = self.removed().filter(|key| !self.existing.own.contains(*key));
        let keys: serde_json::Map<_, _> = foreign.map(|key| (key.to_owned(), Value::Null)).collect();
        (!keys.is_empty()).then(|| json!({"data": keys}))
    }
}

impl WriteArgs {
    /// What the secret holds now. A dry run of the client alone needs no cluster.
    pub async fn existing(&self, session: &Session, cluster: &Cluster, name: &str) -> Result<Existing, Call> {
        match cluster.find(Resource::SECRETS, name).await {
            Ok(secret) => Ok(Existing::read(secret.as_ref())),
            Err(error) if self.dry_run.is_client() => {
                session
                    .reporter
                    .note(&format!("what secret {name:?} holds is not known: {error}"));
                Ok(Existing::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Applies the secret, and says which keys were set; `purpose` ends that line.
    pub async fn write(
        &self,
        session: &mut Session,
        cluster: &Cluster,
        draft: &Draft,
        purpose: &str,
    ) -> Result<(), Error> {
        let object = draft.object(cluster.namespace());
        let applied = if self.dry_run.is_client() {
            crate::command::dry_run::check(&object)?;
            object.clone()
        } else {
            self.apply(cluster, draft, &object).await?
        };
        let name = name_of(Resource::SECRETS, &object);
        let set = draft.changed().map(str::to_owned);
        let removed = draft.removed().map(|key| format!("{key} removed"));
        let mut acts: Vec<_> = set.chain(removed).collect();
        if acts.is_empty() {
            acts.push("nothing changed".to_owned());
        }
        let verb = if self.dry_run.is_on() {
            "would be applied (dry run)"
        } else {
            "applied"
        };
        let shown = without_values(&applied);
        Ok(session.out.object(&self.output.output, &shown, &name, |out, _| {
            out.line(&format!("{name} {verb}: {}{purpose}", acts.join(", ")))
        })?)
    }

    async fn apply(&self, cluster: &Cluster, draft: &Draft, object: &Value) -> Result<Value, Error> {
        let mode = self.dry_run.mode();
        let applied = cluster
            .apply(Resource::SECRETS, &draft.name, object, self.force, mode)
            .await;
        let applied = match applied {
            Err(Call::Conflict { words, .. }) if !self.force => {
                return Err(CommandError::Refused(format!(
                    "failed to apply secret {:?}: {words}; look at who else writes it, then repeat, with --force to take its keys over",
                    draft.name
                ))
                .into());
            }
            applied => applied?,
        };
        match draft.removal() {
            Some(removal) => Ok(cluster
                .merge(Resource::SECRETS, &draft.name, &removal, mode)
                .await?),
            None => Ok(applied),
        }
    }
}

/// The secret as it may be shown: its keys, without their values.
fn without_values(secret: &Value) -> Value {
    let mut shown = secret.clone();
    if let Some(data) = shown.get_mut("data").and_then(Value::as_object_mut) {
        for value in data.values_mut() {
            *value = json!(format!("({} bytes)", size(value.as_str().unwrap_or_default())));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(own: &[&str], before: &[(&str, &str)], after: &[(&str, &str)]) -> Draft {
        let data = |entries: &[(&str, &str)]| {
            let own = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
            entries.iter().map(own).collect::<Data>()
        };
        Draft {
            name: "git-creds".to_owned(),
            existing: Existing {
                data: data(before),
                own: own.iter().map(|key| (*key).to_owned()).collect(),
                kind: None,
                version: None,
            },
            data: data(after),
            annotations: BTreeMap::new(),
        }
    }

    fn applied(draft: &Draft) -> Vec<String> {
        let object = draft.object("town");
        object["data"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn what_is_shown_of_a_secret_has_no_value() {
        let draft = draft(&[], &[], &[("token", "hunter2")]);
        let shown = without_values(&draft.object("town")).to_string();
        assert!(
            shown.contains("(7 bytes)") && !shown.contains(&STANDARD.encode("hunter2")),
            "{shown}"
        );
    }

    #[test]
    fn what_was_applied_before_is_applied_again_and_what_others_set_is_left_to_them() {
        let before = [("ours", "1"), ("theirs", "2")];
        let kept = draft(
            &["ours"],
            &before,
            &[("ours", "1"), ("theirs", "2"), ("new", "3")],
        );
        assert_eq!(applied(&kept), ["new", "ours"]);
        assert_eq!(kept.removal(), None);
        let fewer = draft(&["ours"], &before, &[("new", "3")]);
        assert_eq!(applied(&fewer), ["new"], "what was applied goes with the apply");
        assert_eq!(fewer.removal(), Some(json!({"data": {"theirs": null}})));
    }

    #[test]
    fn a_secret_keeps_its_type_and_is_not_written_over_another_write() {
        let existing = json!({"type": "kubernetes.io/ssh-auth", "metadata": {"resourceVersion": "7"}});
        let draft = Draft {
            existing: Existing::read(Some(&existing)),
            ..draft(&[], &[], &[("a", "b")])
        };
        let object = draft.object("town");
        assert_eq!(object["type"], "kubernetes.io/ssh-auth");
        assert_eq!(object["metadata"]["resourceVersion"], "7");
    }
}
