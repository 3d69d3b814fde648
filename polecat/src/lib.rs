//! What runs inside a polecat pod, one module for each container.

pub mod broker;
pub mod clone;
pub mod git;
pub mod keeper;
pub mod order;
pub mod run;
