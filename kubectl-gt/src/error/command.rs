//! Why a command itself stops.

use gastown_registry::Ask;

use crate::exit::Exit;

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
    AskRegistry(Ask),
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
