//! The commands that install the chart, as they are typed in a checkout.

/// Installs the chart; the README has it, too.
pub const CHART: &str = "helm install gastown-operator helm/gastown-operator --namespace gastown-system --create-namespace --wait";

/// Upgrades the definitions of our kinds, which helm only installs.
pub const DEFINITIONS: &str = "kubectl apply --server-side -f helm/gastown-operator/crds/";

/// Builds the images, and puts them onto the nodes of a cluster of kind.
pub const IMAGE: &str = "cargo xtask image load operator polecat-agent --kind CLUSTER";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_commands_are_those_of_the_documents_and_their_paths_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
        assert!(readme.contains(CHART), "{CHART}");
        assert!(readme.contains(IMAGE.trim_end_matches("CLUSTER")), "{IMAGE}");
        for command in [CHART, DEFINITIONS] {
            let paths: Vec<_> = command.split(' ').filter(|word| word.contains('/')).collect();
            assert_eq!(paths.len(), 1, "{command}");
            assert!(root.join(paths[0]).is_dir(), "{command}");
        }
    }
}
