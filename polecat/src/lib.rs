//! What runs inside a polecat pod, one module for each container.

pub mod broker;
pub mod clone;
mod console;
pub mod git;
pub mod keeper;
mod limits;
mod loopback;
pub mod order;
#[doc(hidden)]
pub mod parsers;
mod report;
pub mod run;
mod runtime;
#[cfg(test)]
mod testing;
