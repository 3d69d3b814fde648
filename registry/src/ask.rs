//! Why a registry gave no answer.

/// Why a registry gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ask {
    /// It is none of those that may be asked.
    #[error("registry {registry:?} is not among those that may be asked for signatures")]
    NotListed {
        /// Its host.
        registry: String,
    },
    /// It has no such image.
    #[error("the registry has no image {image:?}")]
    NoImage {
        /// The image.
        image: String,
    },
    /// It wants another credential, or one at all.
    #[error("registry {host:?} answers {status} to {how}")]
    Refused {
        /// Its host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// `the credential for it`, or that there is none.
        how: &'static str,
    },
    /// It is away, or fails.
    #[error("registry {host:?} cannot be asked: {why}")]
    Unreachable {
        /// Its host.
        host: String,
        /// What happened.
        why: String,
    },
    /// What it gave is not what was asked for.
    #[error("registry {host:?} gave a wrong answer: {what}")]
    Damaged {
        /// Its host.
        host: String,
        /// What is wrong.
        what: String,
    },
    /// It gave too much.
    #[error("registry {host:?} gave more than {limit} bytes for {what:?}")]
    TooLarge {
        /// Its host.
        host: String,
        /// What was asked for.
        what: String,
        /// The most that is read.
        limit: usize,
    },
}
