//! The flag `--dry-run`, as kubectl has it.

use clap::{Args, ValueEnum};

use crate::cluster::DryRun;

/// The flag.
#[derive(Clone, Copy, Debug, Args)]
pub struct DryRunArgs {
    /// Change nothing: client prints what would be sent, server lets the cluster check it.
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    dry_run: Option<Where>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Where {
    /// Nothing is sent.
    Client,
    /// The API server checks it.
    Server,
    /// It is carried out.
    None,
}

impl DryRunArgs {
    /// Whether nothing is to be sent.
    pub fn is_client(self) -> bool {
        self.dry_run == Some(Where::Client)
    }

    /// Whether anything is left as it is.
    pub fn is_on(self) -> bool {
        matches!(self.dry_run, Some(Where::Client | Where::Server))
    }

    /// What the API server is told.
    pub fn mode(self) -> DryRun {
        match self.dry_run {
            Some(Where::Server | Where::Client) => DryRun::Server,
            Some(Where::None) | None => DryRun::No,
        }
    }
}
