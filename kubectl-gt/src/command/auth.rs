//! `kubectl gt auth`.

mod confirm;
mod git;
mod secret;
mod status;
mod sync;
mod variable;

use clap::Subcommand;

pub use self::confirm::Question;

use crate::error::Error;
use crate::session::Session;

/// What can be done with credentials.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload credentials, settings, skills, hooks and commands from ~/.claude, but never transcripts.
    Sync(sync::Args),
    /// Show what the secrets contain and when credentials expire, but never their values.
    Status(status::Args),
    /// Create or update the git secret from a key or token, with the hosts that it may be used for.
    Git(git::Args),
}

impl Command {
    /// Carries it out.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Sync(args) => args.run(session).await,
            Self::Status(args) => args.run(session).await,
            Self::Git(args) => args.run(session).await,
        }
    }
}
