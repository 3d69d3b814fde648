//! Why something that is attached to an image does not count.

/// Why something that is attached does not count. Later variants tell more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Flaw {
    /// It cannot be read.
    #[error("it is damaged: {0}")]
    Read(&'static str),
    /// It is of a certificate.
    #[error(
        "it is keyless, by a certificate, which is not supported here: sign with a key too, or have Kyverno admit the pods"
    )]
    Keyless,
    /// Another key made it, or somebody changed it.
    #[error("it is of none of the keys, or was changed since it was signed")]
    OtherKey,
    /// It holds, and is of something else.
    #[error("it holds for another image, {0}")]
    OtherImage(String),
}
