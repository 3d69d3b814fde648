//! From a polecat's creation to its pod, with polecats that arrive whether or not the last one has been served.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use gastown_api::pod::pod_name;
use gastown_api::polecat::PolecatPhase;
use serde::Serialize;
use tokio::task::JoinSet;

use super::audit::{Request, Tally, writes_until_pod};
use super::bare::Bare;
use super::figures::{Spread, count, spread};
use super::operator::{Observed, Operator};
use super::world::World;

/// Who gives the polecats their pods.
pub enum Server<'a> {
    /// A client that writes the same and does nothing else, as soon as it has made the polecat itself.
    Bare(&'a Bare),
    /// The same client, which learns of polecats by watch, as a controller does.
    Watching(&'a Bare),
    /// The operator.
    Operator(&'a Operator),
}

/// How many polecats arrive, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many.
    pub polecats: usize,
    /// How many a second.
    pub rate: u32,
}

/// What one round showed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// `bare`, `watching` or `operator`.
    pub server: &'static str,
    /// How many polecats arrived a second.
    pub rate: u32,
    /// From the answer to the creation of a polecat until a watch shows its pod.
    pub created_to_pod: Spread,
    /// From the answer to the creation of a polecat until a watch shows it: no server can begin before one does.
    pub created_to_seen: Spread,
    /// From when the polecat was to arrive until a watch shows its pod.
    pub due_to_pod: Spread,
    /// Seconds from the first arrival until all have pods.
    pub all_have_pods: f64,
    /// Seconds from the first arrival until all are Working.
    pub all_working: f64,
    /// Seconds of processor time of the API server for a thousand polecats until all are Working.
    pub api_server_cpu: f64,
    /// Seconds of processor time of the operator for a thousand polecats, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_cpu: Option<f64>,
    /// What the API server was asked for besides the creations and this program's watches.
    pub requests: Tally,
    /// Writes of each polecat until its pod existed: the mean and the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes_until_pod: Option<(f64, usize)>,
    /// Where the operator's time went.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Each polecat's time from created to pod.
    #[serde(skip)]
    pub times: Vec<Duration>,
}

/// A part of the operator's way from a polecat to its pod.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Which one.
    pub name: &'static str,
    /// How long it took.
    #[serde(flatten)]
    pub took: Observed,
}

/// The parts of the operator's way, by the operator's own metrics: a watch delivers a polecat, it waits to be reconciled,
/// it is claimed, its pod is created.
async fn parts(operator: &Operator) -> Result<Vec<Part>> {
    let metrics = [
        (
            "queue",
            "gastown_queue_duration_seconds",
            &["kind=\"Polecat\""][..],
        ),
        (
            "claim",
            "gastown_act_duration_seconds",
            &["kind=\"Polecat\"", "act=\"Claim\""],
        ),
        (
            "post",
            "gastown_act_duration_seconds",
            &["kind=\"Polecat\"", "act=\"CreatePod\""],
        ),
    ];
    let mut parts = Vec::new();
    for (name, metric, labels) in metrics {
        let took = operator.histogram(metric, labels).await?;
        parts.extend(took.map(|took| Part { name, took }));
    }
    Ok(parts)
}

#[derive(Clone, Copy)]
struct Arrived {
    due: Instant,
    created: Instant,
}

