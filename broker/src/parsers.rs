//! What agents and networks can make the broker read, as functions for `tests/fuzz`.

pub use crate::git::parsers::{Names, Pushed, Tips, push, remote_failure};
pub use crate::model::parsers::{Passed, ReportedUsage, answer, request, usage};
pub use crate::settings::parsers::settings_archive;
