//! A real OpenSSH server.

use std::path::{Path, PathBuf};

use super::remote::make;

/// A real sshd for one user with one key.
pub struct Sshd {
    pub child: tokio::process::Child,
    pub url: String,
    pub known_hosts: String,
    pub key: String,
    pub repo: PathBuf,
}

impl Sshd {
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, "ed25519", "").await
    }

    /// With a host key of another type, and more lines of configuration.
    pub async fn start_with(dir: &Path, host_key: &str, more: &str) -> Self {
        assert!(
            Path::new("/usr/sbin/sshd").exists(),
            "this test needs /usr/sbin/sshd: install the package openssh-server"
        );
        for (name, kind) in [("host", host_key), ("user", "ed25519")] {
            let file = dir.join(name);
            let keygen = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", kind, "-N", "", "-C", "x", "-f"])
                .arg(&file)
                .status();
            assert!(keygen.unwrap().success());
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n{more}\n",
            dir.display()
        );
        std::fs::write(dir.join("sshd_config"), config).unwrap();
        drop(std::fs::create_dir_all("/run/sshd"));
        let child = tokio::process::Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"))
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        for _ in 0..50 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let repo = dir.join("up.git");
        make(dir, &repo).await;
        let user = std::process::Command::new("id")
            .arg("-un")
            .output()
            .unwrap()
            .stdout;
        let user = String::from_utf8(user).unwrap();
        let host_key = std::fs::read_to_string(dir.join("host.pub")).unwrap();
        Self {
            child,
            url: format!("ssh://{}@127.0.0.1:{port}{}", user.trim(), repo.display()),
            known_hosts: format!("[127.0.0.1]:{port} {host_key}"),
            key: std::fs::read_to_string(dir.join("user")).unwrap(),
            repo,
        }
    }
}
