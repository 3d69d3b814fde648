//! What only a polecat's pod is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RemoteOrder, Role, WorkOrder};
use crate::budget::Share;
use crate::git::{BranchName, Sha};
use crate::person::Person;
use crate::polecat::{AgentKind, Provider};
use crate::usage::Price;

/// The domain of polecats' mail addresses.
pub const MAIL_DOMAIN: &str = "gastown.invalid";

/// What only a polecat's pod is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolecatOrder {
    /// The bead worked on, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bead: Option<String>,
    /// The task in the manifest; without it the bead's text is taken from `.beads/issues.jsonl` of the clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Who works.
    pub agent: AgentOrder,
    /// The repository and the branches: cloned from, and delivered to.
    pub git: GitOrder,
    /// How the agent reaches its model, and what it may spend.
    pub model: ModelOrder,
    /// When work is saved, and when an agent counts as hung.
    pub pace: PaceOrder,
    /// How much the volumes may hold that the kubelet evicts a pod for.
    pub disk: DiskOrder,
}

/// When work is saved, and when an agent counts as hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PaceOrder {
    /// How long the keeper waits at most before it saves what changed, in seconds.
    pub checkpoint_seconds: u64,
    /// After how many model turns it does so earlier.
    pub checkpoint_turns: u64,
    /// How long the agent may neither call the model nor write anything before it counts as hung, in seconds.
    pub silence_seconds: u64,
}

impl From<PolecatOrder> for Role {
    fn from(order: PolecatOrder) -> Self {
        Self::Polecat(Box::new(order))
    }
}

/// The agent, and what is called in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentOrder {
    /// Which agent.
    pub kind: AgentKind,
    /// A command in its place; empty: the agent's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments of the command, or further ones of the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

impl AgentOrder {
    /// Whether a command of the polecat's own runs in the agent's place.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        !self.command.is_empty()
    }

    /// What works, as the spec calls it: the command in the agent's place, or the agent.
    #[must_use]
    pub fn name(&self) -> &str {
        match (self.command.first(), self.kind) {
            (Some(program), _) => program,
            (None, AgentKind::ClaudeCode) => "claude-code",
            (None, AgentKind::Codex) => "codex",
        }
    }
}

/// The repository and its branches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitOrder {
    /// The repository on its host.
    pub remote: RemoteOrder,
    /// The branch the work starts from.
    pub base_branch: BranchName,
    /// The one branch that may be pushed.
    pub work_branch: BranchName,
    /// What the first attempt found as base; none in the first attempt, which finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Sha>,
    /// What an earlier attempt had pushed when its agent had ended well, and nobody could confirm. Where the work branch is
    /// there, no agent is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<Sha>,
    /// What an earlier attempt left unfinished; this one starts from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<ResumeOrder>,
    /// Author of commits, if not the polecat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
    /// Committer of commits, if not the polecat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committer: Option<Person>,
    /// Whether the agent may fetch other branches and tags of the upstream by name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_branches: bool,
    /// Paths no push may touch, each a prefix that ends with `/` or a whole path.
    pub denied_paths: Vec<String>,
    /// The most bytes one push may have.
    pub max_push_bytes: u64,
}

/// A snapshot of an earlier attempt, as the status names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResumeOrder {
    /// The full name of the ref on the remote.
    pub name: String,
    /// The commit it pointed at.
    pub sha: Sha,
}

/// The model endpoint and the budget that is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelOrder {
    /// Who serves the model: it decides which credentials are sent.
    pub provider: Provider,
    /// The APIs that the agent may speak.
    pub apis: Vec<ModelApi>,
    /// The base URL of the provider's API, without a trailing slash, such as `https://api.anthropic.com`.
    pub endpoint: String,
    /// The model that the agent is told to use; none: the agent's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Models that may be called; an entry that ends with `*` stands for all names with that prefix.
    pub allowed_models: Vec<String>,
    /// The name of the secret with credentials and settings, mounted at [`crate::pod::MODEL_SECRET_DIR`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The API key that stands alone, mounted at [`crate::pod::API_KEY_DIR`]; it wins over all in `secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyOrder>,
    /// Whether the endpoint may be called without a key.
    #[serde(default)]
    pub keyless: bool,
    /// Tokens left; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_left: Option<u64>,
    /// Millionths of a US dollar left; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros_left: Option<u64>,
    /// The price table; keys as in `allowed_models`, the longest that fits counts.
    pub prices: BTreeMap<String, Price>,
}

/// A key of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeyOrder {
    /// The name of the secret.
    pub secret: String,
    /// The key in it, which is the name of the file.
    pub key: String,
}

/// What a model endpoint serves. Nothing is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelApi {
    /// Anthropic's `POST /v1/messages`.
    Messages,
    /// `OpenAI`'s `POST /v1/responses`.
    Responses,
}

/// Size limits of the volumes that the agent can fill, in bytes: a pod that exceeds one is evicted without a grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskOrder {
    /// The clone.
    pub workspace: u64,
    /// The agent's home.
    pub home: u64,
    /// The scratch space of agent and keeper.
    pub tmp: u64,
    /// The keeper's repository, which grows with what the agent changes.
    pub keeper: u64,
    /// The broker's repository, which grows with what is pushed.
    pub broker: u64,
}

