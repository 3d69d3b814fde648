//! etcd and kube-apiserver as processes of the host: a cluster without nodes that is up in seconds.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::daemon::Daemon;
use super::pki::Pki;
use super::state;
use crate::process::Command;
use crate::tools::{self, Tool};
use crate::{progress, workspace};

/// What runs beside etcd and the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options {
    /// kube-controller-manager: garbage collection, namespaces that end, default service accounts.
    pub controller_manager: bool,
}

/// Which `api` tier of this checkout: each has its own folder and ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site(&'static str);

impl Site {
    /// The one that people and benchmarks use.
    pub const SHARED: Self = Self("api");

    /// The one of a test suite.
    pub const fn of_suite(folder: &'static str) -> Self {
        Self(folder)
    }

    /// The folder with everything of it.
    fn folder(self) -> PathBuf {
        state::folder().join(self.0)
    }

    /// Where its kubeconfig is.
    pub fn kubeconfig(self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    fn lock(self) -> Result<fs_err::File> {
        fs_err::create_dir_all(state::folder())?;
        workspace::lock(&state::folder().join(format!("{}.lock", self.0)))
    }
}

/// An `api` tier that is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiTier {
    /// A kubeconfig with full rights.
    pub kubeconfig: PathBuf,
    /// The API server's log of requests, as JSON lines.
    pub audit_log: PathBuf,
    /// The address of the API server, such as `https://127.0.0.1:6443`.
    pub server: String,
    options: Options,
    recipe: String,
    processes: Vec<(String, Daemon)>,
}

impl ApiTier {
    /// `kubectl`, speaking with this API server.
    pub fn kubectl(&self) -> Result<Command> {
        let [kubectl] = tools::ensure([Tool::Kubectl])?;
        Ok(Command::new(kubectl).arg("--kubeconfig").arg(&self.kubeconfig))
    }

    /// The process id of kube-apiserver, whose CPU time benchmarks read.
    pub fn api_server_pid(&self) -> Option<i32> {
        self.processes
            .iter()
            .find(|(name, _)| name == API_SERVER)
            .map(|(_, daemon)| daemon.pid)
    }

    /// The name and process id of each process that still runs.
    pub fn running(&self) -> Vec<(&str, i32)> {
        let alive = self.processes.iter().filter(|(_, daemon)| daemon.is_alive());
        alive.map(|(name, daemon)| (name.as_str(), daemon.pid)).collect()
    }

    fn is_ready(&self) -> Result<bool> {
        Ok(self.running().len() == self.processes.len() && self.answers()?)
    }

    fn answers(&self) -> Result<bool> {
        Ok(self
            .kubectl()?
            .args(["--request-timeout=20s", "get", "--raw=/readyz"])
            .succeeds())
    }
}

const API_SERVER: &str = "kube-apiserver";

/// The `api` tier of this checkout, brought up empty if it is not up with these `options`.
pub fn ensure_up(site: Site, options: Options) -> Result<ApiTier> {
    let _alone = site.lock()?;
    let recipe = tools::key(&[
        tools::Module::Kubernetes.key()?,
        fs_err::read_to_string(audit_policy())?,
    ]);
    if let Some(tier) = remembered(site)?
        && tier.options == options
        && tier.recipe == recipe
        && tier.is_ready()?
    {
        return Ok(tier);
    }
    stop(site)?;
    // Built before the step, so that its time is that of the start alone.
    tools::ensure([
        Tool::Etcd,
        Tool::KubeApiserver,
        Tool::KubeControllerManager,
        Tool::Kubectl,
    ])?;
    progress::step("start etcd and the API server", || start(site, options, recipe))
}

/// Ends the `api` tier and removes its data.
pub fn down(site: Site) -> Result<()> {
    let _alone = site.lock()?;
    stop(site)
}

/// The `api` tier that this checkout started last, without a look at whether it answers.
pub fn remembered(site: Site) -> Result<Option<ApiTier>> {
    match std::fs::read(site.folder().join("state.json")) {
        Ok(json) => serde_json::from_slice(&json)
            .context("state.json is no state of the api tier")
            .map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("failed to read the state of the api tier"),
    }
}

fn stop(site: Site) -> Result<()> {
    if let Some(tier) = remembered(site)? {
        // The API server first: without etcd it would log errors for as long as it lives. What it holds is
        // thrown away, so nothing is asked to end in good order.
        for (_, daemon) in tier.processes.iter().rev() {
            daemon.kill()?;
        }
    }
    if site.folder().exists() {
        fs_err::remove_dir_all(site.folder())?;
    }
    Ok(())
}

