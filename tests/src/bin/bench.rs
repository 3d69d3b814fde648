//! Measures the operator and the model proxy, and writes a report as JSON; `cargo xtask bench` starts it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use gastown_tests::bench::{self, Amount, Setting};

/// Measures against the bars of the design.
#[derive(Debug, clap::Parser)]
struct Args {
    /// A kubeconfig with full rights on an empty API server that serves the definitions of this checkout
    #[arg(long)]
    kubeconfig: PathBuf,
    /// The log of that API server's requests
    #[arg(long)]
    audit_log: PathBuf,
    /// The id of that API server's process
    #[arg(long)]
    api_server: u32,
    /// The operator's program
    #[arg(long)]
    operator: PathBuf,
    /// Where the operator logs
    #[arg(long)]
    operator_log: PathBuf,
    /// The program bench-model-proxy
    #[arg(long)]
    model_proxy: PathBuf,
    /// The plugin's program
    #[arg(long)]
    plugin: PathBuf,
    /// Where the report is written
    #[arg(long)]
    report: PathBuf,
    /// Everything at a tenth
    #[arg(long)]
    quick: bool,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a program that people run")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let setting = Setting {
        kubeconfig: args.kubeconfig,
        audit_log: args.audit_log,
        api_server: args.api_server,
        operator: args.operator,
        operator_log: args.operator_log,
        model_proxy: args.model_proxy,
        plugin: args.plugin,
    };
    let amount = if args.quick {
        Amount::quick()
    } else {
        Amount::full()
    };
    let report = bench::run(&setting, &amount).await?;
    let json = serde_json::to_vec_pretty(&report).context("failed to write the report as JSON")?;
    std::fs::write(&args.report, json).with_context(|| format!("failed to write {:?}", args.report.display()))
}
