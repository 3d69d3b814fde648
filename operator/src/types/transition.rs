//! A change that an event tells of.

use gastown_api::reason::Reason;

/// A change of an object that an event tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whether someone should look.
    pub warning: bool,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub note: String,
}
