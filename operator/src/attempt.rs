//! The attempt machine: one pod at a time for whatever owner, from the claim to the release.
//!
//! An owner is an object of any kind that has something run in a pod of ours. Its kind says what only it knows, by
//! [`Owner`]; [`decide`] says what the attempt that is under way needs next, a pure function of what was observed and the
//! time; [`PodWriter`] makes the calls. What is written to the owner's own status, and when an attempt starts, is the
//! kind's to say.
//!
//! The order that keeps two operators from running one attempt twice: one write with a precondition on the owner's
//! resource version claims the number, and only the reconcile that made it creates the pod ([`Observed::claimed`]).

mod act;
mod container_state;
mod decide;
mod evidence;
pub mod failure;
mod marks;
mod observe;
mod observed;
mod owner;
mod readiness;
mod reports;
pub mod retry;
mod stop;
mod triggers;
mod write;

pub use self::act::PodAct;
pub use self::container_state::{trouble, unschedulable};
pub use self::decide::{Decision, End, decide, name_taken};
pub use self::evidence::{Evidence, evidence_in_log, evidence_of, parse};
pub use self::marks::{missing, restore_pod};
pub use self::observe::observe;
#[cfg(test)]
pub use self::observed::BrokerReport;
pub use self::observed::{Observed, PodLookup};
pub use self::owner::{Open, Owner, Wanted};
pub use self::readiness::listen;
pub use self::reports::ReportCache;
pub use self::stop::{clear, delete_or_wait};
pub use self::triggers::trigger_owners;
pub use self::write::PodWriter;

/// The number of the first attempt.
pub const FIRST: i32 = 1;

#[cfg(test)]
mod tests;
