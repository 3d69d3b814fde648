//! The node's operating system: Debian with systemd and containerd, and kind's own files.

use std::path::Path;

use anyhow::{Result, ensure};

use super::super::engine::Engine;
use super::files;
use crate::machine;
use crate::process::Command;
use crate::tools::{self, Module, Tool};
use crate::{progress, workspace};

/// The Debian release of the node, whatever the machine's is: a newer systemd may refuse cgroup v1.
pub const SUITE: &str = "bookworm";

/// What kind's Dockerfile removes so that systemd starts nothing a node does not need, and enables.
const CUSTOMIZE: [&str; 6] = [
    "rm -f \"$1\"/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
     \"$1\"/lib/systemd/system/multi-user.target.wants/* \"$1\"/etc/systemd/system/*.wants/*",
    "rm -f \"$1\"/lib/systemd/system/local-fs.target.wants/* \"$1\"/lib/systemd/system/basic.target.wants/* \
     \"$1\"/lib/systemd/system/sockets.target.wants/*udev* \"$1\"/lib/systemd/system/sockets.target.wants/*initctl*",
    "echo ReadKMsg=no >> \"$1\"/etc/systemd/journald.conf",
    "chroot \"$1\" systemctl enable kubelet.service containerd.service undo-mount-hacks.service",
    "chroot \"$1\" systemctl mask systemd-binfmt.service",
    "rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/* \"$1\"/usr/share/doc/* \"$1\"/usr/share/man/* \
     \"$1\"/usr/share/locale/*",
];

/// Has the base image in the engine as `name`.
pub fn ensure_in(engine: &Engine, name: &str) -> Result<()> {
    if engine.docker().args(["image", "inspect", name]).succeeds() {
        return Ok(());
    }
    machine::ensure(&["mmdebstrap", "setpriv", "unshare"])?;
    let [kubeadm, kubelet, kubectl] = tools::ensure([Tool::Kubeadm, Tool::Kubelet, Tool::Kubectl])?;
    let folder = tempfile::Builder::new()
        .prefix("node-base-")
        .tempdir_in(temporary_folder()?)?;
    let overlay = folder.path().join("overlay.tar");
    let kind = Module::Kind.source_folder()?.join("images/base/files");
    files::write_overlay(&overlay, &kind, &super::folder(), &[kubeadm, kubelet, kubectl])?;
    let rootfs = folder.path().join("rootfs.tar");
    progress::step("make the node's base from Debian packages", || {
        let sources = folder.path().join("sources.list");
        fs_err::write(&sources, sources_of_machine()?)?;
        debootstrap(&sources, &overlay, &rootfs)
    })?;
    progress::step("import the node's base", || {
        engine
            .docker()
            .arg("import")
            .arg(&rootfs)
            .arg(name)
            .output()
            .map(drop)
    })
}

/// A folder of the cache for what one run needs; what killed runs left in it is removed.
fn temporary_folder() -> Result<std::path::PathBuf> {
    let folder = workspace::cache()?.join("node-image/tmp");
    if folder.is_dir() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}

fn debootstrap(sources: &Path, overlay: &Path, rootfs: &Path) -> Result<()> {
    let packages = fs_err::read_to_string(super::folder().join("packages"))?;
    let include: Vec<&str> = packages.lines().collect();
    // In namespaces that end with this process, however it ends: what is mounted in the half-made system, the
    // machine's own /sys among it, must never be there when the next run removes the folder.
    let mut command = Command::new(machine::path("setpriv"))
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--mount-proc",
        ])
        .args(["--fork", "--kill-child=KILL", "--"])
        .arg(machine::path("mmdebstrap"))
        // Where the next run finds and removes what a killed one left.
        .env("TMPDIR", rootfs.parent().unwrap_or(rootfs))
        .args(["--mode=root", "--variant=minbase", "--quiet"])
        .arg(format!("--include={}", include.join(",")))
        .arg(format!("--customize-hook=tar-in {} /", overlay.display()));
    for hook in CUSTOMIZE {
        command = command.arg(format!("--customize-hook={hook}"));
    }
    command.arg(SUITE).arg(rootfs).arg(sources).output().map(drop)
}

/// apt sources for the node: the mirrors this machine uses, the node's release.
///
/// Packages are verified by the signed Release file and Debian's keys, not by hashes of ours: accepted for this node,
/// which only tests ever run on; nothing of it is shipped.
fn sources_of_machine() -> Result<String> {
    let format = "$(SITE)|$(LABEL)|$(COMPONENT)";
    let targets =
        || Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]);
    let mut sources = sources(&targets().text()?);
    if sources.is_empty() {
        // apt knows whose an archive is only once it has read what the archive says of itself.
        machine::update()?;
        sources = self::sources(&targets().text()?);
    }
    ensure!(
        !sources.is_empty(),
        "this machine's apt has no Debian mirror; add one to its sources and `apt-get update`"
    );
    Ok(sources)
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Lines of a `sources.list` from lines of `site|label|component`.
fn sources(targets: &str) -> String {
    let mut lines: Vec<String> = targets.lines().filter_map(source).flatten().collect();
    lines.sort();
    lines.dedup();
    lines.concat()
}

fn source(target: &str) -> Option<Vec<String>> {
    let mut fields = target.split('|');
    let (site, label, component) = (fields.next()?, fields.next()?, fields.next()?);
    let suites: &[&str] = match label {
        _ if component != "main" => &[],
        "Debian" => &["", "-updates"],
        "Debian-Security" => &["-security"],
        _ => &[],
    };
    Some(
        suites
            .iter()
            .map(|suite| format!("deb [signed-by={KEYRING}] {site} {SUITE}{suite} main\n"))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_follow_the_machines_mirrors_and_the_nodes_release() {
        let targets = "http://m/debian|Debian|main\nhttp://other/debian|Debian|contrib\nhttp://m/debian|Debian|main\n\
                       http://m/security|Debian-Security|main\nhttps://elsewhere|Other|main";
        let expected = [
            "http://m/debian bookworm main",
            "http://m/debian bookworm-updates main",
            "http://m/security bookworm-security main",
        ];
        let expected = expected.map(|line| format!("deb [signed-by={KEYRING}] {line}\n"));
        assert_eq!(sources(targets), expected.concat());
        assert_eq!(sources("https://elsewhere|Other|main"), "");
    }
}
