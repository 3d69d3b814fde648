//! Why something cannot be done.

use gastown_api::reason::Reason;

/// Why something cannot be done, as a condition says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of the closed list.
    pub reason: Reason,
    /// Which field or value, in words.
    pub message: String,
}

impl Refusal {
    /// A refusal with its words.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
