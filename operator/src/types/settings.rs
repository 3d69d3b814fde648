//! What the administrator decided.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;

/// What the administrator decided: flags and configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The image of every container but `claude`, and of `claude` where the polecat names none.
    pub agent_image: String,
    /// The folder with credentials and certificates of registries.
    pub registry_secret: Option<PathBuf>,
    /// The folder with bundles of images.
    pub image_bundles: Option<PathBuf>,
    /// The configuration.
    pub config: Config,
    /// This operator, which may not be the only one of the cluster.
    pub operator: Arc<OperatorIdentity>,
}

/// How an operator is told from the others of a cluster. Its replicas have one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorIdentity {
    /// NAMESPACE/LEASE of its leader election.
    pub name: String,
    /// The namespaces whose polecats it runs; all when empty.
    pub namespaces: Vec<String>,
}
