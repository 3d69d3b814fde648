//! Files of the chart.

use std::io;
use std::path::Path;

use gastown_api::GROUP;
use gastown_api::kinds::kinds;

/// The custom resource definitions of the chart as YAML, as `cargo xtask generate` wrote them.
pub fn definitions() -> io::Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/gastown-operator/crds");
    let file = |plural: &str| folder.join(format!("{plural}.{GROUP}.yaml"));
    let kinds = kinds().iter();
    kinds
        .map(|kind| std::fs::read_to_string(file(kind.plural)))
        .collect()
}
