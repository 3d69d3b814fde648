//! Not yet.

#[cfg(test)]
pub(crate) mod fixture;
pub mod model;
pub mod record;

use std::error::Error;
use std::process::ExitCode;

/// Runs the role.
pub fn main() -> Result<ExitCode, Box<dyn Error>> {
    Ok(ExitCode::FAILURE)
}
