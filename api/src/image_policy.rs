//! Which images of agents may run.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Requirements for an image that a polecat names, checked before its pod is created. Without keys and rules, any image
/// may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::attestations_need_keys())]
pub struct ImagePolicy {
    /// Public keys in PEM, as in `cosign.pub`: ECDSA on P-256, or RSA. If set, one of them must have signed the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 2048)))]
    #[x_kube(validation = rules::public_keys())]
    pub keys: Vec<String>,
    /// Whether an image must be named by digest (`NAME@sha256:…`); if not, the operator pins the digest of a tag.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_digest: bool,
    /// Types of in-toto predicates, such as `https://slsa.dev/provenance/v1`. For each type, an image needs an attestation
    /// that is signed with one of the keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    #[x_kube(validation = rules::predicate_types())]
    pub require_attestations: Vec<String>,
}

impl ImagePolicy {
    /// Whether it has no requirements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
