//! One function for each target, shared with the test that replays the kept corpus.

#[path = "targets.rs"]
pub mod targets;
