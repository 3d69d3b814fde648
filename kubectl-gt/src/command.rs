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

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Project workspaces: one repository, many polecats.
    #[command(subcommand, visible_alias = "rigs")]
    Rig(rig::Command),
    /// Workers: one issue, one branch, one pod at a time.
    #[command(subcommand, visible_alias = "polecats")]
    Polecat(polecat::Command),
    /// Dispatch work to a new polecat.
    Sling(sling::Args),
    /// Show what the agent of a polecat says and does: `polecat logs`.
    #[command(visible_alias = "peek")]
    Logs(polecat::Logs),
    /// Terminate polecats: `polecat nuke`; what they changed is saved first.
    Nuke(polecat::Nuke),
    /// Credentials of agents and of git.
    #[command(subcommand)]
    Auth(auth::Command),
    /// The whole town on one screen.
    Status(status::Args),
    /// What polecats used and what that costs.
    Costs(costs::Args),
    /// Check cluster, versions, permissions and credentials.
    Doctor(doctor::Args),
    /// Check that the operator can be uninstalled, and say how; end or let go of what is in the way.
    Uninstall(uninstall::Args),
    /// What a reason means and what to do about it.
    Explain(explain::Args),
    /// Check manifests without a cluster, by the rules of the API server.
    Validate(validate::Args),
    /// Check who signed an image, who built it from which commit, and of what it is made.
    Verify(verify::Args),
    /// The versions of plugin and cluster.
    Version(version::Args),
    /// Print the completion script of a shell.
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