impl WorkOrder<PolecatOrder> {
    /// Whether an agent that ends without a metered model call has gone past the budget: each agent but a command of the
    /// polecat's own calls a model.
    #[must_use]
    pub fn expects_calls(&self) -> bool {
        !self.role.agent.is_custom() && self.role.model.has_budget()
    }

    /// Author of commits.
    #[must_use]
    pub fn author(&self) -> Person {
        self.role.git.author.clone().unwrap_or_else(|| self.own_person())
    }

    /// Committer of commits.
    #[must_use]
    pub fn committer(&self) -> Person {
        self.role
            .git
            .committer
            .clone()
            .unwrap_or_else(|| self.own_person())
    }

    /// The polecat itself. A name below `.invalid` receives no mail (RFC 2606).
    fn own_person(&self) -> Person {
        Person {
            name: self.owner.clone(),
            email: format!("{}@{}.{MAIL_DOMAIN}", self.owner, self.rig),
        }
    }
}

impl ModelOrder {
    /// Whether tokens or dollars are limited.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.left().is_limited()
    }

    /// What may be spent in all.
    #[must_use]
    pub fn left(&self) -> Share {
        Share {
            tokens: self.tokens_left,
            cost_micros: self.micros_left,
        }
    }

    /// Whether `model` may be called.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        is_allowed(&self.allowed_models, model)
    }

    /// The price of `model`, by the longest key that fits.
    #[must_use]
    pub fn price(&self, model: &str) -> Option<Price> {
        price_of(&self.prices, model)
    }
}

/// The price of `model` in a table whose keys may end with `*`: the longest key that fits counts.
#[must_use]
pub fn price_of(prices: &BTreeMap<String, Price>, model: &str) -> Option<Price> {
    let fitting = prices.iter().filter(|(pattern, _)| fits(pattern, model));
    fitting
        .max_by_key(|(pattern, _)| pattern.len())
        .map(|(_, price)| *price)
}

/// Whether one of `patterns` stands for `model`.
#[must_use]
pub fn is_allowed(patterns: &[String], model: &str) -> bool {
    is_name(model) && patterns.iter().any(|pattern| fits(pattern, model))
}

/// A name as the schema has it: what the agent calls a model stands in status afterwards. A gateway may take it for a
/// path, in which `..` leads to another model.
fn is_name(model: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@[]-".contains(&b);
    let is_segment = |part: &str| !part.is_empty() && !part.bytes().all(|b| b == b'.');
    model.len() <= 128
        && model.starts_with(|c: char| c.is_ascii_alphanumeric())
        && model.bytes().all(plain)
        && model.split('/').all(is_segment)
}

/// A star stands for the rest of a name, and for no slash: what comes before the last slash says whose model it is. Alone
/// it stands for every name.
fn fits(pattern: &str, model: &str) -> bool {
    match pattern.strip_suffix('*') {
        None => pattern == model,
        Some("") => true,
        Some(prefix) => model.strip_prefix(prefix).is_some_and(|rest| !rest.contains('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_lets_no_odd_name_pass() {
        let order: ModelOrder = serde_json::from_value(serde_json::json!({
            "provider": "anthropic", "apis": ["messages"], "endpoint": "https://x", "allowedModels": ["claude-*", "*"], "prices": {},
        }))
        .unwrap();
        for model in ["claude-opus-4", "gpt-5", "us.anthropic/claude[1m]@2:0"] {
            assert!(order.allows(model), "{model}");
        }
        for model in [
            "",
            "claude-\u{1b}[2J",
            "claude-a b",
            "claude-\u{202e}",
            "-x",
            "claude-haiku-4-5/../claude-opus-4",
            "claude-/./x",
            "claude-//x",
            "claude-x/",
            "claude-x/...",
            &"a".repeat(129),
        ] {
            assert!(!order.allows(model), "{model:?}");
        }
    }

    #[test]
    fn a_prefix_stands_for_no_other_owners_models() {
        let allowed = |patterns: &[&str], model: &str| {
            let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            is_allowed(&patterns, model)
        };
        assert!(allowed(&["openai/*"], "openai/gpt-5"));
        assert!(!allowed(&["openai/*"], "openai/x/gpt-5"));
        assert!(!allowed(&["claude-haiku-*"], "claude-haiku-4/claude-opus-4"));
        assert!(!allowed(&["claude-x"], "claude-x-pro"));
        assert!(allowed(&["*"], "a/b/c"));
    }

    #[test]
    fn the_longest_pattern_that_fits_gives_the_price() {
        let price = |input| Price {
            input,
            ..Price::default()
        };
        let prices = BTreeMap::from([
            ("claude-*".to_owned(), price(1.0)),
            ("claude-opus-*".to_owned(), price(2.0)),
        ]);
        assert_eq!(price_of(&prices, "claude-opus-4"), Some(price(2.0)));
        assert_eq!(price_of(&prices, "claude-haiku"), Some(price(1.0)));
        assert_eq!(price_of(&prices, "gpt"), None);
    }
}
