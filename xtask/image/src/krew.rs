//! The plugin as `kubectl krew` installs it: archives of the program and the licence, and the manifest that names them.

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A platform as krew names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    pub os: &'static str,
    pub arch: &'static str,
    /// The program's name in the archive.
    pub program: &'static str,
}

/// An archive that can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    pub platform: Platform,
    pub uri: String,
    /// In hexadecimal digits.
    pub sha256: String,
}

impl Download {
    /// The archive `bytes`, which are found at `uri`.
    pub fn new(platform: Platform, uri: String, bytes: &[u8]) -> Self {
        Self {
            platform,
            uri,
            sha256: format!("{:x}", Sha256::digest(bytes)),
        }
    }
}

/// The archive of a program and its licence.
pub fn archive(program: &[u8], name: &str, licence: &[u8], epoch: u64) -> Result<Vec<u8>> {
    let files = [
        ("LICENSE".to_owned(), 0o644, licence.to_vec()),
        (name.to_owned(), 0o755, program.to_vec()),
    ];
    pack(&files, epoch)
}

/// A compressed archive of files, each with path, mode and content: the same bytes for the same files, whoever makes it.
pub fn pack(files: &[(String, u32, Vec<u8>)], epoch: u64) -> Result<Vec<u8>> {
    let compressed = GzBuilder::new().write(Vec::new(), Compression::new(6));
    let mut builder = tar::Builder::new(compressed);
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_mtime(epoch);
        header.set_size(content.len() as u64);
        builder
            .append_data(&mut header, path, content.as_slice())
            .with_context(|| format!("failed to pack {path:?}"))?;
    }
    let compressed = builder.into_inner().context("failed to pack an archive")?;
    compressed.finish().context("failed to pack an archive")
}

/// The manifest, as text: JSON is YAML, and krew reads either.
pub fn manifest(version: &str, downloads: &[Download]) -> String {
    let platforms: Vec<_> = downloads.iter().map(entry).collect();
    let manifest = json!({
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": { "name": "gt" },
        "spec": {
            "version": format!("v{version}"),
            "homepage": "https://github.com/boshu2/gastown-operator",
            "shortDescription": "Run AI coding agents as pods",
            "description": "Dispatches work to polecats of gastown-operator, shows what they do,\nand manages rigs and credentials.",
            "caveats": "The operator must be installed on the cluster: `kubectl gt doctor` checks it.",
            "platforms": platforms,
        },
    });
    format!("{manifest:#}\n")
}

fn entry(download: &Download) -> Value {
    let Download {
        platform,
        uri,
        sha256,
    } = download;
    json!({
        "selector": { "matchLabels": { "os": platform.os, "arch": platform.arch } },
        "uri": uri, "sha256": sha256, "bin": platform.program,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_depends_on_its_files_alone() {
        let files = [("a/b".to_owned(), 0o644, b"c".to_vec())];
        assert_eq!(pack(&files, 7).unwrap(), pack(&files, 7).unwrap());
        assert_ne!(pack(&files, 7).unwrap(), pack(&files, 8).unwrap());
    }

    #[test]
    fn the_manifest_has_the_checksum_of_each_archive() {
        let platform = Platform {
            os: "windows",
            arch: "amd64",
            program: "kubectl-gt.exe",
        };
        let packed = archive(b"program", platform.program, b"licence", 0).unwrap();
        let download = Download::new(platform, "https://example.com/a.tar.gz".to_owned(), &packed);
        let manifest: Value = serde_json::from_str(&manifest("1.2.3", &[download])).unwrap();
        assert_eq!(manifest["spec"]["version"], "v1.2.3");
        let entry = &manifest["spec"]["platforms"][0];
        assert_eq!(entry["sha256"], format!("{:x}", Sha256::digest(&packed)));
        assert_eq!(
            entry["selector"]["matchLabels"],
            json!({ "os": "windows", "arch": "amd64" })
        );
        assert_eq!(entry["bin"], "kubectl-gt.exe");
    }
}
