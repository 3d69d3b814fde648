//! The scripted model as a server: `scripted-model --listen ADDRESS --scripts FOLDER [--key-file FILE]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use gastown_tests::model::Model;

/// Speaks the Messages API and answers from scripts.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The folder with NAME.yaml files.
    #[arg(long)]
    scripts: PathBuf,
    /// A file with the API key that is accepted; without it every key is.
    #[arg(long)]
    key_file: Option<PathBuf>,
}

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

async fn run(args: Args) -> Result<()> {
    let model = Model::load(&args.scripts, args.key_file)?;
    let listener = tokio::net::TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("failed to listen on {}", args.listen))?;
    axum::serve(listener, model.router())
        .await
        .context("failed to serve")
}
