//! A secret as `auth` writes it: by server-side apply, and shown without its values.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Resource};
use crate::command::dry_run::DryRunArgs;
use crate::error::Error;
use crate::model_secret::size;
use crate::output::{OutputArgs, name_of};
use crate::session::Session;

/// Flags of every command that writes a secret.
#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    /// Take over keys of the secret that someone else has set.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is to be in a secret.
pub struct Draft<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its keys.
    pub data: BTreeMap<&'static str, Vec<u8>>,
    /// Its annotations.
    pub annotations: BTreeMap<&'static str, String>,
}

impl Draft<'_> {
    fn object(&self, namespace: &str) -> Value {
        let encoded = self
            .data
            .iter()
            .map(|(key, value)| (*key, STANDARD.encode(value)));
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": namespace},
            "type": "Opaque",
            "data": encoded.collect::<BTreeMap<_, _>>(),
        });
        if !self.annotations.is_empty() {
            object["metadata"]["annotations"] = json!(self.annotations);
        }
        object
    }
}

impl WriteArgs {
    /// Applies the secret, and says which keys it has; `purpose` ends that line.
    pub async fn write(
        &self,
        session: &mut Session,
        cluster: &Cluster,
        draft: &Draft<'_>,
        purpose: &str,
    ) -> Result<(), Error> {
        let object = draft.object(cluster.namespace());
        let applied = if self.dry_run.is_client() {
            object.clone()
        } else {
            cluster
                .apply(
                    Resource::SECRETS,
                    draft.name,
                    &object,
                    self.force,
                    self.dry_run.mode(),
                )
                .await?
        };
        let name = name_of(Resource::SECRETS, &object);
        let keys: Vec<_> = draft.data.keys().copied().collect();
        let verb = if self.dry_run.is_on() {
            "would be applied (dry run)"
        } else {
            "applied"
        };
        let shown = without_values(&applied);
        Ok(session.out.object(&self.output.output, &shown, &name, |out, _| {
            out.line(&format!("{name} {verb}: {}{purpose}", keys.join(", ")))
        })?)
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

    #[test]
    fn what_is_shown_of_a_secret_has_no_value() {
        let draft = Draft {
            name: "git-creds",
            data: BTreeMap::from([("token", b"hunter2".to_vec())]),
            annotations: BTreeMap::new(),
        };
        let shown = without_values(&draft.object("town")).to_string();
        assert!(
            shown.contains("(7 bytes)") && !shown.contains(&STANDARD.encode("hunter2")),
            "{shown}"
        );
    }
}
