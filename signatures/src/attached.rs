//! One thing that is attached to an image, and whether it holds.

use gastown_crypto::{Digest, PublicKey};

use crate::envelope::Envelope;
use crate::flaw::Flaw;
use crate::statement::{SIGNATURE, Statement};
use crate::{bundle, simple};

/// What stands beside an image in its registry; nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// A layer of the tag `.sig`.
    Simple {
        /// The layer's content.
        payload: Vec<u8>,
        /// Its signature, in base64.
        signature: String,
    },
    /// A layer of the tag `.att`: a DSSE envelope.
    Envelope(Vec<u8>),
    /// A Sigstore bundle.
    Bundle(Vec<u8>),
}

/// What holds, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    /// What was signed.
    pub what: Verified,
    /// The [`PublicKey::id`] of the key that verified it.
    pub key: Digest,
}

/// What was signed.
#[derive(Clone, Debug, PartialEq)]
pub enum Verified {
    /// The image.
    Signature,
    /// A statement about it.
    Statement(Statement),
}

/// What `attached` says of the image `digest`, if one of `keys` signed it.
pub fn verify(attached: &Attached, keys: &[PublicKey], digest: &Digest) -> Result<Signed, Flaw> {
    match attached {
        Attached::Simple { payload, signature } => {
            let key = simple::verify(payload, signature, keys, digest)?;
            Ok(Signed {
                what: Verified::Signature,
                key,
            })
        }
        Attached::Envelope(bytes) => statement(&Envelope::read(bytes)?, keys, digest),
        Attached::Bundle(bytes) => statement(&bundle::read(bytes)?, keys, digest),
    }
}

fn statement(envelope: &Envelope, keys: &[PublicKey], digest: &Digest) -> Result<Signed, Flaw> {
    let key = envelope.verify(keys)?;
    let statement = Statement::read(&envelope.payload)?;
    if !statement.is_about(digest) {
        return Err(Flaw::OtherImage(statement.shown_subjects()));
    }
    let what = if statement.predicate_type == SIGNATURE {
        Verified::Signature
    } else {
        Verified::Statement(statement)
    };
    Ok(Signed { what, key })
}
