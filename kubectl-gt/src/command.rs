//! The commands, one file each; a noun is a folder.

mod auth;
mod completion;
mod costs;
mod doctor;
mod dry_run;
mod explain;
mod listing;
mod polecat;
mod rig;
mod sling;
mod status;
mod uninstall;
mod validate;
mod verify;
mod version;

use clap::Subcommand;

pub use self::sling::{GIT_SECRET, MODEL_SECRET};

use crate::error::Error;
use crate::session::Session;

/// A command of the plugin.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manage rigs: project workspaces, one repository with many polecats.
    #[command(subcommand, visible_alias = "rigs")]
    Rig(rig::Command),
    /// Manage polecats: workers with one issue, one branch, and one pod at a time.
    #[command(subcommand, visible_alias = "polecats")]
    Polecat(polecat::Command),
    /// Dispatch work to a new polecat.
    Sling(sling::Args),
    /// Show what a polecat's agent says and does; same as `polecat logs`.
    #[command(visible_alias = "peek")]
    Logs(polecat::Logs),
    /// Terminate polecats and save their changes; same as `polecat nuke`.
    Nuke(polecat::Nuke),
    /// Manage credentials for agents and for git.
    #[command(subcommand)]
    Auth(auth::Command),
    /// Show all rigs and polecats on one screen.
    Status(status::Args),
    /// Show what polecats used and what it cost.
    Costs(costs::Args),
    /// Check the cluster, versions, permissions and credentials.
    Doctor(doctor::Args),
    /// Check whether the operator can be uninstalled, and remove what prevents it.
    Uninstall(uninstall::Args),
    /// Explain what a reason means and what to do about it.
    Explain(explain::Args),
    /// Validate manifests by the API server's rules, without a cluster.
    Validate(validate::Args),
    /// Check who signed an image, who built it from which commit, and what it contains.
    Verify(verify::Args),
    /// Print the versions of the plugin and the cluster.
    Version(version::Args),
    /// Print the completion script for a shell.
    Completion(completion::Args),
}

impl Command {
    /// Carries it out.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Rig(command) => command.run(session).await,
            Self::Polecat(command) => command.run(session).await,
            Self::Sling(args) => args.run(session).await,
            Self::Logs(args) => args.run(session).await,
            Self::Nuke(args) => args.run(session).await,
            Self::Auth(command) => command.run(session).await,
            Self::Status(args) => args.run(session).await,
            Self::Costs(args) => args.run(session).await,
            Self::Doctor(args) => args.run(session).await,
            Self::Uninstall(args) => args.run(session).await,
            Self::Explain(args) => args.run(session),
            Self::Validate(args) => args.run(session).await,
            Self::Verify(args) => args.run(session).await,
            Self::Version(args) => args.run(session).await,
            Self::Completion(args) => args.run(session),
        }
    }
}
