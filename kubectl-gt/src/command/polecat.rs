//! `kubectl gt polecat`.

mod attach;
mod describe;
mod list;
mod logs;
mod named;
mod nuke;
mod retry;
mod state;
mod status;
mod target;

use clap::Subcommand;

use crate::error::Error;
use crate::session::Session;

pub use self::logs::{Args as Logs, Shown, follow, summary};
pub use self::nuke::Args as Nuke;
pub use self::target::{Target, until_gone};

/// What can be done with polecats.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List all polecats, or those of a rig.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show polecat details.
    #[command(visible_alias = "show")]
    Status(status::Args),
    /// Show everything known about a polecat: attempts, conditions, events.
    Describe(describe::Args),
    /// Show what the agent says and does.
    #[command(visible_alias = "peek")]
    Logs(logs::Args),
    /// Terminate polecats and save their changes.
    Nuke(nuke::Args),
    /// Start another attempt of a Stuck or Idle polecat.
    #[command(visible_alias = "restart")]
    Retry(retry::Args),
    /// Stop polecats and save their changes; `resume` continues from there.
    Idle(state::Idle),
    /// Start Idle polecats again, from their saved changes.
    Resume(state::Resume),
    /// Open a shell in the agent's container, in the repository.
    Attach(attach::Args),
}

impl Command {
    /// Carries it out.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::List(args) => args.run(session).await,
            Self::Status(args) => args.run(session).await,
            Self::Describe(args) => args.run(session).await,
            Self::Logs(args) => args.run(session).await,
            Self::Nuke(args) => args.run(session).await,
            Self::Retry(args) => args.run(session).await,
            Self::Idle(args) => args.run(session).await,
            Self::Resume(args) => args.run(session).await,
            Self::Attach(args) => args.run(session).await,
        }
    }
}
