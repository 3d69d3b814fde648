//! Whatever can end a command, and the exit code of each.

mod command;

use crate::cluster::Call;
use crate::connect::Connect;
use crate::exit::Exit;
use crate::output::Output;
use crate::wait::Wait;

pub use self::command::CommandError;

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
    /// Several objects failed, each for its own reason.
    #[error("{}", .0.iter().map(Self::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Self>),
}

impl Error {
    /// What failed of several objects; nothing: all went well.
    pub fn of_all(mut failures: Vec<Self>) -> Result<(), Self> {
        match failures.pop() {
            None => Ok(()),
            Some(only) if failures.is_empty() => Err(only),
            Some(last) => {
                failures.push(last);
                Err(Self::Several(failures))
            }
        }
    }

    /// The exit code; of several failures the one that they share.
    pub fn exit(&self) -> Exit {
        match self {
            Self::InstallProvider(_) | Self::StartRuntime(_) => Exit::Failure,
            Self::Connect(error) => error.exit(),
            Self::Call(error) => error.exit(),
            Self::Wait(error) => error.exit(),
            Self::Output(error) => error.exit(),
            Self::Command(error) => error.exit(),
            Self::Several(failures) => {
                let mut exits = failures.iter().map(Self::exit);
                let first = exits.next().unwrap_or(Exit::Failure);
                if exits.all(|exit| exit == first) {
                    first
                } else {
                    Exit::Failure
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_failures_share_an_exit_code_or_have_that_of_any_failure() {
        let invalid = || Error::Command(CommandError::Invalid("a".to_owned()));
        let refused = || Error::Command(CommandError::Refused("b".to_owned()));
        assert!(Error::of_all(Vec::new()).is_ok());
        let exit = |failures| Error::of_all(failures).unwrap_err().exit();
        assert_eq!(exit(vec![invalid()]), Exit::Invalid);
        assert_eq!(exit(vec![invalid(), invalid()]), Exit::Invalid);
        assert_eq!(exit(vec![invalid(), refused()]), Exit::Failure);
    }
}
