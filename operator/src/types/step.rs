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

impl<A> Step<A> {
    /// The step with its act as a part of another.
    pub fn map<B>(self, part: impl FnOnce(A) -> B) -> Step<B> {
        match self {
            Self::Wait(wake) => Step::Wait(wake),
            Self::Act(act) => Step::Act(part(act)),
        }
    }
}
