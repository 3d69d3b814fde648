//! A Docker engine of our own, for machines that have none.
//!
//! It runs in a PID and a mount namespace of its own. So whatever ends it, even `kill -9`, ends its containers and
//! shims and removes its mounts with it, and the next start is like one after a reboot, which Docker is made for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::docker_info;
use super::host_cleanup::{self, Before};
use crate::machine;
use crate::process::Command;
use crate::task::cluster::daemon::Daemon;
use crate::{progress, workspace};

/// What is known of our engine; the file is there from before the start until its traces are removed.
#[derive(Debug, Serialize, Deserialize)]
pub struct OwnEngine {
    /// `unshare`, whose only child is the first process of the engine's PID namespace. None while it starts.
    daemon: Option<Daemon>,
    /// What the machine was like before the first start.
    before: Before,
}

/// Bit of `CAP_SYS_RESOURCE` in a capability set (capabilities(7)).
const CAP_SYS_RESOURCE: u32 = 24;

/// Sockets, logs and state of the one engine a machine has. A cache folder may be too deep for a socket's path.
pub fn run_folder() -> Result<PathBuf> {
    let folder = PathBuf::from("/run/gastown-operator");
    fs_err::create_dir_all(&folder)
        .context("the engine needs root; run as root, or start a Docker engine yourself")?;
    Ok(folder)
}

/// The Docker client of the package that the engine comes from.
pub fn client() -> PathBuf {
    let packaged = Path::new("/usr/bin/docker");
    if packaged.is_file() {
        packaged.to_path_buf()
    } else {
        machine::path("docker")
    }
}

impl OwnEngine {
    /// Our engine, if it answers.
    pub fn running() -> Result<Option<Self>> {
        let Some(engine) = Self::read()? else {
            return Ok(None);
        };
        let alive = engine.daemon.is_some_and(Daemon::is_alive);
        Ok((alive && docker_info(Self::environment(Command::new(client())))).then_some(engine))
    }

    /// Starts the engine anew, whatever an earlier one left.
    pub fn start() -> Result<Self> {
        progress::step("start a Docker engine", || {
            let before = match Self::read()? {
                // A killed run's: what the machine was like before *that* is what `down` must restore.
                Some(dead) => {
                    dead.kill()?;
                    dead.before
                }
                None => Before::record()?,
            };
            let run = run_folder()?;
            remove_if_there(&run.join("exec"))?;
            fs_err::remove_file(run.join("docker.pid")).ok();
            Self {
                daemon: None,
                before: before.clone(),
            }
            .write()?;
            let engine = Self {
                daemon: Some(launch(&run)?),
                before,
            };
            engine.write()?;
            engine.wait_until_it_answers(&run)?;
            Ok(engine)
        })
    }

    /// Stops our engine and removes its traces.
    pub fn stop() -> Result<()> {
        progress::step("stop the Docker engine", || {
            if let Some(daemon) = Self::read()?.and_then(|engine| engine.daemon) {
                // `unshare` ignores the signal; its child passes it on to dockerd.
                for first in daemon.children()? {
                    first.signal(Signal::TERM);
                }
                daemon.wait(Duration::from_secs(20)).or_else(|_| daemon.kill())?;
            }
            Self::remove_traces_of_dead()
        })
    }

    /// Removes what an engine that no longer runs left on the machine.
    pub fn remove_traces_of_dead() -> Result<()> {
        let Some(engine) = Self::read()? else {
            return Ok(());
        };
        engine.kill()?;
        host_cleanup::remove(&engine.before)?;
        let run = run_folder()?;
        remove_if_there(&run.join("exec"))?;
        for file in [
            "docker.pid",
            "docker.sock",
            "daemon.json",
            "runtime-shim",
            "engine.json",
        ] {
            fs_err::remove_file(run.join(file)).ok();
        }
        Ok(())
    }

    /// The host's process id of the engine's outermost process.
    pub fn pid(&self) -> i32 {
        self.daemon.map_or(0, |daemon| daemon.pid)
    }

    /// Makes `command` speak with this engine, and find a `docker` that can.
    pub fn environment(command: Command) -> Command {
        let folder = client().parent().map(Path::to_path_buf).unwrap_or_default();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path)));
        let command = command.env("DOCKER_HOST", format!("unix://{SOCKET}"));
        match path {
            Ok(path) => command.env("PATH", path),
            Err(_) => command,
        }
    }

    fn kill(&self) -> Result<()> {
        let Some(daemon) = self.daemon else { return Ok(()) };
        // The kernel ends a PID namespace with its first process.
        for first in daemon.children()? {
            first.kill()?;
        }
        daemon.kill()
    }

    fn wait_until_it_answers(&self, run: &Path) -> Result<()> {
        let log = run.join("dockerd.log");
        progress::wait_until(
            "the engine's first answer",
            Duration::from_mins(1),
            Duration::from_millis(100),
            || {
                anyhow::ensure!(self.daemon.is_some_and(Daemon::is_alive), "dockerd ended");
                Ok(docker_info(Self::environment(Command::new(client()))))
            },
        )
        .with_context(|| format!("dockerd did not start; {log:?} ends with\n{}", tail(&log)))
    }

    fn read() -> Result<Option<Self>> {
        match std::fs::read(run_folder()?.join("engine.json")) {
            Ok(json) => serde_json::from_slice(&json)
                .context("engine.json is no state of an engine")
                .map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("failed to read engine.json"),
        }
    }

    fn write(&self) -> Result<()> {
        workspace::write_whole(
            &run_folder()?.join("engine.json"),
            &serde_json::to_vec_pretty(self)?,
        )
    }
}

