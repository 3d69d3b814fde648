//! The Polecat that a sling makes: only what was asked for, so that the rig's defaults stay the rig's.

use gastown_api::reference::SecretReference;
use serde_json::{Map, Value, json};

use super::budget::BudgetFlag;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The rig.
    pub rig: String,
    /// The bead.
    pub bead: Option<String>,
    /// The task.
    pub task: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Where to start.
    pub base_branch: Option<String>,
    /// What to push.
    pub branch: Option<String>,
    /// The git secret, where it is not the rig's.
    pub git_secret: Option<SecretReference>,
    /// The model secret, where it is not the rig's.
    pub model_secret: Option<SecretReference>,
    /// What may be spent.
    pub budget: Option<BudgetFlag>,
    /// The priority among queued polecats.
    pub priority: Option<i32>,
}

impl Manifest {
    /// The object of that name.
    pub fn object(&self, name: &str, namespace: &str) -> Value {
        let mut spec = Map::new();
        let mut set = |field: &str, value: Value| {
            if !value.is_null() {
                spec.insert(field.to_owned(), value);
            }
        };
        set("rig", json!(self.rig));
        set("desiredState", json!("Working"));
        set("beadID", json!(self.bead));
        set(
            "task",
            self.task
                .as_ref()
                .map_or(Value::Null, |text| json!({"description": text})),
        );
        set("agent", json!(self.agent));
        set(
            "agentConfig",
            self.model
                .as_ref()
                .map_or(Value::Null, |model| json!({"model": model})),
        );
        set("kubernetes", self.kubernetes());
        set(
            "budget",
            self.budget.map_or(Value::Null, |budget| {
                present(&[("usd", json!(budget.usd)), ("tokens", json!(budget.tokens))])
            }),
        );
        set("priority", json!(self.priority));
        json!({
            "apiVersion": format!("{}/{}", gastown_api::GROUP, gastown_api::VERSION),
            "kind": "Polecat",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        })
    }

    fn kubernetes(&self) -> Value {
        present(&[
            ("gitBranch", json!(self.base_branch)),
            ("workBranch", json!(self.branch)),
            ("gitSecretRef", json!(self.git_secret)),
            ("claudeCredsSecretRef", json!(self.model_secret)),
        ])
    }
}

/// The fields that have a value; null when none has.
fn present(fields: &[(&str, Value)]) -> Value {
    let kept: Map<_, _> = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    if kept.is_empty() {
        Value::Null
    } else {
        Value::Object(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_in_the_manifest() {
        let manifest = Manifest {
            rig: "demo".to_owned(),
            bead: Some("gt-1".to_owned()),
            task: None,
            agent: None,
            model: None,
            base_branch: None,
            branch: None,
            git_secret: Some(SecretReference {
                name: "git-creds".to_owned(),
            }),
            model_secret: None,
            budget: Some(BudgetFlag {
                usd: Some(5.0),
                tokens: None,
            }),
            priority: Some(900),
        };
        let wanted = json!({
            "rig": "demo", "desiredState": "Working", "beadID": "gt-1",
            "kubernetes": {"gitSecretRef": {"name": "git-creds"}},
            "budget": {"usd": 5.0}, "priority": 900,
        });
        let object = manifest.object("furiosa", "town");
        assert_eq!(object["spec"], wanted);
        let polecat: Result<gastown_api::polecat::Polecat, _> = serde_json::from_value(object);
        assert!(polecat.is_ok(), "{polecat:?}");
    }
}
