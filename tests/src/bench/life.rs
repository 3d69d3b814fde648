//! A polecat's whole life: what it is written, and how long Done takes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use gastown_api::polecat::PolecatPhase;
use serde::Serialize;

use super::audit::{Request, Tally};
use super::cluster::{IN_FLIGHT, in_parallel, settle};
use super::figures::{Spread, count, spread};
use super::kubelet::{self, Stage};
use super::world::World;

/// What the operator asked the API server for in whole lives.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lives {
    /// How many polecats lived.
    pub polecats: usize,
    /// Writes from creation to Done that the bar counts, the mean.
    pub writes: f64,
    /// All requests of all lives.
    pub requests: Tally,
}

/// Lets polecats live from creation to Done, with every step that a kubelet reports.
pub async fn whole(world: &mut World, polecats: usize) -> Result<Lives> {
    let operator = world.start_operator().await?;
    world.audit.read()?;
    let names = sling(world, "life", polecats).await?;
    for stage in Stage::LIFE {
        let cluster = &world.cluster;
        in_parallel(names.clone(), |name| async move {
            kubelet::report(cluster, &name, stage).await
        })
        .await?;
        // The kubelet's reports of one pod are seconds apart.
        settle().await;
    }
    done(world, &names).await?;
    settle().await;
    settle().await;
    let requests = world.audit.read()?;
    let foreign: Vec<&Request> = requests.iter().filter(|request| !request.own).collect();
    let writes = foreign.iter().filter(|request| request.counts()).count();
    let lives = Lives {
        polecats,
        writes: count(writes) / count(polecats),
        requests: foreign.into_iter().collect(),
    };
    operator.stop().await?;
    world.empty().await?;
    Ok(lives)
}

/// How long Done took when many pods ended at once.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ends {
    /// From the answer to the kubelet's report of the end until a watch shows Done.
    pub ended_to_done: Spread,
    /// Seconds that the reports took, sent as fast as the API server took them.
    pub reports: f64,
    /// Seconds from the first report until all are Done.
    pub all_done: f64,
    /// Seconds of processor time of the API server and of the operator meanwhile.
    pub api_server_cpu: f64,
    /// Likewise.
    pub operator_cpu: f64,
    /// What the operator asked for meanwhile.
    pub requests: Tally,
}

/// Ends the pods of many polecats at once.
pub async fn at_once(world: &mut World, polecats: usize) -> Result<Ends> {
    let operator = world.start_operator().await?;
    let names = sling(world, "end", polecats).await?;
    let cluster = world.cluster.clone();
    let running = |name: String| {
        let cluster = &cluster;
        async move { kubelet::report(cluster, &name, Stage::Running).await }
    };
    in_parallel(names.clone(), running).await?;
    settle().await;
    settle().await;
    world.audit.read()?;
    let process = operator.process()?;
    let (api_server_cpu, operator_cpu) = (world.api_server.cpu()?, process.cpu()?);
    let start = Instant::now();
    let end = |name: String| {
        let cluster = &cluster;
        async move {
            kubelet::report(cluster, &name, Stage::Ended).await?;
            anyhow::Ok((name, Instant::now()))
        }
    };
    let ended: Vec<(String, Instant)> = stream::iter(names.clone())
        .map(end)
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await?;
    let reports = start.elapsed();
    done(world, &names).await?;
    let api_server_cpu = world.api_server.cpu()? - api_server_cpu;
    let operator_cpu = process.cpu()? - operator_cpu;
    settle().await;
    settle().await;
    let requests = world.audit.read()?;
    let (times, last) = world.eyes.look(|seen| {
        let done = |name: &String| seen.phase(name, PolecatPhase::Done);
        let times = ended
            .iter()
            .filter_map(|(name, at)| Some(done(name)?.saturating_duration_since(*at)));
        (times.collect::<Vec<_>>(), names.iter().filter_map(done).max())
    });
    let ends = Ends {
        ended_to_done: spread(times).context("no polecat was Done")?,
        reports: reports.as_secs_f64(),
        all_done: last
            .context("no polecat was Done")?
            .duration_since(start)
            .as_secs_f64(),
        api_server_cpu,
        operator_cpu,
        requests: requests.iter().filter(|request| !request.own).collect(),
    };
    operator.stop().await?;
    world.empty().await?;
    Ok(ends)
}

/// Creates polecats as fast as the API server takes them, and waits until they work.
pub async fn sling(world: &World, prefix: &str, polecats: usize) -> Result<Vec<String>> {
    let names: Vec<String> = (0..polecats)
        .map(|number| format!("{prefix}-{number:05}"))
        .collect();
    let cluster = &world.cluster;
    in_parallel(names.clone(), |name| async move {
        cluster.sling(&name).await?;
        Ok(())
    })
    .await?;
    world
        .eyes
        .wait(
            "the phase Working of each polecat",
            Duration::from_mins(10),
            |seen| {
                let working = |name: &String| seen.phase(name, PolecatPhase::Working).is_some();
                seen.pods.len() >= names.len() && names.iter().all(working)
            },
        )
        .await?;
    Ok(names)
}

async fn done(world: &World, names: &[String]) -> Result<()> {
    let limit = Duration::from_mins(3);
    world
        .eyes
        .wait("the phase Done of each polecat", limit, |seen| {
            names
                .iter()
                .all(|name| seen.phase(name, PolecatPhase::Done).is_some())
        })
        .await
}
