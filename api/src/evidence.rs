//! The evidence of a polecat pod about its attempt. Only the broker's evidence grants Done; the agent's container can
//! only withhold it.

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::budget::{Amount, Share};
use crate::git::Sha;
use crate::reason::Reason;
use crate::usage::Usage;

/// The most bytes of an [`Evidence`] as JSON: the kubelet cuts a termination message at 12,288 bytes divided by the
/// number of the pod's containers, ephemeral ones counted.
pub const MAX_BYTES: usize = 2048;

/// The broker's evidence: its termination message, and one line of standard output at each change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The number of the attempt.
    pub attempt: u32,
    /// The state of the broker.
    #[serde(deserialize_with = "known_or_serving")]
    pub state: BrokerState,
    /// The tip that the first attempt found: of the work branch if it existed, else of the base branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Sha>,
    /// The tip of the work branch when last re-read from the remote; `None` if the branch does not exist there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Sha>,
    /// The tip of the work branch as this attempt found it, then as its last push left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Sha>,
    /// Whether `head`, when last read, no longer contains `pushed`: someone else deleted the branch or moved it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// The result of the final reading, which Done requires; `None` from an older broker, which did not read at the
    /// end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_read: Option<FinalRead>,
    /// The last snapshot that reached the remote and was re-read there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wip: Option<WipRef>,
    /// Whether someone else deleted or moved the last snapshot, and it could not be pushed again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wip_dropped: bool,
    /// The snapshot of an earlier attempt that this one started from, as the work order names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Sha>,
    /// The last push that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedPush>,
    /// How many pushes were refused.
    #[serde(default)]
    pub refused_count: u32,
    /// Tokens of this attempt.
    pub usage: Usage,
    /// Cost of this attempt in millionths of a US dollar; `None` if a model without a price was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// The model that answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether the work order has a budget and an agent that cannot work without a model: an end without a metered call
    /// then means that it called another endpoint than the broker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub calls_expected: bool,
    /// The part of the budget that the operator must set aside before the broker continues; readiness is False meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Share>,
    /// Why the last checkpoint failed, cut to 300 bytes; `None` if it was saved. Readiness is False meanwhile. The text is
    /// the keeper's, and the agent can forge it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints_failing: Option<String>,
    /// Further possible spending: by calls that were under way when an earlier broker of this pod was killed.
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub unaccounted: Amount,
    /// Whether the broker ended normally, with every call settled; `None` from an older broker, which does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<bool>,
    /// Seconds this attempt was parked.
    #[serde(default)]
    pub parked_seconds: u64,
}

/// The state of the broker. Its readiness is True in `Starting` and `Serving`, and False otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "name")]
pub enum BrokerState {
    /// Reading the repository.
    Starting,
    /// Serving git and the model.
    Serving,
    /// Parked: alive, while calls are held.
    #[serde(rename_all = "camelCase")]
    Parked {
        /// The reason.
        reason: Reason,
        /// Details, with the name of the missing object.
        message: String,
        /// When it is expected to continue, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Serving only pushes of snapshots; the operator ends the pod.
    #[serde(rename_all = "camelCase")]
    Stopped {
        /// Why.
        reason: Reason,
        /// In words.
        message: String,
    },
}

/// A state that only a newer broker knows counts as serving: the rest of its evidence must still be read.
fn known_or_serving<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BrokerState, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Known(BrokerState),
        Newer(IgnoredAny),
    }
    Ok(match Said::deserialize(deserializer)? {
        Said::Known(state) => state,
        Said::Newer(_) => BrokerState::Serving,
    })
}

/// The reading of the remote once the agent had ended: a branch may have moved since the push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "name")]
pub enum FinalRead {
    /// Not read yet.
    Pending,
    /// [`Evidence::head`] is the remote's answer.
    Read {
        /// When.
        at: Timestamp,
    },
    /// The remote did not answer; [`Evidence::head`] is its previous answer.
    #[serde(rename_all = "camelCase")]
    Failed {
        /// Why.
        reason: Reason,
        /// In words.
        message: String,
    },
    /// A value from a newer broker: it does not grant Done, but the next attempt reads the remote first.
    #[serde(other)]
    Unknown,
}

/// A snapshot of the work tree on the remote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipRef {
    /// The full name of the ref.
    pub name: String,
    /// The commit it points at.
    pub sha: Sha,
    /// When it reached the remote.
    pub at: Timestamp,
}

/// A push that the policy or the remote refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedPush {
    /// The ref of the push, cut to 200 bytes.
    pub ref_name: String,
    /// The rule, or the remote's message, cut to 300 bytes.
    pub why: String,
    /// The cause if it was not a rule: a credential or the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// The termination message of `git-init` when it fails: no agent has run yet, so it can be believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitReport {
    /// Why the workspace could not be prepared.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// The termination message of `claude`: hints only, since the agent runs as the same user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunReport {
    /// The agent's exit code, or 128 plus the signal.
    pub agent_exit: i32,
    /// The agent's error message, if it reported an error and still exited with 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The local head of the work branch at the end.
    pub local_head: Option<Sha>,
    /// Whether the last push succeeded.
    pub pushed: bool,
    /// The error message, cut to 500 bytes.
    pub message: String,
    /// Text about work that is not on the work branch: refused changes, commits of other branches; cut to 400 bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_delivered: String,
}

