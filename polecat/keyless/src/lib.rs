//! The containers of a polecat pod that hold no key, one module for each: `git-init`, the keeper, and the one that runs
//! the agent.

mod await_broker;
pub mod clone;
pub mod keeper;
#[doc(hidden)]
pub mod parsers;
mod report;
pub mod run;
mod snapshot;
#[cfg(test)]
mod testing;
mod workspace;
