//! The operator inside another program: tests put themselves between it and the API server.

use std::iter::once;

use clap::Parser as _;
use futures::FutureExt as _;
use kube::Client;

use crate::args::Args;
use crate::run::run_until;

/// Runs with the arguments of the command line and that client, until `end`, as if it were told to stop then.
pub async fn run(arguments: &[String], client: Client, end: impl Future<Output = ()>) -> Result<(), String> {
    let words = once("gastown-operator").chain(arguments.iter().map(String::as_str));
    let args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
    let outcome = run_until(&args, client, end.map(Ok)).await;
    outcome.map_err(|error| error.to_string())
}
