//! References to objects in the same namespace.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A Secret of the polecat's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// A key of a Secret of the polecat's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The key within the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[x_kube(validation = Rule::new("self != '.' && !self.startsWith('..')")
        .message(Message::Expression("'key \"' + self + '\" must not be \".\" or begin with \"..\": no Secret has such a key'".into())))]
    pub key: String,
}

/// A ConfigMap of the polecat's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapReference {
    /// The name of the ConfigMap.
    #[serde(default)]
    #[schemars(length(max = 253), regex(pattern = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"))]
    pub name: String,
}
