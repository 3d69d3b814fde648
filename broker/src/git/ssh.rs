//! OpenSSH as git's transport: key, host keys and configuration in the broker's private folder, and a user name for
//! a UID that no passwd file knows.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Where Debian puts the library that answers for a passwd entry: ssh refuses a UID without one ("No user exists for uid …"),
/// and containerd, unlike CRI-O, adds none.
const NSS_WRAPPER: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/libnss_wrapper.so",
    "/usr/lib/aarch64-linux-gnu/libnss_wrapper.so",
    "/usr/lib/libnss_wrapper.so",
];

/// Why ssh cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[error("failed to write {path:?} for ssh; the broker's volume must be writable and not full")]
pub struct PrepareSsh {
    path: PathBuf,
    source: std::io::Error,
}

/// Writes what ssh needs below `dir` and returns the text of `GIT_SSH_COMMAND`.
pub fn prepare(dir: &Path, home: &Path, key: &[u8], known_hosts: &str) -> Result<String, PrepareSsh> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| PrepareSsh { path, source }
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(fail(dir))?;
    let config = dir.join("ssh_config");
    let (key_file, hosts_file) = (dir.join("key"), dir.join("known_hosts"));
    // The secret's own file is readable by all, since the UID is any; ssh refuses such a key.
    for (path, bytes) in [
        (&key_file, key),
        (&hosts_file, known_hosts.as_bytes()),
        (&config, configuration(&key_file, &hosts_file).as_bytes()),
    ] {
        write_private(path, bytes).map_err(fail(path))?;
    }
    let mut command = String::new();
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if let (false, Some(library)) = (has_entry(&passwd, uid), nss_wrapper()) {
        let gid = rustix::process::getgid().as_raw();
        let (users, groups) = (dir.join("passwd"), dir.join("group"));
        let home = home.display();
        let line = format!("polecat:x:{uid}:{gid}::{home}:/sbin/nologin\n");
        write_private(&users, line.as_bytes()).map_err(fail(&users))?;
        write_private(&groups, format!("polecat:x:{gid}:\n").as_bytes()).map_err(fail(&groups))?;
        for (name, value) in [
            ("LD_PRELOAD", library.as_path()),
            ("NSS_WRAPPER_PASSWD", &users),
            ("NSS_WRAPPER_GROUP", &groups),
        ] {
            command.extend([name, "=", &quote(value), " "]);
        }
    }
    Ok(command + "ssh -F " + &quote(&config))
}

/// Only this key, only these host keys, no questions, nothing forwarded, and an end to silence. ssh says at `INFO` alone that it
/// has no algorithm in common with the host, and that the host closed the connection.
fn configuration(key: &Path, known_hosts: &Path) -> String {
    format!(
        "IdentityFile \"{}\"
UserKnownHostsFile \"{}\"
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
IdentitiesOnly yes
IdentityAgent none
BatchMode yes
PreferredAuthentications publickey
UpdateHostKeys no
ForwardAgent no
ForwardX11 no
ClearAllForwardings yes
PermitLocalCommand no
ControlMaster no
ControlPath none
ConnectTimeout 10
ServerAliveInterval 15
ServerAliveCountMax 4
LogLevel INFO
",
        key.display(),
        known_hosts.display()
    )
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)
}

fn nss_wrapper() -> Option<PathBuf> {
    NSS_WRAPPER.iter().map(PathBuf::from).find(|path| path.exists())
}

fn has_entry(passwd: &str, uid: u32) -> bool {
    let uid = uid.to_string();
    passwd
        .lines()
        .any(|line| line.split(':').nth(2) == Some(uid.as_str()))
}

/// git hands the command to a shell.
fn quote(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_private_and_replaced_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let private = dir.path().join("upstream");
        prepare(&private, dir.path(), b"a longer key", "h ssh-ed25519 A").unwrap();
        let command = prepare(&private, dir.path(), b"key", "h ssh-ed25519 B").unwrap();
        assert_eq!(std::fs::read(private.join("key")).unwrap(), b"key");
        let mode = std::fs::metadata(private.join("key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            command.contains("ssh -F '") && !command.contains("key'"),
            "{command}"
        );
    }

    #[test]
    fn a_uid_of_the_passwd_file_is_found_exactly() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/sbin/nologin\n";
        assert!(has_entry(passwd, 65534));
        assert!(!has_entry(passwd, 6553));
        assert!(!has_entry("", 0));
    }
}
