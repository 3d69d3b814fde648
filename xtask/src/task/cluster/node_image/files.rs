//! The files that make Debian a kind node: kind's own, a little changed, ours, and the Kubernetes binaries.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tar::{Builder, EntryType, Header};

/// Folders whose files are programs.
const PROGRAM_FOLDERS: [&str; 3] = ["usr/local/bin", "usr/bin", "kind/bin"];

/// Writes a tar with everything that comes on top of Debian's packages.
///
/// `kind` is `images/base/files` of kind's module, `node` the folder with our own `root`.
pub fn write_overlay(archive: &Path, kind: &Path, node: &Path, programs: &[PathBuf]) -> Result<()> {
    let mut tar = Builder::new(fs_err::File::create(archive)?);
    for (path, file) in of_folder(kind)? {
        let content = fs_err::read_to_string(file)?;
        append(&mut tar, &path, changed(&path, content)?.as_bytes())?;
    }
    for (path, file) in of_folder(&node.join("root"))? {
        append(&mut tar, &path, &fs_err::read(file)?)?;
    }
    for program in programs {
        let name = program.file_name().context("a program has a name")?;
        append(
            &mut tar,
            &Path::new("usr/bin").join(name),
            &fs_err::read(program)?,
        )?;
    }
    // kind reads this without trimming it.
    let version = super::Module::Kubernetes.version()?;
    append(&mut tar, Path::new("kind/version"), version.as_bytes())?;
    folder(&mut tar, "etc/kubernetes/manifests/")?;
    link(&mut tar, "opt/cni/bin", "/usr/lib/cni")?;
    tar.into_inner()?;
    Ok(())
}

/// All files below `folder`, by their path in it.
pub fn of_folder(folder: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder)?.to_path_buf(), path);
            }
        }
    }
    Ok(files)
}

/// A file of kind as our node needs it: other places for Debian's programs, no fuse-overlayfs, cgroup v1 allowed.
fn changed(path: &Path, content: String) -> Result<String> {
    let changes: &[(&str, &str)] = match path.to_str() {
        Some("etc/containerd/config.toml") => &[
            (
                "sandbox_image = \"registry.k8s.io/pause:3.10\"",
                "sandbox_image = \"registry.k8s.io/pause:3.10.1\"",
            ),
            // Without it a sandbox fails where CAP_SYS_RESOURCE is missing: runc may not lower its score.
            ("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"),
            (
                "[proxy_plugins.\"fuse-overlayfs\"]\n  type = \"snapshot\"\n  \
                 address = \"/run/containerd-fuse-overlayfs.sock\"\n",
                "",
            ),
        ],
        Some("etc/systemd/system/containerd.service") => {
            &[("/usr/local/bin/containerd", "/usr/bin/containerd")]
        }
        Some("etc/default/kubelet") => &[(
            "--runtime-cgroups=/system.slice/containerd.service",
            "--runtime-cgroups=/system.slice/containerd.service --fail-cgroupv1=false",
        )],
        _ => &[],
    };
    changes.iter().try_fold(content, |content, (old, new)| {
        ensure!(
            content.contains(old),
            "kind's {path:?} no longer has {old:?}; adapt the change to its new version"
        );
        Ok(content.replace(old, new))
    })
}

fn append(tar: &mut Builder<fs_err::File>, path: &Path, content: &[u8]) -> Result<()> {
    let is_program = PROGRAM_FOLDERS.iter().any(|folder| path.starts_with(folder));
    let mut header = Header::new_gnu();
    header.set_mode(if is_program { 0o755 } else { 0o644 });
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
        .with_context(|| format!("failed to pack {path:?}"))
}

fn folder(tar: &mut Builder<fs_err::File>, path: &str) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    tar.append_data(&mut header, path, std::io::empty())
        .with_context(|| format!("failed to pack {path:?}"))
}

fn link(tar: &mut Builder<fs_err::File>, path: &str, target: &str) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, path, target)
        .with_context(|| format!("failed to pack {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerd_is_looked_for_where_debian_has_it() {
        let unit = "ExecStart=/usr/local/bin/containerd\n".to_owned();
        let unit = changed(Path::new("etc/systemd/system/containerd.service"), unit).unwrap();
        assert_eq!(unit, "ExecStart=/usr/bin/containerd\n");
    }

    #[test]
    fn a_file_of_kind_that_changed_is_noticed() {
        let error = changed(Path::new("etc/default/kubelet"), "KUBELET_EXTRA_ARGS=".to_owned()).unwrap_err();
        assert!(error.to_string().contains("adapt the change"), "{error}");
    }

    #[test]
    fn other_files_stay_as_they_are() {
        assert_eq!(
            changed(Path::new("etc/crictl.yaml"), "x".to_owned()).unwrap(),
            "x"
        );
    }
}
