//! The administrator's image policy: that of the API, but unknown keys are refused here.

use gastown_api::image_policy::ImagePolicy;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(remote = "ImagePolicy", rename_all = "camelCase", deny_unknown_fields)]
struct Strict {
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    require_digest: bool,
    #[serde(default)]
    require_attestations: Vec<String>,
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ImagePolicy, D::Error> {
    Strict::deserialize(deserializer)
}
