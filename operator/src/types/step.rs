//! What a plan answers.

use jiff::Timestamp;

/// The next step of an object: what the driver carries out, or how long it waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<A> {
    /// Nothing, until something changes or the time has come.
    Wait(Option<Timestamp>),
    /// This, and then ask again.
    Act(A),
}
