//! Writes the custom resource definitions into `crds/` of the folder given, and the names of the kinds, for the chart's rights,
//! into `kinds.yaml`: `cargo xtask generate` runs it.

use std::error::Error;
use std::path::PathBuf;

use gastown_api::kinds::kinds;
use gastown_api::{GROUP, yaml};
use serde_json::json;

const HEAD: &str = "# Written by `cargo xtask generate`.\n";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder to write to")?);
    let definitions = folder.join("crds");
    std::fs::create_dir_all(&definitions)?;
    for kind in kinds() {
        let yaml = yaml::to_string(&kind.definition()?)?;
        let file = format!("{}.{GROUP}.yaml", kind.plural);
        std::fs::write(definitions.join(file), format!("{HEAD}{yaml}"))?;
    }
    let plurals = |is_namespaced| {
        let of_scope = kinds()
            .iter()
            .filter(move |kind| kind.is_namespaced == is_namespaced);
        of_scope.map(|kind| kind.plural).collect::<Vec<_>>()
    };
    let names = yaml::to_string(&json!({"cluster": plurals(false), "namespaced": plurals(true)}))?;
    std::fs::write(folder.join("kinds.yaml"), format!("{HEAD}{names}"))?;
    Ok(())
}