fn start(site: Site, options: Options, recipe: String) -> Result<ApiTier> {
    let folder = site.folder();
    let pki = Pki::create(&folder.join("pki"))?;
    let [client, peer, secure] = free_ports()?;
    let etcd = format!("http://127.0.0.1:{client}");
    let server = format!("https://127.0.0.1:{secure}");
    fs_err::write(site.kubeconfig(), pki.kubeconfig(&server))?;
    let audit_log = folder.join("audit.log");
    let mut tier = ApiTier {
        kubeconfig: site.kubeconfig(),
        audit_log,
        server,
        options,
        recipe,
        processes: Vec::new(),
    };
    spawn(
        site,
        &mut tier,
        "etcd",
        etcd_command(&folder, &etcd, &format!("http://127.0.0.1:{peer}"))?,
    )?;
    let api_server = api_server_command(&pki, &etcd, secure, &tier)?;
    spawn(site, &mut tier, API_SERVER, api_server)?;
    let limit = Duration::from_mins(1);
    progress::wait_until(
        "the API server's readiness",
        limit,
        Duration::from_millis(250),
        || {
            ensure!(
                tier.running().len() == tier.processes.len(),
                "a process ended; see the logs in {folder:?}"
            );
            tier.answers()
        },
    )?;
    if options.controller_manager {
        let controller_manager = controller_manager_command(&pki, &tier)?;
        spawn(site, &mut tier, "kube-controller-manager", controller_manager)?;
        progress::wait_until(
            "the default service account",
            limit,
            Duration::from_millis(250),
            || {
                Ok(tier
                    .kubectl()?
                    .args(["get", "serviceaccount", "default"])
                    .succeeds())
            },
        )?;
    }
    Ok(tier)
}

/// Starts a process and remembers it at once, so that a run that is killed next leaves nothing unknown.
fn spawn(site: Site, tier: &mut ApiTier, name: &str, command: Command) -> Result<()> {
    let folder = site.folder();
    let daemon = Daemon::start(command, &folder.join(format!("{name}.log")))?;
    tier.processes.push((name.to_owned(), daemon));
    workspace::write_whole(&folder.join("state.json"), &serde_json::to_vec_pretty(tier)?)
}

fn etcd_command(folder: &Path, client: &str, peer: &str) -> Result<Command> {
    let [etcd] = tools::ensure([Tool::Etcd])?;
    Ok(Command::new(etcd)
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        // The data is thrown away at the next start.
        .arg("--unsafe-no-fsync"))
}

fn audit_policy() -> PathBuf {
    workspace::root().join("tests/cluster/node/root/kind/audit-policy.yaml")
}

fn api_server_command(pki: &Pki, etcd: &str, port: u16, tier: &ApiTier) -> Result<Command> {
    let [api_server] = tools::ensure([Tool::KubeApiserver])?;
    let file = |flag: &str, path: PathBuf| format!("--{flag}={}", path.display());
    let command = Command::new(api_server)
        .args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--authorization-mode=RBAC",
        ])
        .args([
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
        ])
        .args(["--service-account-issuer=https://kubernetes.default.svc"])
        // As in tests/cluster/kind.yaml.
        .args(["--feature-gates=MutatingAdmissionPolicy=true"])
        .args(["--runtime-config=admissionregistration.k8s.io/v1beta1=true"])
        .args([format!("--etcd-servers={etcd}"), format!("--secure-port={port}")])
        .arg(file("client-ca-file", pki.authority()))
        .arg(file("tls-cert-file", pki.certificate("server")))
        .arg(file("tls-private-key-file", pki.key("server")))
        .arg(file("service-account-key-file", pki.public_key("accounts")))
        .arg(file("service-account-signing-key-file", pki.key("accounts")))
        .arg(file("audit-policy-file", audit_policy()))
        .arg(file("audit-log-path", tier.audit_log.clone()));
    // Without the controller that makes them, no namespace has the account that this plugin asks for.
    let disabled = "--disable-admission-plugins=ServiceAccount";
    Ok(if tier.options.controller_manager {
        command
    } else {
        command.arg(disabled)
    })
}

fn controller_manager_command(pki: &Pki, tier: &ApiTier) -> Result<Command> {
    let [controller_manager] = tools::ensure([Tool::KubeControllerManager])?;
    Ok(Command::new(controller_manager)
        .args([
            "--bind-address=127.0.0.1",
            "--secure-port=0",
            "--leader-elect=false",
        ])
        .arg("--use-service-account-credentials=false")
        .arg(format!("--kubeconfig={}", tier.kubeconfig.display()))
        .arg(format!(
            "--service-account-private-key-file={}",
            pki.key("accounts").display()
        ))
        .arg(format!("--root-ca-file={}", pki.authority().display())))
}

/// Ports of the loopback that nothing listens on now, each another.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All are held until all are chosen, else two could be the same.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port of the loopback is free")?;
        *port = listener.local_addr().context("a listener has an address")?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let [one, two] = free_ports().unwrap();
        assert!(one != 0 && one != two);
    }
}