/// Lets polecats arrive, and waits until all are Working.
pub async fn measure(world: &mut World, prefix: &str, load: Load, server: Server<'_>) -> Result<Round> {
    world.audit.read()?;
    let names: Vec<String> = (0..load.polecats)
        .map(|number| format!("{prefix}-{number:05}"))
        .collect();
    let api_server = world.api_server.cpu()?;
    let operator = operator_cpu(&server)?;
    let watching = match server {
        Server::Watching(bare) => Some(bare.watch().await?),
        Server::Bare(_) | Server::Operator(_) => None,
    };
    let start = Instant::now();
    let arrived = arrive(world, &names, load.rate, start, &server).await?;
    let limit = Duration::from_mins(3);
    world
        .eyes
        .wait("a pod and the phase Working of each polecat", limit, |seen| {
            let working = |name: &String| seen.phase(name, PolecatPhase::Working).is_some();
            seen.pods.len() >= names.len() && names.iter().all(working)
        })
        .await?;
    let api_server = world.api_server.cpu()? - api_server;
    let operator = operator_cpu(&server)?.zip(operator).map(|(now, then)| now - then);
    if let Some(watching) = watching {
        watching.stop().await?;
    }
    let parts = match server {
        Server::Operator(operator) => parts(operator).await?,
        Server::Bare(_) | Server::Watching(_) => Vec::new(),
    };
    super::cluster::settle().await;
    let requests = world.audit.read()?;
    let thousands = count(load.polecats) / 1000.0;
    let seen = see(world, &names, &arrived)?;
    Ok(Round {
        server: match server {
            Server::Bare(_) => "bare",
            Server::Watching(_) => "watching",
            Server::Operator(_) => "operator",
        },
        rate: load.rate,
        created_to_pod: spread(seen.created_to_pod.clone()).context("no polecat arrived")?,
        created_to_seen: spread(seen.created_to_seen).context("no polecat arrived")?,
        due_to_pod: spread(seen.due_to_pod).context("no polecat arrived")?,
        all_have_pods: seen.last_pod.duration_since(start).as_secs_f64(),
        all_working: seen.last_working.duration_since(start).as_secs_f64(),
        api_server_cpu: api_server / thousands,
        operator_cpu: operator.map(|used| used / thousands),
        requests: requests.iter().filter(|request| served(request)).collect(),
        parts,
        writes_until_pod: operator.and_then(|_| until_pod(&requests, &names)),
        times: seen.created_to_pod,
    })
}

/// Everything but the polecats' creation, which is no server's doing.
fn served(request: &Request) -> bool {
    !(request.verb == "create" && request.resource == "polecats")
}

fn operator_cpu(server: &Server<'_>) -> Result<Option<f64>> {
    match server {
        Server::Bare(_) | Server::Watching(_) => Ok(None),
        Server::Operator(operator) => operator.process()?.cpu().map(Some),
    }
}

async fn arrive(
    world: &World,
    names: &[String],
    rate: u32,
    start: Instant,
    server: &Server<'_>,
) -> Result<HashMap<String, Arrived>> {
    let mut under_way: JoinSet<Result<(String, Arrived)>> = JoinSet::new();
    for (number, name) in (0_u32..).zip(names) {
        let due = start + Duration::from_secs(1) * number / rate;
        tokio::time::sleep_until(due.into()).await;
        let (cluster, name) = (world.cluster.clone(), name.clone());
        let bare = match server {
            Server::Bare(bare) => Some((*bare).clone()),
            Server::Watching(_) | Server::Operator(_) => None,
        };
        under_way.spawn(async move {
            let answer = cluster.sling(&name).await?;
            let created = Instant::now();
            if let Some(bare) = bare {
                bare.serve(&answer).await?;
            }
            Ok((name, Arrived { due, created }))
        });
    }
    let mut arrived = HashMap::new();
    while let Some(one) = under_way.join_next().await {
        let (name, times) = one.context("an arrival was interrupted")??;
        arrived.insert(name, times);
    }
    Ok(arrived)
}

struct Observation {
    created_to_pod: Vec<Duration>,
    created_to_seen: Vec<Duration>,
    due_to_pod: Vec<Duration>,
    last_pod: Instant,
    last_working: Instant,
}

