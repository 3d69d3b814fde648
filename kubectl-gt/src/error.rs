//! Whatever can end a command, and the exit code of each.

use crate::cluster::Call;
use crate::command::CommandError;
use crate::connect::Connect;
use crate::exit::Exit;
use crate::output::Output;
use crate::wait::Wait;

/// Why a command did not do what was asked. Each message ends with what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS provider is not the one of the edition.
    #[error(transparent)]
    InstallProvider(#[from] gastown_crypto::InstallProvider),
    /// There is no runtime for the network.
    #[error("failed to start the runtime: {0}; close other programs, and repeat")]
    StartRuntime(std::io::Error),
    /// No cluster is configured.
    #[error(transparent)]
    Connect(#[from] Connect),
    /// The cluster did not do it.
    #[error(transparent)]
    Call(#[from] Call),
    /// What was waited for did not come.
    #[error(transparent)]
    Wait(#[from] Wait),
    /// The result could not be written.
    #[error(transparent)]
    Output(#[from] Output),
    /// The command itself found a reason.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Error {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::InstallProvider(_) | Self::StartRuntime(_) => Exit::Failure,
            Self::Connect(error) => error.exit(),
            Self::Call(error) => error.exit(),
            Self::Wait(error) => error.exit(),
            Self::Output(error) => error.exit(),
            Self::Command(error) => error.exit(),
        }
    }
}
