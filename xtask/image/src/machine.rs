//! Debian packages that the machine lacks.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::process::Command;
use crate::progress;

/// Programs that the tasks run, each with the Debian package that has it.
const PACKAGES: [(&str, &str); 12] = [
    ("dockerd", "docker.io"),
    ("docker-init", "docker.io"),
    ("mmdebstrap", "mmdebstrap"),
    ("iptables-restore", "iptables"),
    ("ip", "iproute2"),
    ("gcc", "gcc libc6-dev"),
    ("skopeo", "skopeo"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("jq", "jq"),
];

/// Packages that open a port of the machine where systemd starts them: whoever owns such a machine decides that.
const SERVERS: [&str; 1] = ["openssh-server"];

/// One at a time: jobs that run side by side would find apt locked.
static APT: Mutex<()> = Mutex::new(());

/// Installs the Debian packages of those `programs` that the machine lacks.
///
/// The machine's own apt sources and keys decide where they come from and whether they are genuine.
pub fn ensure(programs: &[&str]) -> Result<()> {
    let _alone = APT.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = missing_packages(programs, |program| find(program).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(server) = missing.iter().find(|package| SERVERS.contains(package))
        && Path::new("/run/systemd/system").exists()
    {
        bail!(
            "the tests need the package {server}, which this machine would start as a service; install it (`apt-get install {server}`), then disable the service if it is not wanted"
        );
    }
    progress::step(format!("install {}", missing.join(" ")), || {
        update()?;
        let install = ["install", "--yes", "--no-install-recommends"];
        apt_get(&install).args(&missing).output().map(drop)
    })
}

/// Has apt read what its sources offer now.
pub fn update() -> Result<()> {
    apt_get(&["update"]).output().map(drop)
}

/// Where `program` is: the `PATH`, then the system's folders, which a user's `PATH` may leave out.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Where `program` is once [`ensure`] has been asked for it.
pub fn path(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| program.into())
}

fn apt_get(args: &[&str]) -> Command {
    let apt = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    // In runlevel 1 Debian's scripts start no daemon: the engine is started here, where it can be stopped again.
    apt.env("RUNLEVEL", "1")
}

fn missing_packages(programs: &[&str], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<&str> = PACKAGES
        .iter()
        .filter(|(program, _)| programs.contains(program) && !is_there(program))
        .flat_map(|(_, packages)| packages.split(' '))
        .collect();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_of_missing_programs_are_installed_and_each_once() {
        let wanted = ["dockerd", "docker-init", "ip", "gcc"];
        assert_eq!(
            missing_packages(&wanted, |program| program == "ip"),
            ["docker.io", "gcc", "libc6-dev"]
        );
    }
}
