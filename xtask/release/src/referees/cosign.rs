//! cosign as the referee: what it says of what we signed, with the public key alone.

use std::path::Path;

use anyhow::{Context as _, Result};
use xtask_image::process::Command;
use xtask_image::tools::{self, Tool};

use super::Bench;
use crate::registry::is_local;
use crate::statement::COSIGN_SIGN;
use crate::verify::{Verified, bundle_of};

/// A version of cosign, and how it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Major {
    /// Reads signatures as tags and as bundles.
    Three,
    /// Asked for what it reads by itself: signatures and envelopes under tags.
    Two,
}

impl Major {
    fn tool(self) -> Tool {
        match self {
            Self::Three => Tool::Cosign,
            Self::Two => Tool::Cosign2,
        }
    }
}

/// cosign 3 of everything in both registries, and of the files.
pub fn three(bench: &Bench) -> Result<Vec<String>> {
    let mut said =
        bench.in_each_registry(|repository, found| images(Major::Three, repository, found, bench.key))?;
    said.extend(files(bench.folder, bench.key)?);
    Ok(said)
}

/// cosign 2 of everything in both registries.
pub fn two(bench: &Bench) -> Result<Vec<String>> {
    bench.in_each_registry(|repository, found| images(Major::Two, repository, found, bench.key))
}

/// Has cosign verify a file, or all files of a release's folder.
pub fn files(target: &Path, key: &Path) -> Result<Vec<String>> {
    if !target.is_dir() {
        return ask(Major::Three, vec![of_file(target, &bundle_of(target))], key);
    }
    let mut all = Vec::new();
    for entry in fs_err::read_dir(target.join("files"))? {
        let file = entry?.path();
        let name = file.file_name().context("a file has a name")?;
        all.push(of_file(&file, &bundle_of(&target.join("signatures").join(name))));
    }
    all.sort();
    ask(Major::Three, all, key)
}

/// Has cosign verify everything that was found to be signed in a repository.
pub fn images(major: Major, repository: &str, found: &[Verified], key: &Path) -> Result<Vec<String>> {
    let commands = found.iter().flat_map(|one| of_image(major, repository, one));
    ask(major, commands.collect(), key)
}

/// Runs each command, and returns them as they can be pasted.
fn ask(major: Major, commands: Vec<Vec<String>>, key: &Path) -> Result<Vec<String>> {
    let [cosign] = tools::ensure([major.tool()])?;
    let run = |arguments: Vec<String>| {
        let command = Command::new(&cosign)
            .args(arguments)
            // A signature of a key pair is in no transparency log: nothing was sent there.
            .args(["--insecure-ignore-tlog=true", "--key"])
            .arg(key);
        let shown = command.to_string();
        command.output()?;
        Ok(format!("verified by {shown}"))
    };
    commands.into_iter().map(run).collect()
}

fn of_file(file: &Path, bundle: &Path) -> Vec<String> {
    let shown = |path: &Path| path.display().to_string();
    vec![
        "verify-blob".to_owned(),
        "--bundle".to_owned(),
        shown(bundle),
        shown(file),
    ]
}

/// Each layout of the signature, and each statement.
fn of_image(major: Major, repository: &str, found: &Verified) -> Vec<Vec<String>> {
    let image = format!("{repository}@{}", found.digest);
    let host = repository.split('/').next().unwrap_or(repository);
    let command = |words: &[&str]| {
        let words = words
            .iter()
            .copied()
            .chain(is_local(host).then_some("--allow-http-registry=true"));
        words
            .chain([image.as_str()])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let kinds = found.statements.iter().filter(|kind| *kind != COSIGN_SIGN);
    let layouts: &[bool] = match major {
        Major::Three => &[true, false],
        Major::Two => &[false],
    };
    layouts
        .iter()
        .map(|is_bundle| command(&["verify", &format!("--new-bundle-format={is_bundle}")]))
        .chain(kinds.map(|kind| command(&["verify-attestation", "--type", kind])))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::PROVENANCE;

    #[test]
    fn cosign_is_asked_for_both_layouts_and_every_statement() {
        let found = Verified {
            digest: "sha256:ab".to_owned(),
            platform: "index".to_owned(),
            statements: vec![COSIGN_SIGN.to_owned(), PROVENANCE.to_owned()],
            commit: String::new(),
            builder: String::new(),
        };
        let lines = |major, repository| {
            let commands = of_image(major, repository, &found).into_iter();
            commands.map(|words| words.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(Major::Three, "ghcr.io/x"),
            [
                "verify --new-bundle-format=true ghcr.io/x@sha256:ab",
                "verify --new-bundle-format=false ghcr.io/x@sha256:ab",
                "verify-attestation --type https://slsa.dev/provenance/v1 ghcr.io/x@sha256:ab",
            ]
        );
        assert_eq!(
            lines(Major::Two, "ghcr.io/x"),
            lines(Major::Three, "ghcr.io/x")[1..],
            "cosign 2 reads tags"
        );
        assert!(lines(Major::Two, "127.0.0.1:5000/x")[0].contains("--allow-http-registry"));
    }
}