const SOCKET: &str = "/run/gastown-operator/docker.sock";

fn launch(run: &Path) -> Result<Daemon> {
    let shim = run.join("runtime-shim");
    let needs_shim = !bounding_set(&fs_err::read_to_string("/proc/self/status")?)?.contains(CAP_SYS_RESOURCE);
    if needs_shim {
        // A copy, so that the engine does not depend on a checkout. The old one may be running: write beside it.
        let executable = fs_err::read("/proc/self/exe")?;
        workspace::write_whole(&shim, &executable)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&shim, mode)?;
    }
    let data = workspace::cache()?.join("docker");
    let config = daemon_config(run, &data, needs_shim.then_some(&shim), default_mtu());
    fs_err::write(run.join("daemon.json"), serde_json::to_vec_pretty(&config)?)?;
    let unshare = Command::new(machine::path("unshare"))
        .args([
            "--mount",
            "--pid",
            "--mount-proc",
            "--fork",
            "--kill-child=KILL",
            "--",
        ])
        // The first process of a PID namespace must reap what others leave: dockerd does not.
        .arg(machine::path("docker-init"))
        .arg("--")
        .arg(machine::path("dockerd"))
        .arg("--config-file")
        .arg(run.join("daemon.json"));
    Daemon::start(with_system_path(unshare), &run.join("dockerd.log"))
}

/// dockerd looks for runc, containerd, docker-proxy and iptables on the `PATH`.
fn with_system_path(command: Command) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("/usr/sbin:/usr/bin:/sbin:/bin:{path}"))
}

/// dockerd's configuration; `shim` stands before runc where a capability is missing.
fn daemon_config(run: &Path, data: &Path, shim: Option<&PathBuf>, mtu: u32) -> Value {
    let mut config = json!({
        "data-root": data,
        "exec-root": run.join("exec"),
        "pidfile": run.join("docker.pid"),
        "hosts": [format!("unix://{SOCKET}")],
        "cgroup-parent": host_cleanup::CGROUP,
        "mtu": mtu,
    });
    if let Some(shim) = shim {
        config["runtimes"] = json!({ "shim": { "path": shim, "runtimeArgs": ["runtime-shim"] } });
        config["default-runtime"] = json!("shim");
    }
    config
}

/// The capabilities a process may ever have.
#[derive(Debug, Clone, Copy)]
struct BoundingSet(u64);

impl BoundingSet {
    fn contains(self, capability: u32) -> bool {
        self.0 >> capability & 1 == 1
    }
}

fn bounding_set(status: &str) -> Result<BoundingSet> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .context("no CapBnd in the status")?;
    let bits = u64::from_str_radix(line.trim(), 16)
        .with_context(|| format!("CapBnd {line:?} is not hexadecimal"))?;
    Ok(BoundingSet(bits))
}

/// The MTU of the interface with the default route; larger packets of containers would be lost there.
fn default_mtu() -> u32 {
    let interface = std::fs::read_to_string("/proc/net/route")
        .ok()
        .and_then(|routes| default_interface(&routes));
    let mtu = interface.and_then(|name| std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok());
    mtu.and_then(|mtu| mtu.trim().parse().ok()).unwrap_or(1500)
}

fn default_interface(routes: &str) -> Option<String> {
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?;
        (fields.next()? == "00000000").then(|| name.to_owned())
    })
}

/// Removes `folder` with all it holds, if it is there.
pub fn remove_if_there(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {folder:?}"))
        }
        _ => Ok(()),
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_seen_in_the_bounding_set() {
        let status = "CapEff:\t000001ffffffffff\nCapBnd:\t000001fffeffffff\n";
        assert!(!bounding_set(status).unwrap().contains(CAP_SYS_RESOURCE));
        assert!(
            bounding_set(&status.replace("fffeff", "ffffff"))
                .unwrap()
                .contains(CAP_SYS_RESOURCE)
        );
        assert!(bounding_set("Name:\tx\n").is_err());
    }

    #[test]
    fn the_default_route_names_the_interface() {
        let routes = "Iface\tDestination\tGateway\ndocker0\t000011AC\t00000000\neth0\t00000000\t010200C0\n";
        assert_eq!(default_interface(routes).as_deref(), Some("eth0"));
        assert_eq!(default_interface("Iface\tDestination\n"), None);
    }

    #[test]
    fn the_shim_is_the_default_runtime_only_where_it_is_needed() {
        let (run, shim) = (Path::new("/run/x"), PathBuf::from("/run/x/runtime-shim"));
        let config = daemon_config(run, Path::new("/data"), Some(&shim), 1400);
        assert_eq!(config["default-runtime"], "shim");
        assert_eq!(config["runtimes"]["shim"]["path"], "/run/x/runtime-shim");
        let config = daemon_config(run, Path::new("/data"), None, 1400);
        assert!(config.get("default-runtime").is_none());
    }
}
