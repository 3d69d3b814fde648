//! Who stands in commits as author or committer.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A name and a mail address, as they stand in commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// The name. It has a letter or digit, and no angle bracket, which git would drop.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[^<>\x00-\x1f\x7f]*[\p{L}\p{N}][^<>\x00-\x1f\x7f]*$")
    )]
    pub name: String,
    /// The mail address, such as `bot@example.com`.
    #[schemars(
        length(min = 3, max = 254),
        regex(pattern = r"^[A-Za-z0-9.!#$%&'*+/=?^_{|}~\[\]-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")
    )]
    pub email: String,
}
