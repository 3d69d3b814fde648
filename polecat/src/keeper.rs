//! Not yet.

use std::error::Error;
use std::process::ExitCode;

/// What the keeper is to do.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the role.
pub fn main(_args: Args) -> Result<ExitCode, Box<dyn Error>> {
    Ok(ExitCode::FAILURE)
}
