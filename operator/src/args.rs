//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The version with the edition and its cryptographic module, which passes its self-test before this is printed.
static VERSION: LazyLock<String> = LazyLock::new(|| gastown_crypto::version(env!("CARGO_PKG_VERSION")));

/// Runs Polecats as pods.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "gastown-operator", version = VERSION.as_str())]
pub struct Args {
    /// The image of broker, keeper and git-init, and of the agent where the polecat names none: by digest
    #[arg(long, value_name = "IMAGE", env = "GASTOWN_AGENT_IMAGE")]
    pub agent_image: String,

    /// The configuration (YAML); the chart mounts it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// A folder with .dockerconfigjson and ca.crt for registries that are asked for signatures; the chart mounts it
    #[arg(long, value_name = "FOLDER")]
    pub registry_secret: Option<PathBuf>,

    /// A folder with Sigstore bundles of images that no registry can be asked about; the chart mounts it
    #[arg(long, value_name = "FOLDER")]
    pub image_bundles: Option<PathBuf>,

    /// The namespaces whose polecats are run; all when not given
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// The namespace of the Lease that replicas elect their leader with
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub leader_election_namespace: String,

    /// The name of that Lease
    #[arg(long, value_name = "NAME", default_value = "gastown-operator")]
    pub lease_name: String,

    /// This replica's name in the Lease
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value_t = host_and_process())]
    pub identity: String,

    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
}

/// A name that no other process has, for use outside a pod, where there is no pod name.
fn host_and_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}
