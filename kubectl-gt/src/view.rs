//! What the plugin reads of objects. Fields are texts and may be missing: a cluster of another version, with phases
//! and reasons that this plugin does not know, can still be looked at.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gastown_api::kinds;
use gastown_api::labels::RETRY_REQUESTED_AT;
use gastown_api::reason::{AnyReason, Reason};
use gastown_api::usage::Usage;
use serde::Deserialize;
use serde_json::Value;

/// A polecat.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Polecat {
    /// Name and times.
    pub metadata: Metadata,
    /// What is asked of it.
    pub spec: Spec,
    /// What was found.
    pub status: Status,
}

/// A rig.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rig {
    /// Name and times.
    pub metadata: Metadata,
    /// What is asked of it.
    pub spec: RigSpec,
    /// What was found.
    pub status: RigStatus,
}

/// What every object has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// When it was created.
    pub creation_timestamp: String,
    /// When its deletion was asked for.
    pub deletion_timestamp: Option<String>,
    /// The generation of its spec.
    pub generation: i64,
    /// What others noted on it.
    pub annotations: BTreeMap<String, String>,
}

/// What is asked of a polecat.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Its rig.
    pub rig: String,
    /// What it is to do.
    pub desired_state: String,
    /// Its bead.
    #[serde(rename = "beadID")]
    pub bead_id: Option<String>,
    /// Its task.
    pub task: Option<Task>,
    /// The predecessor's place for it.
    pub task_description: Option<String>,
    /// Its limits.
    pub budget: Option<Value>,
    /// The priority among queued polecats.
    pub priority: Option<i64>,
    /// Its credentials.
    pub kubernetes: Option<Kubernetes>,
}

/// A task.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Task {
    /// In words.
    pub description: String,
}

/// What a polecat or rig says of repository and credentials.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kubernetes {
    /// The git secret.
    pub git_secret_ref: Option<Reference>,
    /// The model secret.
    pub claude_creds_secret_ref: Option<Reference>,
}

/// A name of an object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// The name.
    pub name: String,
}

/// What was found of a polecat.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Where it stands.
    pub phase: String,
    /// The generation that it speaks of.
    pub observed_generation: i64,
    /// Its branch.
    pub branch: String,
    /// The commit there.
    pub head: String,
    /// Its repository.
    pub repository: String,
    /// Where it started.
    pub base_branch: String,
    /// Its pod.
    pub pod_name: String,
    /// Whether the agent runs.
    pub pod_active: bool,
    /// When something changed.
    pub last_activity: String,
    /// Its agent.
    pub agent: String,
    /// Its model.
    pub agent_model: String,
    /// The last snapshot.
    pub wip: Option<Wip>,
    /// Tokens.
    pub usage: Usage,
    /// Cost, such as `$0.12`.
    pub cost: String,
    /// Cost in millionths of a dollar.
    pub cost_micros: Option<i64>,
    /// The retry that was acted on.
    pub retry_handled: Option<String>,
    /// Its attempts.
    pub attempts: Vec<Attempt>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// A snapshot.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Wip {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// The commit.
    pub sha: String,
    /// When.
    pub at: String,
}

/// An attempt.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attempt {
    /// Its number.
    pub number: i64,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// How it ended.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Tokens.
    pub usage: Usage,
    /// Cost in millionths of a dollar.
    pub cost_micros: Option<i64>,
}

/// A condition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// Why.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Since when.
    pub last_transition_time: String,
}

/// What is asked of a rig.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RigSpec {
    /// The repository.
    #[serde(rename = "gitURL")]
    pub git_url: String,
    /// The prefix of its beads.
    pub beads_prefix: String,
    /// Where polecats start.
    pub git_branch: Option<String>,
    /// The git secret of polecats that name none.
    pub git_secret_ref: Option<Reference>,
    /// The model secret of polecats that name none.
    pub claude_creds_secret_ref: Option<Reference>,
    /// Name pool and limits.
    pub settings: Option<RigSettings>,
}

