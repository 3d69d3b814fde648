//! The operator: runs Polecats as pods, and says of each what became of it.

mod args;
mod attempt;
mod cache;
mod cluster;
mod config;
mod controller;
mod driver;
#[doc(hidden)]
pub mod embedded;
mod images;
mod leader;
mod metrics;
#[doc(hidden)]
pub mod parsers;
mod pod_view;
#[doc(hidden)]
pub mod rendering;
mod restricted_pod;
mod run;
mod server;
mod slots;
mod telemetry;
#[cfg(test)]
mod testing;
mod types;

use std::process::ExitCode;

use clap::Parser as _;
use gastown_api::text::chain;

/// The program.
pub async fn start() -> ExitCode {
    if let Err(error) = gastown_crypto::install() {
        return fail(&error);
    }
    let args = args::Args::parse();
    if let Err(error) = telemetry::start() {
        return fail(&error);
    }
    match run::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(&error), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Logs have not started yet.
#[expect(clippy::print_stderr, reason = "logs have not started yet")]
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("gastown-operator: {error}");
    ExitCode::FAILURE
}
