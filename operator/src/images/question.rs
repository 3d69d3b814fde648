//! What is asked of an image, and what is answered.

use std::fmt;

use gastown_api::image::ImageReference;
use gastown_api::image_policy::ImagePolicy;
use gastown_api::reason::Reason;
use gastown_crypto::{Digest, sha256};
use gastown_signatures::Policy;
use jiff::Timestamp;

use crate::types::Refusal;

/// Whether an image may run under some policies.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    field: &'static str,
    image: ImageReference,
    policies: Vec<Policy>,
    of_policies: Digest,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may run by this name, which means one content for ever.
    Allowed {
        /// `NAME@sha256:…`
        pinned: String,
    },
    /// It may not.
    Refused(Refusal),
    /// Nobody can tell now.
    Unreachable {
        /// Why.
        refusal: Refusal,
        /// When it is asked again.
        again: Timestamp,
    },
}

impl Question {
    /// What the image in `field` has to be looked up for; nothing where no policy wants a signature. Each of the
    /// `policies`, by the name that messages give it, must allow the image.
    pub fn of(
        field: &'static str,
        image: ImageReference,
        policies: &[(&str, &ImagePolicy)],
    ) -> Result<Option<Self>, Refusal> {
        let mut read = Vec::new();
        for (name, policy) in policies {
            let policy = Policy::read(name, policy)
                .map_err(|error| Refusal::new(Reason::SpecIncomplete, format!("{name}: {error}")))?;
            read.push(policy);
        }
        let wants_digest = policies.iter().find(|(_, policy)| policy.require_digest);
        if let (Some((name, _)), None) = (wants_digest, image.digest()) {
            let message = format!(
                "{field} {:?} is not named by its digest, and {name} asks for that",
                image.to_string()
            );
            return Err(Refusal::new(Reason::ImageNotPinned, message));
        }
        read.retain(Policy::asks_for_signatures);
        Ok((!read.is_empty()).then(|| Self {
            field,
            of_policies: sha256(format!("{read:?}").as_bytes()),
            policies: read,
            image,
        }))
    }

    /// The image.
    pub(super) fn image(&self) -> &ImageReference {
        &self.image
    }

    /// The policies that want a signature.
    pub(super) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The question, without the field that is only said.
    pub(super) fn id(&self) -> (String, Digest) {
        self.id_of(&self.image.to_string())
    }

    /// The same question of an image of another name.
    pub(super) fn id_of(&self, image: &str) -> (String, Digest) {
        (image.to_owned(), self.of_policies)
    }

    /// A refusal that names the field and the image.
    pub(super) fn refuse(&self, reason: Reason, why: &str) -> Refusal {
        Refusal::new(
            reason,
            format!("{} {:?}: {why}", self.field, self.image.to_string()),
        )
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.image, f)
    }
}
