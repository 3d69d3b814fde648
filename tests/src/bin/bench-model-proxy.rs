//! The broker's model proxy alone, in a process of its own, for measurements of its latency and memory.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use gastown_api::work_order::{Role, WorkOrder};
use gastown_broker::model;
use gastown_broker::record::Record;
use serde_json::json;
use tokio::net::TcpListener;

/// Serves the model proxy, and prints where.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The base URL of the model's API
    #[arg(long)]
    endpoint: String,
    /// An empty folder for the ledger and the key
    #[arg(long)]
    folder: PathBuf,
}

/// One thread, as the broker has.
#[tokio::main(flavor = "current_thread")]
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

#[expect(clippy::print_stdout, reason = "the address is this program's result")]
async fn run(args: Args) -> Result<()> {
    gastown_crypto::install().context("failed to install the crypto provider")?;
    let order = order(&args.endpoint)?;
    std::fs::write(args.folder.join("ANTHROPIC_API_KEY"), "key").context("failed to write a key")?;
    let record = Record::open(&args.folder, args.folder.join("termination-log"), &order)
        .context("failed to open the record")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no port of the loopback is free")?;
    println!(
        "listening on {}",
        listener.local_addr().context("a listener has an address")?
    );
    let context = model::Context {
        order: order.role.model,
        record,
        paths: model::Paths {
            api_key: args.folder.join("api-key"),
            control: args.folder.join("control"),
            secret: args.folder,
        },
        proxy: None,
        system_roots: "/etc/ssl/certs/ca-certificates.crt".into(),
        listener,
    };
    model::serve(context)
        .await
        .context("failed to serve the model proxy")
}

/// With a budget, so that each call is reserved and settled.
fn order(endpoint: &str) -> Result<WorkOrder> {
    let order = json!({
        "owner": "bench", "namespace": "bench", "rig": "bench", "attempt": 1,
        "limits": {"deadlineSeconds": 3600, "parkingSeconds": 3600, "graceSeconds": 120},
        "role": {"polecat": {
        "agent": {"kind": "claude-code"},
        "git": {
            "remote": {
                "repository": "https://git.example.com/bench/project.git", "secret": "git", "trustedHosts": [], "knownHosts": "",
            },
            "baseBranch": "main", "workBranch": "polecat/bench", "deniedPaths": [], "maxPushBytes": 1,
        },
        "model": {
            "provider": "anthropic", "apis": ["messages"], "endpoint": endpoint, "allowedModels": ["claude-*"],
            "secret": "model",
            "tokensLeft": 1_000_000_000_000_u64, "microsLeft": 1_000_000_000_000_u64,
            "prices": {"claude-*": {"input": 3.0, "output": 15.0, "cacheWrite": 3.75, "cacheRead": 0.3}},
        },
        "pace": {"checkpointSeconds": 300, "checkpointTurns": 20, "silenceSeconds": 1800},
        "disk": { "workspace": 1_073_741_824, "home": 1_073_741_824, "tmp": 1_073_741_824, "keeper": 1_073_741_824, "broker": 1_073_741_824 },
        }},
    });
    let order: WorkOrder<Role> = serde_json::from_value(order).context("the work order has another form")?;
    Ok(order.map(|Role::Polecat(own)| *own))
}
