//! `polecat broker | keeper | clone | run`: the one program inside a polecat pod.

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

/// With the edition and its module, which has passed its self-test when this is printed.
static VERSION: LazyLock<String> = LazyLock::new(|| gastown_crypto::version(env!("CARGO_PKG_VERSION")));

/// The one program inside a polecat pod.
#[derive(Debug, Parser)]
#[command(version = VERSION.as_str())]
struct Polecat {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Holds the keys: loopback git host and model proxy, ledger and evidence.
    Broker,
    /// Saves the work tree to a WIP ref.
    Keeper(polecat_keyless::keeper::Args),
    /// Prepares the workspace.
    Clone,
    /// Supervises the agent and delivers its work.
    Run,
}

fn main() -> ExitCode {
    if let Err(error) = gastown_crypto::install() {
        return complain(&error);
    }
    let role = Polecat::parse().role;
    let outcome = match role {
        Role::Broker => gastown_broker::main(),
        Role::Keeper(args) => polecat_keyless::keeper::main(args),
        Role::Clone => polecat_keyless::clone::main(),
        Role::Run => polecat_keyless::run::main(),
    };
    outcome.unwrap_or_else(|error| complain(error.as_ref()))
}

#[expect(clippy::print_stderr, reason = "standard error is the container's log")]
fn complain(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("error: {}", gastown_api::text::chain(error));
    ExitCode::FAILURE
}
