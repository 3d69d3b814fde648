//! Exit codes: what a script can branch on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Success,
    /// A failure without a code of its own.
    Failure,
    /// The command line is invalid.
    Usage,
    /// A named object does not exist.
    NotFound,
    /// The cluster denies this user permission.
    Forbidden,
    /// The cluster cannot be reached.
    Unreachable,
    /// The cluster does not serve the operator's kinds, or serves another version of them.
    NotInstalled,
    /// A manifest, a name or a credential is invalid.
    Invalid,
    /// The object exists, or was changed by someone else.
    Conflict,
    /// The polecat ended without delivering.
    NotDone,
    /// The timeout passed before the awaited state came.
    Timeout,
    /// A check found something that needs a person.
    Findings,
    /// Ctrl-C.
    Interrupted,
    /// The reader of the output went away.
    BrokenPipe,
}

impl Exit {
    /// Every way to end, in the order of the documentation.
    pub const ALL: &[Self] = &[
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::Forbidden,
        Self::Unreachable,
        Self::NotInstalled,
        Self::Invalid,
        Self::Conflict,
        Self::NotDone,
        Self::Timeout,
        Self::Findings,
        Self::Interrupted,
        Self::BrokenPipe,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Forbidden => 4,
            Self::Unreachable => 5,
            Self::NotInstalled => 6,
            Self::Invalid => 7,
            Self::Conflict => 8,
            Self::NotDone => 9,
            Self::Timeout => 10,
            Self::Findings => 11,
            Self::Interrupted => 130,
            Self::BrokenPipe => 141,
        }
    }

    /// What it means, in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "done as asked",
            Self::Failure => "other failure",
            Self::Usage => "the command line is invalid",
            Self::NotFound => "a named object does not exist",
            Self::Forbidden => "the cluster denies permission",
            Self::Unreachable => "the cluster cannot be reached",
            Self::NotInstalled => "the operator's CRDs are not installed, or are of another version",
            Self::Invalid => "a manifest, a name or a credential is invalid",
            Self::Conflict => "the object exists, or someone else changed it",
            Self::NotDone => "the polecat ended without delivering",
            Self::Timeout => "the timeout passed",
            Self::Findings => "a check found something that needs a person",
            Self::Interrupted => "interrupted (Ctrl-C)",
            Self::BrokenPipe => "the reader of the output went away (broken pipe)",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_a_code_of_its_own() {
        let codes: std::collections::BTreeSet<_> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes.len(), Exit::ALL.len());
    }
}
