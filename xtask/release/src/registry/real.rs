//! The registry of the CNCF, for tests: distribution, built from its pinned source. It has no referrers API.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use xtask_image::process::Command;
use xtask_image::tools::{self, Tool};

/// A registry that ends with this value.
pub struct Registry {
    pub host: String,
    child: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed; the test that used it has failed.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Starts one that keeps its files in `folder`.
pub fn start(folder: &Path) -> Registry {
    let [registry] = tools::ensure([Tool::Registry]).unwrap();
    let host = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let file = folder.join("registry.yml");
    let storage = folder.join("registry");
    let config = serde_json::json!({
        "version": "0.1", "log": { "level": "error" }, "http": { "addr": host },
        "storage": { "filesystem": { "rootdirectory": storage } },
    });
    // JSON is YAML.
    fs_err::write(&file, config.to_string()).unwrap();
    let mut serve = Command::new(registry).arg("serve").arg(file).into_inner();
    let child = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let registry = Registry { host, child };
    let start = Instant::now();
    while TcpStream::connect(&registry.host).is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the registry does not answer"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    registry
}
