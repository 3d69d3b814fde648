//! Which suites can tell of a change: a table of paths, and what git says has changed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::Suite::{self, Admission, E2e, Faults, Plugin, Release, Unit};
use crate::process::Command;
use crate::{progress, workspace};

/// Suites by what paths start with; the first that fits counts. A path that none fits touches everything.
const TOUCHED: [(&str, &[Suite]); 34] = [
    ("api/", &[Unit, Admission, Plugin, Faults, E2e]),
    ("crypto/", &[Unit, Admission, Plugin, Faults, E2e]),
    ("operator/", &[Unit, Faults, E2e]),
    ("broker/", &[Unit, E2e]),
    ("registry/", &[Unit, Faults, E2e]),
    ("signatures/", &[Unit, Faults, E2e]),
    ("polecat/", &[Unit, E2e]),
    ("kubectl-gt/tests/", &[Plugin]),
    ("kubectl-gt/", &[Unit, Plugin, E2e]),
    (
        "helm/gastown-operator/crds/",
        &[Unit, Admission, Plugin, Faults, E2e],
    ),
    // Unit tests hold the chart against the settings and rights of the operator.
    ("helm/", &[Unit, Admission, E2e, Release]),
    // `cargo xtask generate` writes it from the chart.
    ("openshift/", &[]),
    ("images/", &[Unit, E2e]),
    ("templates/", &[Unit, Admission, Plugin, E2e]),
    // Unit tests hold the pages against the names of tests, and read the samples of manifests.
    ("tests/admission/", &[Unit, Admission]),
    ("tests/faults/", &[Unit, Faults]),
    ("tests/e2e/", &[Unit, E2e]),
    ("tests/scripts/", &[E2e]),
    ("tests/project/", &[E2e]),
    ("tests/testbed/", &[E2e]),
    ("tests/images/", &[Unit, E2e]),
    ("tests/fuzz/", &[Unit]),
    ("tests/tools/", &[]),
    ("tests/cluster/helm/", &[E2e]),
    ("tests/cluster/coredns/", &[E2e]),
    ("tests/cluster/", &[Admission, Plugin, Faults, E2e]),
    ("xtask/release/", &[Release]),
    // The chores bring up every cluster and build every image, and have unit tests.
    ("xtask/", &[Unit, Admission, Plugin, Faults, E2e, Release]),
    ("release/", &[Unit, Release]),
    ("sbom/", &[Release]),
    (".ci/", &[]),
    // Unit tests read pages: threat model, commands, settings.
    ("docs/", &[Unit]),
    ("README.md", &[Unit, E2e]),
    ("LICENSE", &[]),
];

/// The suites that can tell of what changed in this checkout since it left its upstream.
pub fn suites() -> Result<Vec<Suite>> {
    let base = base()?;
    let since = ["diff", "--name-only", "--no-renames", &base];
    let new = ["ls-files", "--others", "--exclude-standard"];
    let changed = format!("{}\n{}", git(&since)?, git(&new)?);
    let suites = touched(changed.lines().filter(|path| !path.is_empty()));
    let count = changed.lines().filter(|path| !path.is_empty()).count();
    progress::say(format!(
        "{count} files changed since {}: {suites:?}",
        &base[..base.len().min(12)]
    ));
    Ok(suites.into_iter().collect())
}

/// The commit at which this branch left its upstream, or else main.
fn base() -> Result<String> {
    for upstream in ["@{upstream}", "origin/main", "main"] {
        let known = ["rev-parse", "--verify", "--quiet", upstream];
        if git(&known).is_ok() {
            return git(&["merge-base", "HEAD", upstream]);
        }
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Result<String> {
    Command::new("git")
        .args(arguments)
        .current_dir(workspace::root())
        .text()
}

fn touched<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<Suite> {
    paths.flat_map(of_path).copied().collect()
}

fn of_path(path: &str) -> &'static [Suite] {
    let fits = TOUCHED.iter().find(|(start, _)| path.starts_with(start));
    match fits {
        Some((_, suites)) => suites,
        // Pages beside the code that no test reads.
        None if !path.contains('/') && Path::new(path).extension().is_some_and(|end| end == "md") => &[],
        None => &[Unit, Admission, Plugin, Faults, E2e, Release],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str]) -> Vec<Suite> {
        touched(paths.iter().copied()).into_iter().collect()
    }

    #[test]
    fn a_change_touches_the_suites_that_can_tell_of_it() {
        let all = [Unit, Admission, Plugin, Faults, E2e, Release];
        assert_eq!(of(&["operator/src/run.rs"]), [Unit, Faults, E2e]);
        assert_eq!(
            of(&["tests/faults/main.rs", "kubectl-gt/tests/a"]),
            [Unit, Plugin, Faults]
        );
        assert_eq!(of(&["kubectl-gt/src/lib.rs"]), [Unit, Plugin, E2e]);
        assert_eq!(of(&["CHANGELOG.md", "LICENSE"]), []);
        assert_eq!(of(&["Cargo.lock"]), all);
        assert_eq!(of(&["tests/src/client.rs"]), all, "every suite uses it");
        assert_eq!(of(&["no-such/folder.rs"]), all, "nothing is known of it");
        assert_eq!(of(&["sbom/vex/a.toml", "xtask/release/src/vex.rs"]), [Release]);
    }

    #[test]
    fn every_start_of_a_path_is_there() {
        for (start, _) in TOUCHED {
            let path = workspace::root().join(start);
            assert!(path.exists(), "{start} is not in this checkout");
        }
    }
}
