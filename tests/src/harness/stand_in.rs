//! The stand-in agent: a polecat whose task is a script, which runs as the agent does and asks no model.

use serde_json::{Value, json};

use super::polecat;

/// A polecat as [`polecat`] makes it, whose agent runs `script` with bash in the clone. The script's exit code is the
/// agent's.
#[must_use]
pub fn stand_in(name: &str, script: &str) -> Value {
    let image = std::env::var("GASTOWN_STAND_IN_IMAGE").unwrap_or_else(|_| {
        panic!(
            "GASTOWN_STAND_IN_IMAGE is not set: run `cargo xtask test e2e`, which builds and loads the image"
        )
    });
    let mut object = polecat(name, "");
    object["spec"]["kubernetes"]["image"] = json!(image);
    object["spec"]["task"]["description"] =
        json!(format!("Run this script.\n<<<script\n{script}\nscript>>>\n"));
    object
}
