//! What the administrator decided.

use crate::config::Config;

/// What the administrator decided: flags and configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The image of every container but `claude`, and of `claude` where the polecat names none.
    pub agent_image: String,
    /// The configuration.
    pub config: Config,
}
