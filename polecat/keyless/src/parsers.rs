//! What agents can make this program read, as functions for `tests/fuzz`.

pub use crate::run::parsers::transcript;
