//! Every chore of the project: `cargo xtask --help` lists them.

mod cli;
mod task;

use std::process::ExitCode;

use clap::Parser as _;
use xtask_image::{jobs, machine, process, progress, tools, workspace};

fn main() -> ExitCode {
    match cli::Xtask::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