/// Name pool and limits of a rig.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RigSettings {
    /// Where names come from.
    pub namepool_theme: Option<String>,
    /// How many polecats may work at once.
    pub max_polecats: Option<i64>,
}

/// What was found of a rig.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RigStatus {
    /// The aggregate.
    pub phase: String,
    /// Polecats that are not Terminated.
    pub polecat_count: i64,
    /// Polecats at work.
    pub working_polecats: i64,
    /// The same by operator.
    pub operators: Vec<RigOperator>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// The polecats of a rig that one operator runs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RigOperator {
    /// The operator, as NAMESPACE/LEASE.
    pub name: String,
    /// Its namespaces; all when empty.
    pub namespaces: Vec<String>,
    /// Polecats that are not Terminated.
    pub polecat_count: i64,
    /// Polecats at work.
    pub working_polecats: i64,
}

impl Polecat {
    /// Reads an object of the API server.
    pub fn read(object: &Value) -> Self {
        // Every field has a default; a field of another type than expected leaves the rest unread.
        serde_json::from_value(object.clone()).unwrap_or_else(|_| Self {
            metadata: serde_json::from_value(object["metadata"].clone()).unwrap_or_default(),
            ..Self::default()
        })
    }

    /// `rig/name`, as every command takes it; the name alone where the rig is not known.
    pub fn address(&self) -> String {
        if self.spec.rig.is_empty() {
            self.metadata.name.clone()
        } else {
            format!("{}/{}", self.spec.rig, self.metadata.name)
        }
    }

    /// The phase; a polecat that the operator has not seen yet is Pending to people.
    pub fn phase(&self) -> &str {
        if self.status.phase.is_empty() {
            "Pending"
        } else {
            &self.status.phase
        }
    }

    /// Whether the operator will do nothing more on its own.
    fn has_ended(&self) -> bool {
        matches!(self.phase(), "Done" | "Stuck" | "Terminated") || self.has_nothing_to_do()
    }

    /// Whether it has ended and the operator has nothing left to do about it: neither another attempt that was asked for, nor a
    /// change of its spec.
    pub fn is_settled(&self) -> bool {
        let seen = self.status.observed_generation >= self.metadata.generation;
        self.phase() == "Done" || (self.has_ended() && seen && !self.retry_is_open())
    }

    /// Whether another attempt was asked for that the operator has not begun. It begins one only after an attempt that failed, of
    /// a polecat that is to work: a manifest that it refuses is not retried, and waits for its repair.
    pub fn retry_is_open(&self) -> bool {
        let asked = self.metadata.annotations.get(RETRY_REQUESTED_AT);
        let failed = self.status.attempts.last();
        self.phase() == "Stuck"
            && !matches!(self.spec.desired_state.as_str(), "Idle" | "Terminated")
            && asked.is_some()
            && asked != self.status.retry_handled.as_ref()
            && failed.is_some_and(|attempt| attempt.reason == self.reason())
    }

    /// Whether it is idle for want of a task.
    pub fn has_nothing_to_do(&self) -> bool {
        self.phase() == "Idle" && self.reason() == Reason::NothingToDo.as_str()
    }

    /// The condition of that type.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|c| c.type_ == type_)
    }

    /// Whose limit it waits for without a pod.
    pub fn queued(&self) -> Option<&Condition> {
        self.condition(gastown_api::condition::QUEUED)
            .filter(|condition| condition.status == "True")
    }

    /// What it waits for with its pod alive.
    pub fn parked(&self) -> Option<&Condition> {
        self.condition(gastown_api::condition::PARKED)
            .filter(|condition| condition.status == "True")
    }

    /// Why it is as it is.
    pub fn reason(&self) -> &str {
        self.condition(gastown_api::condition::READY)
            .map_or("", |condition| &condition.reason)
    }

    /// The same in words.
    pub fn message(&self) -> &str {
        self.condition(gastown_api::condition::READY)
            .map_or("", |condition| &condition.message)
    }

    /// Its task in words.
    pub fn task(&self) -> &str {
        let task = self.spec.task.as_ref().map(|task| task.description.as_str());
        task.filter(|text| !text.is_empty())
            .or(self.spec.task_description.as_deref())
            .unwrap_or_default()
    }
}

