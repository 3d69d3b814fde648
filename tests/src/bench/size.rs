//! What the operator costs by how many polecats there are: memory, processor time, start, idleness.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::audit::{Request, Tally};
use super::cluster::settle;
use super::figures::count;
use super::life::sling;
use super::operator::Operator;
use super::world::World;

/// The operator with a number of polecats and their pods.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// How many polecats there are, each with a pod.
    pub polecats: usize,
    /// Resident memory in bytes, a few seconds after all were Working.
    pub resident: u64,
    /// Seconds of processor time since it started.
    pub cpu: f64,
    /// Seconds from the first creation until all that were added since the last size were Working.
    pub seconds: f64,
}

/// The operator after a start among many polecats.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColdStart {
    /// How many polecats there are, each with a pod.
    pub polecats: usize,
    /// Seconds from the start of the process until every polecat has been reconciled.
    pub seconds: f64,
    /// Seconds until it said it was ready.
    pub ready: f64,
    /// Seconds of processor time until then.
    pub cpu: f64,
    /// Resident memory in bytes then.
    pub resident: u64,
    /// What it asked the API server for.
    pub requests: Tally,
}

/// The operator with nothing to do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// How many polecats there are, each with a pod.
    pub polecats: usize,
    /// For how long.
    pub seconds: f64,
    /// Requests that change something, without the Lease's.
    pub writes: usize,
    /// Requests that read, a second.
    pub reads_per_second: f64,
    /// All requests.
    pub requests: Tally,
    /// Seconds of processor time.
    pub cpu: f64,
    /// Resident memory in bytes at the end.
    pub resident: u64,
}

/// Adds polecats until each of `sizes`, in rising order, was there.
pub async fn grow(world: &World, operator: &Operator, sizes: &[usize]) -> Result<Vec<Size>> {
    let process = operator.process()?;
    let mut there = 0;
    let mut measured = Vec::new();
    for size in sizes {
        let start = Instant::now();
        sling(world, &format!("size{size}"), size - there).await?;
        let seconds = start.elapsed().as_secs_f64();
        there = *size;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = Size {
            polecats: there,
            resident: process.resident()?,
            cpu: process.cpu()?,
            seconds,
        };
        world.tell(now);
        measured.push(now);
    }
    Ok(measured)
}

/// Starts the operator among `polecats` and waits until it has reconciled them all.
pub async fn cold_start(world: &mut World, polecats: usize) -> Result<(Operator, ColdStart)> {
    world.audit.read()?;
    let mut operator = Operator::start(&world.launch)?;
    operator.ready().await?;
    let ready = operator.started.elapsed();
    let seconds = reconciled(&operator, polecats).await?.as_secs_f64();
    let process = operator.process()?;
    let (cpu, resident) = (process.cpu()?, process.resident()?);
    settle().await;
    let requests = world.audit.read()?;
    let start = ColdStart {
        polecats,
        seconds,
        ready: ready.as_secs_f64(),
        cpu,
        resident,
        requests: requests.iter().filter(|request| !request.own).collect(),
    };
    Ok((operator, start))
}

/// The operator's count of reconciliations, and its label of those of polecats.
const RECONCILES: &str = "gastown_reconcile_total";
const POLECAT: &str = r#"kind="Polecat""#;

/// When the operator came to rest after at least as many reconciliations as there are polecats, since its start.
///
/// A polecat may be reconciled twice, so the number alone does not say that all have been.
async fn reconciled(operator: &Operator, polecats: usize) -> Result<Duration> {
    let (mut number, mut since) = (0.0, operator.started.elapsed());
    loop {
        let now = operator.metric(RECONCILES, POLECAT).await?;
        if now > number {
            (number, since) = (now, operator.started.elapsed());
        }
        let rests = operator.started.elapsed() > since + Duration::from_secs(1);
        if rests && number >= count(polecats) {
            return Ok(since);
        }
        ensure!(
            operator.started.elapsed() < Duration::from_mins(2),
            "the operator reconciled {number} times within 120 s of its start, for {polecats} polecats"
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Leaves the operator alone for `time`.
pub async fn idle(world: &mut World, operator: &Operator, polecats: usize, time: Duration) -> Result<Idle> {
    // What the start or the last change still moves has time to come to rest.
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.audit.read()?;
    let process = operator.process()?;
    let cpu = process.cpu()?;
    tokio::time::sleep(time).await;
    let requests = world.audit.read()?;
    let foreign: Vec<&Request> = requests.iter().filter(|request| !request.own).collect();
    let writes = |request: &&&Request| request.writes() && request.resource != "leases";
    let reads = foreign.iter().filter(|request| !request.writes()).count();
    Ok(Idle {
        polecats,
        seconds: time.as_secs_f64(),
        writes: foreign.iter().filter(writes).count(),
        reads_per_second: count(reads) / time.as_secs_f64(),
        requests: foreign.into_iter().collect(),
        cpu: process.cpu()? - cpu,
        resident: process.resident()?,
    })
}
