//! The parts that the broker and the containers without keys share. They name neither.

pub mod console;
pub mod control;
pub mod disk;
pub mod git;
pub mod limits;
pub mod loopback;
pub mod order;
pub mod runtime;
pub mod stat_walk;
