//! A real Kubernetes cluster on any machine, from package registries alone.
//!
//! Two tiers: `kind` is the whole thing in Docker, `api` only etcd and the API server as processes of the host.
//! What was built is kept in the machine's cache; what runs is remembered in `target/cluster` of the checkout.

pub mod api_tier;
mod daemon;
mod engine;
mod kind;
mod node_image;
mod pki;
mod registry;
mod state;
mod status;

use anyhow::{Context as _, Result};
use clap::{Subcommand, ValueEnum};

use self::api_tier::Options;
pub use self::engine::runtime_shim;
pub use self::kind::{Cluster, down, ensure_up, load_into, remembered};
pub use self::state::Site;
use crate::machine;
use crate::tools::{self, Tool};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the cluster up; returns at once when it is up.
    Up(Up),
    /// Remove the cluster, and the Docker engine if it is ours and nothing else uses it.
    Down(Down),
    /// Show what runs: engine, cluster, versions, ages.
    Status,
    /// Print the path of the kubeconfig.
    Kubeconfig(Kubeconfig),
}

#[derive(Debug, clap::Args)]
struct Up {
    #[arg(long, value_enum, default_value_t = Tier::Kind)]
    tier: Tier,
    /// Run kube-controller-manager too, for garbage collection and namespaces that end (tier api).
    #[arg(long)]
    controller_manager: bool,
    /// Use the current context of the kubeconfig instead of a cluster of our own.
    #[arg(long, requires = "registry")]
    use_current: bool,
    /// Where that cluster pulls images from, as HOST/PATH; images are pushed there.
    #[arg(long, requires = "use_current", value_name = "HOST/PATH")]
    registry: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Down {
    #[arg(long, value_enum, default_value_t = Tier::Kind)]
    tier: Tier,
    /// Remove the kind clusters of every checkout on this machine.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct Kubeconfig {
    #[arg(long, value_enum, default_value_t = Tier::Kind)]
    tier: Tier,
}

/// How much of a cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// A whole cluster in Docker.
    Kind,
    /// etcd and the API server on the host.
    Api,
}

/// Carries out `cargo xtask cluster …`.
pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Up(up) => bring_up(up),
        Command::Down(down) => match down.tier {
            Tier::Kind => kind::down(down.all),
            Tier::Api => api_tier::down(api_tier::Site::SHARED),
        },
        Command::Status => status::show(),
        Command::Kubeconfig(Kubeconfig { tier }) => {
            let file = match tier {
                Tier::Kind => Site::Shared.kubeconfig(),
                Tier::Api => api_tier::Site::SHARED.kubeconfig(),
            };
            println!("{}", file.display());
            Ok(())
        }
    }
}

fn bring_up(up: Up) -> Result<()> {
    let kubeconfig = match (up.tier, up.registry) {
        (Tier::Api, _) => {
            api_tier::ensure_up(
                api_tier::Site::SHARED,
                Options {
                    controller_manager: up.controller_manager,
                },
            )?
            .kubeconfig
        }
        (Tier::Kind, Some(registry)) => kind::use_current(&registry)?.kubeconfig,
        (Tier::Kind, None) => ensure_up(Site::Shared)?.kubeconfig,
    };
    println!("export KUBECONFIG={}", kubeconfig.display());
    if let Some(folders) = tools_off_the_path()? {
        println!("export PATH=\"{folders}:$PATH\"");
    }
    Ok(())
}

/// The folders of our kubectl and helm, of those that the machine does not have; none: it has both.
fn tools_off_the_path() -> Result<Option<String>> {
    let of_the_machine = |name: &str| machine::find(name).is_some();
    let missing = [("kubectl", Tool::Kubectl), ("helm", Tool::Helm)]
        .into_iter()
        .filter(|(name, _)| !of_the_machine(name));
    let mut folders = Vec::new();
    for (_, tool) in missing {
        let [program] = tools::ensure([tool])?;
        let folder = program.parent().context("a program is in a folder")?;
        folders.push(folder.display().to_string());
    }
    folders.dedup();
    Ok((!folders.is_empty()).then(|| folders.join(":")))
}
