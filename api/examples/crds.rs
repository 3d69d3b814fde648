//! Writes the custom resource definitions into the folder given: `cargo xtask generate` runs it.

use std::error::Error;
use std::path::PathBuf;

use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use gastown_api::yaml;
use kube::CustomResourceExt as _;
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder to write to")?);
    std::fs::create_dir_all(&folder)?;
    for crd in [Rig::crd(), Polecat::crd()] {
        let name = crd.metadata.name.clone().ok_or("a definition has no name")?;
        let mut definition = serde_json::to_value(&crd)?;
        unset_nulls(&mut definition);
        let yaml = yaml::to_string(&definition)?;
        std::fs::write(
            folder.join(format!("{name}.yaml")),
            format!("# Written by `cargo xtask generate`.\n{yaml}"),
        )?;
    }
    Ok(())
}

/// Takes `nullable` off every field: the API server then reads `null` as unset, as the predecessor's did, also where
/// the field is an enumeration, and no rule ever meets a null.
fn unset_nulls(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
            }
            fields.values_mut().for_each(unset_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(unset_nulls),
        _ => {}
    }
}
