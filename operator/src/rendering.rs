//! The pod of a polecat, as the admission tests put it to a real API server.

use std::sync::Arc;

use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use k8s_openapi::api::core::v1::Pod;

use crate::config::Config;
use crate::controller::polecat::build;
use crate::controller::polecat::validate::validate;
use crate::types::Settings;

/// The pod of attempt 1 under the default configuration, or why there is none.
pub fn pod(polecat: &Polecat, rig: Option<&Rig>, agent_image: &str) -> Result<Pod, String> {
    let config = Config::parse("").map_err(|error| error.to_string())?;
    let settings = Settings {
        agent_image: agent_image.to_owned(),
        registry_secret: None,
        image_bundles: None,
        config,
        operator: Arc::default(),
    };
    let work = validate(polecat, rig, &settings).map_err(|refusal| refusal.message)?;
    build::pod::pod(polecat, &work, 1, &settings).map_err(|error| error.to_string())
}
