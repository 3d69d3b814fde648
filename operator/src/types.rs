//! Types that stand below the kinds: caches, writes, metrics and the driver speak in these, so that none of them names a
//! kind.

mod ended_attempt;
mod ignored_fields;
mod key;
mod refusal;
mod settings;
mod step;
mod time;
mod transition;

pub use self::ended_attempt::EndedAttempt;
pub use self::ignored_fields::{fields_that_are_set, ignored_fields};
pub use self::key::Key;
pub use self::refusal::Refusal;
pub use self::settings::{OperatorIdentity, Settings};
pub use self::step::Step;
pub use self::time::{earlier, later, time_until, whole_seconds};
pub use self::transition::Transition;
