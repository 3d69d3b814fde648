//! Writes the custom resource definitions into the folder given: `cargo xtask generate` runs it.

use std::error::Error;
use std::path::PathBuf;

use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use kube::CustomResourceExt as _;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder to write to")?);
    std::fs::create_dir_all(&folder)?;
    for crd in [Rig::crd(), Polecat::crd()] {
        let name = crd.metadata.name.clone().ok_or("a definition has no name")?;
        let yaml = serde_yaml_ng::to_string(&crd)?;
        std::fs::write(
            folder.join(format!("{name}.yaml")),
            format!("# Written by `cargo xtask generate`.\n{yaml}"),
        )?;
    }
    Ok(())
}
