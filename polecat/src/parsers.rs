//! What agents and networks can make this program read, as functions for `tests/fuzz`.

pub use crate::broker::git::parsers::{Names, Pushed, Tips, push, remote_failure};
pub use crate::broker::model::parsers::{Passed, Told, answer, request, usage};
pub use crate::broker::settings::parsers::settings_archive;
pub use crate::run::parsers::transcript;
