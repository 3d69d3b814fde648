//! Measurements against the bars of the design: the operator beside a bare client at a real API server, and the
//! broker's model proxy beside no proxy.
//!
//! `cargo xtask bench` starts the API server and this; nothing here fails because something was slow.

pub mod arrival;
pub mod audit;
pub mod bare;
pub mod bars;
pub mod cluster;
pub mod eyes;
pub mod figures;
pub mod kubelet;
pub mod life;
pub mod listing;
pub mod operator;
pub mod process;
pub mod proxy;
pub mod report;
pub mod size;
pub mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use self::arrival::Load;
use self::bare::Bare;
use self::operator::Launch;
use self::report::{Figures, Machine, Report, load};
use self::world::World;

/// What a run needs.
#[derive(Clone, Debug)]
pub struct Setting {
    /// A kubeconfig with full rights on an empty API server that serves the definitions of this checkout.
    pub kubeconfig: PathBuf,
    /// The log of that API server's requests.
    pub audit_log: PathBuf,
    /// The id of its process.
    pub api_server: u32,
    /// The operator's program.
    pub operator: PathBuf,
    /// Where the operator logs.
    pub operator_log: PathBuf,
    /// The program `bench-model-proxy`.
    pub model_proxy: PathBuf,
    /// The plugin's program.
    pub plugin: PathBuf,
}

/// How much is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    quick: bool,
    arrivals: usize,
    rates: [u32; 2],
    rounds: usize,
    lives: usize,
    ends: usize,
    sizes: Vec<usize>,
    idle: Duration,
    model_calls: usize,
    lists: usize,
}

impl Amount {
    /// What the design's bars ask for.
    #[must_use]
    pub fn full() -> Self {
        Self {
            quick: false,
            arrivals: 1_000,
            rates: [50, 200],
            rounds: 4,
            lives: 100,
            ends: 1_000,
            sizes: vec![0, 1_000, 5_000, 10_000],
            idle: Duration::from_mins(1),
            model_calls: 2_000,
            lists: 40,
        }
    }

    /// A tenth of that, for work on the measurements themselves.
    #[must_use]
    pub fn quick() -> Self {
        let full = Self::full();
        Self {
            quick: true,
            arrivals: full.arrivals / 10,
            rounds: 1,
            lives: full.lives / 10,
            ends: full.ends / 10,
            sizes: full.sizes.iter().map(|size| size / 10).collect(),
            idle: full.idle / 10,
            model_calls: full.model_calls / 10,
            lists: full.lists / 10,
            ..full
        }
    }
}

/// Measures everything; takes the API server as it is and leaves objects in it.
pub async fn run(setting: &Setting, amount: &Amount) -> Result<Report> {
    let started = Timestamp::now();
    let load_before = load();
    let launch = Launch {
        program: setting.operator.clone(),
        kubeconfig: setting.kubeconfig.clone(),
        log: setting.operator_log.clone(),
    };
    let (kubeconfig, audit) = (setting.kubeconfig.clone(), setting.audit_log.clone());
    let mut world = World::enter(kubeconfig, audit, setting.api_server, launch).await?;
    let figures = figures(&mut world, setting, amount).await?;
    Ok(Report {
        started,
        quick: amount.quick,
        machine: Machine {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load: [load_before, load()],
        },
        rows: bars::rows(&figures),
        figures,
    })
}

async fn figures(world: &mut World, setting: &Setting, amount: &Amount) -> Result<Figures> {
    world.say("the model proxy, beside no proxy");
    let proxy = proxy::measure(&setting.model_proxy, amount.model_calls);
    let proxy = proxy.await.context("failed to measure the model proxy")?;
    world.tell(&proxy);
    world.say("a model for the bare client, made by the operator");
    let bare = model(world).await?;
    world.say("arrivals: bare client and operator in turn");
    let loads = amount.rates.map(|rate| Load {
        polecats: amount.arrivals,
        rate,
    });
    let rounds = arrival::in_turn(world, &bare, &loads, amount.rounds).await?;
    world.say("whole lives");
    let lives = life::whole(world, amount.lives).await?;
    world.tell(&lives);
    world.say("pods that end at once");
    let ends = life::at_once(world, amount.ends).await?;
    world.tell(&ends);
    world.say("memory by the number of polecats");
    let operator = world.start_operator().await?;
    let sizes = size::grow(world, &operator, &amount.sizes).await?;
    operator.stop().await?;
    let most = amount.sizes.last().copied().unwrap_or(0);
    world.say("a start among them");
    let (operator, cold_start) = size::cold_start(world, most).await?;
    world.tell(&cold_start);
    world.say("idle among them");
    let idle = size::idle(world, &operator, most, amount.idle).await?;
    world.tell(&idle);
    operator.stop().await?;
    world.say("the plugin's list of them, beside the API server's own time and a client that only reads it");
    let lists = listing::measure(world, &setting.plugin, most, amount.lists);
    let lists = lists.await.context("failed to measure the plugin")?;
    Ok(Figures {
        pod_bytes: bare.pod_bytes(),
        rounds,
        lives,
        ends,
        sizes,
        cold_start,
        idle,
        lists,
        proxy,
    })
}

/// One polecat that the operator served, as the bare client's model.
async fn model(world: &World) -> Result<Bare> {
    let operator = world.start_operator().await?;
    let names = life::sling(world, "model", 1).await?;
    let name = names.first().context("one polecat was made")?;
    let bare = Bare::model(world.cluster.clone(), name).await?;
    operator.stop().await?;
    world.empty().await?;
    Ok(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_is_a_tenth_of_a_full_one() {
        let (quick, full) = (Amount::quick(), Amount::full());
        assert_eq!(quick.arrivals * 10, full.arrivals);
        assert_eq!(quick.sizes, [0, 100, 500, 1_000]);
        assert_eq!(quick.rates, full.rates);
    }
}
