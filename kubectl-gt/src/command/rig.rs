//! `kubectl gt rig`.

mod create;
mod delete;
mod doctor;
mod list;
mod status;
mod suspend;

use clap::Subcommand;

use crate::error::Error;
use crate::session::Session;

pub use self::status::conditions;

/// What can be done with rigs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List all rigs.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show rig details.
    #[command(visible_alias = "show")]
    Status(status::Args),
    /// Create a new rig.
    #[command(visible_alias = "add")]
    Create(Box<create::Args>),
    /// Delete a rig; its polecats stay.
    #[command(visible_alias = "remove")]
    Delete(delete::Args),
    /// Suspend a rig: start none of its polecats until it is resumed.
    #[command(visible_alias = "park")]
    Suspend(suspend::Suspend),
    /// Resume a suspended rig.
    #[command(visible_alias = "unpark")]
    Resume(suspend::Resume),
    /// Check that a rig's polecats have what they need.
    Doctor(doctor::Args),
}

impl Command {
    /// Carries it out.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::List(args) => args.run(session).await,
            Self::Status(args) => args.run(session).await,
            Self::Create(args) => args.run(session).await,
            Self::Delete(args) => args.run(session).await,
            Self::Suspend(args) => args.run(session).await,
            Self::Resume(args) => args.run(session).await,
            Self::Doctor(args) => args.run(session).await,
        }
    }
}