impl Rig {
    /// Reads an object of the API server.
    pub fn read(object: &Value) -> Self {
        serde_json::from_value(object.clone()).unwrap_or_else(|_| Self {
            metadata: serde_json::from_value(object["metadata"].clone()).unwrap_or_default(),
            ..Self::default()
        })
    }

    /// The phase; a rig that the operator has not seen yet is Pending to people.
    pub fn phase(&self) -> &str {
        if self.status.phase.is_empty() {
            "Pending"
        } else {
            &self.status.phase
        }
    }

    /// The git secret of its polecats.
    pub fn git_secret(&self) -> Option<&str> {
        self.spec.git_secret_ref.as_ref().map(|r| r.name.as_str())
    }

    /// The model secret of its polecats.
    pub fn model_secret(&self) -> Option<&str> {
        self.spec
            .claude_creds_secret_ref
            .as_ref()
            .map(|r| r.name.as_str())
    }
}

/// What can be done about a reason, if this plugin knows it.
pub fn remedy(reason: &str) -> Option<&'static str> {
    Some(known(reason)?.remedy).filter(|remedy| !remedy.is_empty())
}

/// The message of a condition, attempt or event without what can be done, which stands beside it.
pub fn facts<'a>(reason: &str, message: &'a str) -> &'a str {
    known(reason).map_or(message, |known| known.facts(message))
}

fn known(reason: &str) -> Option<AnyReason> {
    kinds::reasons().find(|known| known.name == reason)
}

/// `text` without what would move a cursor, colour, reorder or hide text: agents and repositories wrote some of it.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let harmful = (character.is_control() && character != '\t')
            || matches!(
                character,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
            );
        if harmful {
            let _strings_take_everything = write!(safe, "{}", character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// `12.3k` tokens.
pub fn tokens(count: u64) -> String {
    match count {
        0..=999 => count.to_string(),
        1000..=999_999 => format!("{}.{}k", count / 1000, count % 1000 / 100),
        _ => format!("{}.{}M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

/// `12.3k tokens`, `1 token`.
pub fn of_tokens(count: u64) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} token{s}", tokens(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_of_an_unknown_version_can_still_be_looked_at() {
        let polecat = Polecat::read(&json!({
            "metadata": {"name": "a"},
            "spec": {"rig": "demo", "agent": "of-the-future", "new": [1]},
            "status": {"phase": "Flying", "conditions": [{"type": "Ready", "status": "True", "reason": "New"}]},
        }));
        assert_eq!(
            (polecat.phase(), polecat.reason(), polecat.address().as_str()),
            ("Flying", "New", "demo/a")
        );
    }

    #[test]
    fn a_polecat_whose_spec_cannot_be_read_is_still_named_as_commands_take_it() {
        let polecat = Polecat::read(&json!({"metadata": {"name": "a"}, "spec": {"rig": 7}}));
        assert_eq!(polecat.address(), "a");
    }

    #[test]
    fn tokens_are_short_and_never_rounded_up() {
        assert_eq!(tokens(999), "999");
        assert_eq!(tokens(12_399), "12.3k");
        assert_eq!(tokens(3_480_000), "3.4M");
        assert_eq!(of_tokens(1), "1 token");
        assert_eq!(of_tokens(12_399), "12.3k tokens");
    }

    #[test]
    fn text_of_others_cannot_drive_the_terminal() {
        assert_eq!(escape("a\u{1b}[31mb\u{202e}"), "a\\u{1b}[31mb\\u{202e}");
    }
}
