//! The author or committer of commits.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A name and an email address, as commits record them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// The name. It must have a letter or digit, and no angle brackets, because git would drop them.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[^<>\x00-\x1f\x7f]*[\p{L}\p{N}][^<>\x00-\x1f\x7f]*$")
    )]
    pub name: String,
    /// The email address, such as `bot@example.com`.
    #[schemars(
        length(min = 3, max = 254),
        regex(pattern = r"^[A-Za-z0-9.!#$%&'*+/=?^_{|}~\[\]-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")
    )]
    pub email: String,
}
