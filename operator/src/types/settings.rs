//! What the administrator decided.

use std::path::PathBuf;

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
}
