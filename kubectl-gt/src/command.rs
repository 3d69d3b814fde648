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
use gastown_registry::Ask;

pub use self::sling::{GIT_SECRET, MODEL_SECRET};

use crate::error::Error;
use crate::exit::Exit;
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

/// Why a command itself stops.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Two things that were named do not fit.
    #[error("polecat {name:?} belongs to rig {found:?}, not to {asked:?}; its address is {found}/{name}")]
    WrongRig {
        /// Its name.
        name: String,
        /// Its rig.
        found: String,
        /// The rig that was named.
        asked: String,
    },
    /// An argument is no address.
    #[error("{text:?} is no polecat: write RIG/NAME or NAME; `kubectl gt polecat list` shows what exists")]
    NoAddress {
        /// What was written.
        text: String,
    },
    /// The arguments contradict each other or lack something.
    #[error("{0}")]
    Usage(String),
    /// What is asked for makes no sense for this object.
    #[error("{0}")]
    Refused(String),
    /// A file cannot be read.
    #[error("failed to read {path:?}: {source}; check the path")]
    ReadFile {
        /// Its path.
        path: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// Something that was given is invalid.
    #[error("{0}")]
    Invalid(String),
    /// A registry did not answer.
    #[error("{0}; {remedy}", remedy = remedy_of(.0))]
    AskRegistry(gastown_registry::Ask),
    /// Checks found something.
    #[error("{0}")]
    Findings(String),
    /// Another program cannot be run.
    #[error("failed to run {program:?}: {source}; install it, or put it on the PATH")]
    RunProgram {
        /// Its name.
        program: &'static str,
        /// What went wrong.
        source: std::io::Error,
    },
}

impl CommandError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::WrongRig { .. } => Exit::NotFound,
            Self::NoAddress { .. } | Self::Usage(_) => Exit::Usage,
            Self::Refused(_) => Exit::Conflict,
            Self::Invalid(_) => Exit::Invalid,
            Self::ReadFile { .. } | Self::RunProgram { .. } => Exit::Failure,
            Self::Findings(_) => Exit::Findings,
            Self::AskRegistry(ask) => match ask {
                Ask::NoImage { .. } => Exit::NotFound,
                Ask::Refused { .. } | Ask::NotListed { .. } => Exit::Forbidden,
                Ask::Unreachable { .. } => Exit::Unreachable,
                Ask::Damaged { .. } | Ask::TooLarge { .. } => Exit::Invalid,
            },
        }
    }
}

fn remedy_of(ask: &Ask) -> &'static str {
    match ask {
        Ask::NoImage { .. } => "check its name and tag",
        Ask::Refused { .. } | Ask::NotListed { .. } => "log in with `docker login`, and repeat",
        Ask::Unreachable { .. } => {
            "check its name and the network; --registry-ca trusts the certificates of its issuer"
        }
        Ask::Damaged { .. } | Ask::TooLarge { .. } => "do not run the image, and tell who runs the registry",
    }
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