fn see(world: &World, names: &[String], arrived: &HashMap<String, Arrived>) -> Result<Observation> {
    world.eyes.look(|seen| {
        let mut pods = Vec::new();
        let mut working = Vec::new();
        let mut sight = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let times = arrived
                .get(name)
                .with_context(|| format!("polecat {name:?} did not arrive"))?;
            let pod = *seen
                .pods
                .get(&pod_name(name))
                .with_context(|| format!("polecat {name:?} has no pod"))?;
            // The pod can be seen before the answer to the polecat's creation is.
            sight.0.push(pod.saturating_duration_since(times.created));
            sight.1.push(pod.saturating_duration_since(times.due));
            let polecat = seen.polecats.get(name);
            sight
                .2
                .extend(polecat.map(|seen| seen.saturating_duration_since(times.created)));
            pods.push(pod);
            working.extend(seen.phase(name, PolecatPhase::Working));
        }
        Ok(Observation {
            created_to_pod: sight.0,
            created_to_seen: sight.2,
            due_to_pod: sight.1,
            last_pod: pods.into_iter().max().context("no polecat arrived")?,
            last_working: working.into_iter().max().context("no polecat is Working")?,
        })
    })
}

fn until_pod(requests: &[Request], names: &[String]) -> Option<(f64, usize)> {
    let foreign: Vec<Request> = requests.iter().filter(|request| !request.own).cloned().collect();
    let mut of_polecat: HashMap<&str, Vec<Request>> = HashMap::new();
    for request in &foreign {
        if let Some(name) = request.polecat() {
            of_polecat.entry(name).or_default().push(request.clone());
        }
    }
    let writes: Vec<usize> = names
        .iter()
        .filter_map(|name| writes_until_pod(of_polecat.get(name.as_str())?, name))
        .collect();
    let most = *writes.iter().max()?;
    Some((count(writes.iter().sum()) / count(writes.len()), most))
}

/// The rounds of one rate, put together.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Together {
    /// From created to pod, over the polecats of all rounds.
    pub created_to_pod: Spread,
    /// Seconds until all have pods, the mean of the rounds.
    pub all_have_pods: f64,
    /// Seconds of processor time of the API server for a thousand polecats, the mean of the rounds.
    pub api_server_cpu: f64,
}

/// Puts the rounds of `server` at `rate` together; none where there was no such round.
#[must_use]
pub fn together(rounds: &[Round], server: &str, rate: u32) -> Option<Together> {
    let of_it: Vec<_> = rounds
        .iter()
        .filter(|round| round.server == server && round.rate == rate)
        .collect();
    let mean = |value: fn(&Round) -> f64| {
        super::figures::mean(&of_it.iter().map(|round| value(round)).collect::<Vec<_>>())
    };
    Some(Together {
        created_to_pod: spread(of_it.iter().flat_map(|round| round.times.clone()).collect())?,
        all_have_pods: mean(|round| round.all_have_pods),
        api_server_cpu: mean(|round| round.api_server_cpu),
    })
}

/// Several rounds of each server, forth and back in turn, so that what else the machine does, and what a round leaves
/// behind for the next one, meets all of them.
pub async fn in_turn(world: &mut World, bare: &Bare, loads: &[Load], rounds: usize) -> Result<Vec<Round>> {
    let mut results = Vec::new();
    let bare = Arc::new(bare.clone());
    for load in loads {
        for round in 0..rounds {
            let mut order = ["bare", "watching", "operator"];
            if round % 2 == 1 {
                order.reverse();
            }
            for server in order {
                let prefix = format!("{server}-{}-{round}", load.rate);
                let round = match server {
                    "bare" => measure(world, &prefix, *load, Server::Bare(&bare)).await?,
                    "watching" => measure(world, &prefix, *load, Server::Watching(&bare)).await?,
                    _ => by_the_operator(world, &prefix, *load).await?,
                };
                world.tell(&round);
                results.push(round);
                world.empty().await?;
            }
        }
    }
    Ok(results)
}

/// An operator that starts with nothing to do, and ends with the round.
async fn by_the_operator(world: &mut World, prefix: &str, load: Load) -> Result<Round> {
    let operator = world.start_operator().await?;
    let round = measure(world, prefix, load, Server::Operator(&operator)).await?;
    operator.stop().await?;
    Ok(round)
}
