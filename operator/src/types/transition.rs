//! A change that an event tells of.

use gastown_api::reason::AnyReason;

/// A change of an object that an event tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whether someone should look.
    pub warning: bool,
    /// Why.
    pub reason: AnyReason,
    /// In words.
    pub note: String,
}

impl Transition {
    /// A transition that someone should look at.
    pub fn warning(reason: impl Into<AnyReason>, note: impl Into<String>) -> Self {
        Self {
            warning: true,
            reason: reason.into(),
            note: note.into(),
        }
    }

    /// A transition in the usual course.
    pub fn normal(reason: impl Into<AnyReason>, note: impl Into<String>) -> Self {
        Self {
            warning: false,
            ..Self::warning(reason, note)
        }
    }
}
