//! What helps to download a release: the install script, the manifest of krew, and the formula of Homebrew. Each has the hashes of
//! the files, so that nothing is installed that the release has not made.

use std::path::Path;

use anyhow::Result;
use xtask_image::krew::{self, Download, Platform};
use xtask_image::{Architecture, Edition, workspace};

use crate::plan::{PLUGIN, Target};

/// The archive of a plugin, as krew takes it: the program and the licence.
pub fn packed(program: &[u8], licence: &[u8], epoch: u64) -> Result<Vec<u8>> {
    krew::archive(program, PLUGIN, licence, epoch)
}

/// Writes them into `folder`, beside the files that they name, for a release that is downloaded from `base`.
pub fn write(folder: &Path, version: &str, base: &str, targets: &[Target], sums: &str) -> Result<()> {
    let script = fs_err::read_to_string(workspace::root().join("release/files/install.sh"))?;
    let script = script
        .replace("@VERSION@", version)
        .replace("@BASE@", base)
        .replace("@SUMS@", sums);
    fs_err::write(folder.join("install.sh"), script)?;
    let of_plugin: Vec<_> = targets
        .iter()
        .filter(|target| target.edition == Edition::Community)
        .collect();
    if of_plugin.is_empty() {
        return Ok(());
    }
    let mut downloads = Vec::new();
    for target in &of_plugin {
        let name = format!("{}.tar.gz", target.plugin());
        let platform = Platform {
            os: "linux",
            arch: target.architecture.as_str(),
            program: PLUGIN,
        };
        let packed = fs_err::read(folder.join(&name))?;
        downloads.push(Download::new(platform, format!("{base}/{name}"), &packed));
    }
    fs_err::write(folder.join("gt.yaml"), krew::manifest(version, &downloads))?;
    fs_err::write(folder.join("kubectl-gt.rb"), formula(version, &downloads))?;
    Ok(())
}

/// The formula by which `brew` installs the plugin.
fn formula(version: &str, downloads: &[Download]) -> String {
    let block = |download: &Download| {
        let on = if download.platform.arch == Architecture::Arm64.as_str() {
            "arm"
        } else {
            "intel"
        };
        let Download { uri, sha256, .. } = download;
        format!("    on_{on} do\n      url \"{uri}\"\n      sha256 \"{sha256}\"\n    end\n")
    };
    let blocks: String = downloads.iter().map(block).collect();
    format!(
        "class KubectlGt < Formula\n  desc \"Run AI coding agents as Kubernetes pods\"\n  homepage \"https://github.com/boshu2/gastown-operator\"\n  \
         version \"{version}\"\n  license \"Apache-2.0\"\n\n  on_linux do\n{blocks}  end\n\n  depends_on :linux\n\n  \
         def install\n    bin.install \"{PLUGIN}\"\n  end\n\n  test do\n    system bin/\"{PLUGIN}\", \"version\", \"--client\"\n  end\nend\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sha2::{Digest as _, Sha256};
    use xtask_image::process::Command;

    use super::*;

    fn targets() -> Vec<Target> {
        let of = |edition| {
            Architecture::ALL.map(|architecture| Target {
                edition,
                architecture,
            })
        };
        Edition::ALL.into_iter().flat_map(of).collect()
    }

    /// A folder of files to download, each of which is a script that says its name.
    fn folder() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let base = format!("file://{}", folder.path().display());
        let mut sums = Vec::new();
        for target in targets() {
            let name = target.plugin();
            let program = format!("#!/bin/sh\necho {name}\n");
            sums.push(format!("{:x}  {name}", Sha256::digest(&program)));
            fs_err::write(folder.path().join(&name), &program).unwrap();
            let packed = packed(program.as_bytes(), b"licence", 0).unwrap();
            fs_err::write(folder.path().join(format!("{name}.tar.gz")), packed).unwrap();
        }
        write(folder.path(), "1.2.3", &base, &targets(), &sums.join("\n")).unwrap();
        (folder, base)
    }

    fn install(folder: &Path, to: &Path, edition: &str) -> Result<String> {
        let script = Command::new("sh").arg(folder.join("install.sh"));
        script
            .env("GASTOWN_BIN", to)
            .env("GASTOWN_EDITION", edition)
            .text()
    }

    #[test]
    fn the_script_installs_what_the_release_made_and_nothing_else() {
        let (folder, base) = folder();
        let to = tempfile::tempdir().unwrap();
        let native = Architecture::ALL
            .into_iter()
            .find(|one| one.is_native())
            .unwrap()
            .as_str();
        for (edition, name) in [("community", "kubectl-gt"), ("fips", "kubectl-gt-fips")] {
            install(folder.path(), to.path(), edition).unwrap();
            let said = Command::new(to.path().join(PLUGIN)).text().unwrap();
            assert_eq!(said, format!("{name}-linux-{native}"));
        }
        fs_err::remove_file(to.path().join(PLUGIN)).unwrap();
        let refused = |edition: &str| {
            install(folder.path(), to.path(), edition)
                .unwrap_err()
                .to_string()
        };
        assert!(refused("gold").contains("there is no edition 'gold'"));
        let file = format!("kubectl-gt-linux-{native}");
        fs_err::write(folder.path().join(&file), "#!/bin/sh\nrm -rf /\n").unwrap();
        let error = refused("community");
        assert!(error.contains("nothing is installed"), "{error}");
        fs_err::remove_file(folder.path().join(&file)).unwrap();
        assert!(refused("community").contains(&format!("failed to download {base}/{file}")));
        let script = fs_err::read_to_string(folder.path().join("install.sh")).unwrap();
        fs_err::write(
            folder.path().join("install.sh"),
            script.replace(&format!("  {file}"), "  other"),
        )
        .unwrap();
        assert!(refused("community").contains(&format!("this release has no {file}")));
        let half = script.split("# A script that is cut short").next().unwrap();
        fs_err::write(folder.path().join("install.sh"), half).unwrap();
        install(folder.path(), to.path(), "community").unwrap();
        assert!(
            !to.path().join(PLUGIN).exists(),
            "nothing was installed after all"
        );
    }

    #[test]
    fn krew_and_brew_know_the_hash_of_each_archive() {
        let (folder, base) = folder();
        let read = |name: &str| fs_err::read_to_string(folder.path().join(name)).unwrap();
        let manifest: Value = serde_json::from_str(&read("gt.yaml")).unwrap();
        let formula = read("kubectl-gt.rb");
        assert_eq!(manifest["spec"]["version"], "v1.2.3");
        for (at, architecture) in Architecture::ALL.into_iter().enumerate() {
            let name = format!("kubectl-gt-linux-{}.tar.gz", architecture.as_str());
            let hash = format!(
                "{:x}",
                Sha256::digest(fs_err::read(folder.path().join(&name)).unwrap())
            );
            let platform = &manifest["spec"]["platforms"][at];
            assert_eq!(platform["selector"]["matchLabels"]["arch"], architecture.as_str());
            assert_eq!(
                (&platform["uri"], &platform["sha256"]),
                (&json!(format!("{base}/{name}")), &json!(hash))
            );
            assert!(
                formula.contains(&format!("url \"{base}/{name}\"\n      sha256 \"{hash}\"")),
                "{formula}"
            );
        }
        assert!(
            !formula.contains("fips"),
            "the other edition has no formula of its own"
        );
    }
}
