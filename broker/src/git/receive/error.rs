//! Why a push is not taken.

use std::path::PathBuf;

use super::super::child::RunGit;
use super::super::inbound::ReadBody;
use super::super::inspect::Inspect;
use super::super::pkt;
use super::super::policy::Refusal;

/// Why a push cannot be answered by a report.
#[derive(Debug, thiserror::Error)]
pub enum Receive {
    /// The body.
    #[error(transparent)]
    ReadBody(#[from] ReadBody),
    /// The list of commands.
    #[error(transparent)]
    ParseRequest(#[from] pkt::ParseRequest),
    /// git.
    #[error(transparent)]
    RunGit(#[from] RunGit),
    /// The broker's volume.
    #[error("failed to keep the objects in {path:?}; the broker's volume must be writable and not full")]
    KeepObjects {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The list of commands ends early.
    #[error("the list of commands is cut short")]
    CutShort,
    /// A rule refused it, and there is too much of it to read on: no report would be heard.
    #[error(transparent)]
    Refuse(#[from] Refusal),
}

/// Why a push was not taken.
pub enum Inspected {
    Refuse(Refusal),
    Fail(Receive),
}

impl From<Refusal> for Inspected {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<RunGit> for Inspected {
    fn from(error: RunGit) -> Self {
        Self::Fail(error.into())
    }
}

impl From<Inspect> for Inspected {
    fn from(error: Inspect) -> Self {
        match error {
            Inspect::Refuse(refusal) => Self::Refuse(refusal),
            Inspect::Ask(error) => error.into(),
        }
    }
}