/// The termination message of `keeper` if its last snapshot is incomplete: it can only report that work may be lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotReport {
    /// How many paths are not saved as they are in the work tree.
    pub left_out: u64,
    /// The first of them, each with its reason.
    pub named: Vec<String>,
    /// Other data that could not be saved or read.
    pub notes: Vec<String>,
}

impl SnapshotReport {
    /// The JSON of at most [`MAX_BYTES`]; the last names and notes are dropped first.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut cut = self.clone();
        loop {
            let json = serde_json::to_string(&cut).unwrap_or_default();
            let longest = if cut.named.len() >= cut.notes.len() {
                &mut cut.named
            } else {
                &mut cut.notes
            };
            if json.len() <= MAX_BYTES || longest.pop().is_none() {
                return json;
            }
        }
    }

    /// Text for a person; `None` if nothing is missing.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let mut parts = self.notes.clone();
        if self.left_out > 0 {
            let count = if self.left_out == 1 {
                "1 path is not saved".to_owned()
            } else {
                format!("{} paths are not saved", self.left_out)
            };
            let named = self.named.join(", ");
            parts.push(
                format!("{count}: {named}")
                    .trim_end_matches([':', ' '])
                    .to_owned(),
            );
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl Evidence {
    /// The evidence of a broker that has not done anything yet.
    #[must_use]
    pub fn starting(attempt: u32) -> Self {
        Self {
            attempt,
            state: BrokerState::Starting,
            base: None,
            head: None,
            pushed: None,
            dropped: false,
            final_read: Some(FinalRead::Pending),
            wip: None,
            wip_dropped: false,
            resumed: None,
            refused: None,
            refused_count: 0,
            usage: Usage::default(),
            cost_micros: Some(0),
            model: None,
            calls_expected: false,
            asks: None,
            checkpoints_failing: None,
            unaccounted: Amount::default(),
            settled: Some(false),
            parked_seconds: 0,
        }
    }

    /// Whether the agent worked without any call charged to the budget.
    #[must_use]
    pub fn is_unmetered(&self) -> bool {
        self.calls_expected && self.usage.requests == 0
    }

    /// The amount that this attempt has spent, or may have spent.
    #[must_use]
    pub fn spent(&self) -> Amount {
        Amount::of(&self.usage, self.cost_micros).plus(self.unaccounted)
    }

    /// The JSON of at most [`MAX_BYTES`]; texts for people are truncated first, then dropped.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut cut = self.clone();
        for limit in [300, 100, 0] {
            cut.shorten(limit);
            let json = serde_json::to_string(&cut).unwrap_or_default();
            if json.len() <= MAX_BYTES {
                return json;
            }
        }
        serde_json::to_string(&Self::starting(self.attempt)).unwrap_or_default()
    }

    fn shorten(&mut self, limit: usize) {
        if let BrokerState::Parked { message, .. } | BrokerState::Stopped { message, .. } = &mut self.state {
            truncate(message, limit.max(100));
        }
        if let Some(FinalRead::Failed { message, .. }) = &mut self.final_read {
            truncate(message, limit.max(100));
        }
        if let Some(refused) = &mut self.refused {
            truncate(&mut refused.why, limit);
            truncate(&mut refused.ref_name, limit.min(200));
        }
        if let Some(words) = &mut self.checkpoints_failing {
            truncate(words, limit);
        }
        if let Some(model) = &mut self.model {
            truncate(model, limit.min(128));
        }
    }
}

/// Cuts `text` to at most `limit` bytes at a character boundary.
pub fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = (0..=limit)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_always_fits_the_termination_message() {
        let mut evidence = Evidence::starting(1);
        evidence.state = BrokerState::Stopped {
            reason: Reason::PushRefused,
            message: "\u{1}é".repeat(5000),
        };
        evidence.refused = Some(RefusedPush {
            ref_name: "\"".repeat(5000),
            why: "\u{1}".repeat(5000),
            reason: Some(Reason::GitCredentialRefused),
        });
        evidence.final_read = Some(FinalRead::Failed {
            reason: Reason::GitHostUnreachable,
            message: "\u{1}".repeat(5000),
        });
        evidence.model = Some("\u{1}".repeat(5000));
        evidence.checkpoints_failing = Some("\u{1}".repeat(5000));
        let json = evidence.to_json();
        assert!(json.len() <= MAX_BYTES, "{}", json.len());
        let back: Evidence = serde_json::from_str(&json).unwrap();
        assert!(
            matches!(
                back.state,
                BrokerState::Stopped {
                    reason: Reason::PushRefused,
                    ..
                }
            ),
            "{json}"
        );
    }
}
