//! Registries of others, built from pinned sources, that end with the value that started them.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask_image::process::Command;
use xtask_image::tools::{self, Tool};

/// How long one may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose registry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The CNCF's distribution, which does not list what refers to a manifest: a tag does.
    Distribution,
    /// That of go-containerregistry, which lists it (the referrers API of OCI 1.1).
    Referrers,
}

/// A registry that answers at `host`.
pub struct Registry {
    pub host: String,
    child: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed; whoever used it has failed.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Starts one that keeps its files in `folder`.
pub fn start(kind: Kind, folder: &Path) -> Result<Registry> {
    let host = free_address()?;
    let storage = folder.join("registry");
    fs_err::create_dir_all(&storage)?;
    let serve = match kind {
        Kind::Distribution => {
            let [registry] = tools::ensure([Tool::Registry])?;
            let file = folder.join("registry.yml");
            let config = serde_json::json!({
                "version": "0.1", "log": { "level": "error" }, "http": { "addr": host },
                "storage": { "filesystem": { "rootdirectory": storage } },
            });
            // JSON is YAML.
            fs_err::write(&file, config.to_string())?;
            Command::new(registry).arg("serve").arg(file)
        }
        Kind::Referrers => {
            let [registry] = tools::ensure([Tool::Referrers])?;
            Command::new(registry).arg(&host).arg(storage)
        }
    };
    let shown = serve.to_string();
    let child = serve
        .into_inner()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to start `{shown}`"))?;
    let registry = Registry { host, child };
    let start = Instant::now();
    while TcpStream::connect(&registry.host).is_err() {
        ensure!(start.elapsed() < PATIENCE, "`{shown}` does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(registry)
}

/// An address of this machine that nobody listens at now.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to find a free port")?;
    Ok(listener
        .local_addr()
        .context("a listener has an address")?
        .to_string())
}
