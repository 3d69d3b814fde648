//! The operator as a process of this machine.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::process::Process;

/// How the operator is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its program.
    pub program: PathBuf,
    /// The API server.
    pub kubeconfig: PathBuf,
    /// Where it logs.
    pub log: PathBuf,
}

/// A running operator; it is killed when this is dropped.
pub struct Operator {
    child: Child,
    listen: SocketAddr,
    log: PathBuf,
    /// When it was started.
    pub started: Instant,
}

/// The digest of nothing that exists: no kubelet runs here that would pull it.
const AGENT_IMAGE: &str = "registry.example.com/polecat-agent@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

impl Operator {
    /// Starts it without waiting for anything.
    pub fn start(launch: &Launch) -> Result<Self> {
        let listen = free_port()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(&launch.log)
            .with_context(|| format!("failed to open the operator's log {:?}", launch.log.display()))?;
        let errors = log.try_clone().context("failed to share the operator's log")?;
        let child = Command::new(&launch.program)
            .args(["--agent-image", AGENT_IMAGE])
            .args(["--leader-election-namespace", "default"])
            .args(["--listen", &listen.to_string()])
            .env("KUBECONFIG", &launch.kubeconfig)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {:?}", launch.program.display()))?;
        Ok(Self {
            child,
            listen,
            log: launch.log.clone(),
            started: Instant::now(),
        })
    }

    /// Waits until it leads and its caches are filled.
    pub async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(status) = self.child.try_wait().context("failed to look at the operator")? {
                bail!("the operator ended with {status}; see {:?}", self.log.display());
            }
            // A replica that stands by is ready too.
            let ready = self.get("/readyz").await;
            if ready.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
                && self.metric("gastown_leading", "").await? > 0.0
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the operator was not ready within 60 s; see {:?}",
                self.log.display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its process.
    pub fn process(&self) -> Result<Process> {
        let id = self.child.id().context("the operator has ended")?;
        Ok(Process { id })
    }

    /// The sum of the metric `name` over all labels that contain `label`; 0 where there is none.
    pub async fn metric(&self, name: &str, label: &str) -> Result<f64> {
        Ok(sum(&self.get("/metrics").await?, name, label))
    }

    /// The histogram `name` over all labels that contain each of `labels`; none where nothing was observed.
    pub async fn histogram(&self, name: &str, labels: &[&str]) -> Result<Option<Observed>> {
        Ok(observed(&self.get("/metrics").await?, name, labels))
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        let id = self.process()?.id;
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process id is positive")?, Signal::TERM)
            .context("failed to ask the operator to end")?;
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        let status = ended.context("the operator did not end within 20 s")??;
        ensure!(
            status.success(),
            "the operator ended with {status}; see {:?}",
            self.log.display()
        );
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.listen)
            .await
            .context("failed to connect")?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: operator\r\nconnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .context("failed to ask")?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .context("failed to read")?;
        Ok(answer)
    }
}

fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port of the loopback is free")?;
    listener.local_addr().context("a listener has an address")
}

fn sum(metrics: &str, name: &str, label: &str) -> f64 {
    let of_name = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let values = of_name.filter_map(|rest| match rest.strip_prefix('{') {
        Some(labelled) => {
            let (labels, value) = labelled.split_once('}')?;
            labels.contains(label).then_some(value)
        }
        None => rest.starts_with(' ').then_some(rest).filter(|_| label.is_empty()),
    });
    values.filter_map(|value| value.trim().parse::<f64>().ok()).sum()
}

/// The histogram of one metric, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// How many were observed.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// Half took at most this: the bound of a bucket.
    pub p50: f64,
    /// 99 of 100 took at most this: the bound of a bucket; none: more than the last bound.
    pub p99: Option<f64>,
}

fn observed(metrics: &str, name: &str, labels: &[&str]) -> Option<Observed> {
    let total = |part: &str| -> f64 {
        let name = format!("{name}_{part}");
        labelled(metrics, &name, labels).map(|(_, value)| value).sum()
    };
    let count = total("count");
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for (labels, value) in labelled(metrics, &format!("{name}_bucket"), labels) {
        let (_, rest) = labels.split_once("le=\"")?;
        let bound: f64 = rest.split('"').next()?.replace("+Inf", "inf").parse().ok()?;
        match buckets
            .iter_mut()
            .find(|(known, _)| (known - bound).abs() < f64::EPSILON)
        {
            Some((_, sum)) => *sum += value,
            None => buckets.push((bound, value)),
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bound = |share: f64| {
        let within = buckets.iter().find(|(_, value)| *value >= count * share);
        within
            .map(|(bound, _)| bound * 1000.0)
            .filter(|bound| bound.is_finite())
    };
    (count > 0.0).then(|| Observed {
        count,
        mean: total("sum") / count * 1000.0,
        p50: bound(0.5).unwrap_or(f64::NAN),
        p99: bound(0.99),
    })
}

/// The labels and values of the metric `name` that has each of `labels`.
fn labelled<'a>(metrics: &'a str, name: &str, labels: &[&str]) -> impl Iterator<Item = (&'a str, f64)> {
    let of_name = metrics.lines().filter_map(move |line| line.strip_prefix(name));
    of_name.filter_map(move |rest| {
        let (of, value) = rest.strip_prefix('{')?.split_once('}')?;
        let all = labels.iter().all(|label| of.contains(label));
        all.then(|| value.trim().parse().ok().map(|value| (of, value)))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other_metric_is_taken() {
        let metrics = "# TYPE a counter\na_total{kind=\"Polecat\",result=\"ok\"} 3\na_total{kind=\"Polecat\",result=\"error\"} 1\na_total{kind=\"Rig\"} 9\na_total_other 5\nb 7\n";
        assert!((sum(metrics, "a_total", "kind=\"Polecat\"") - 4.0).abs() < 1e-9);
        assert!((sum(metrics, "b", "") - 7.0).abs() < 1e-9);
    }

    #[test]
    fn a_histogram_is_told_by_the_bounds_of_its_buckets() {
        let metrics = "d_sum{kind=\"A\",act=\"Claim\"} 0.5\nd_count{kind=\"A\",act=\"Claim\"} 100\n\
            d_bucket{le=\"0.005\",kind=\"A\",act=\"Claim\"} 60\nd_bucket{le=\"0.01\",kind=\"A\",act=\"Claim\"} 98\n\
            d_bucket{le=\"+Inf\",kind=\"A\",act=\"Claim\"} 100\nd_count{kind=\"A\",act=\"Other\"} 7\n";
        let histogram = observed(metrics, "d", &["kind=\"A\"", "act=\"Claim\""]).unwrap();
        assert!((histogram.count - 100.0).abs() < 1e-9, "{histogram:?}");
        assert!((histogram.mean - 5.0).abs() < 1e-9, "{histogram:?}");
        assert!((histogram.p50 - 5.0).abs() < 1e-9, "{histogram:?}");
        assert_eq!(histogram.p99, None);
        assert_eq!(observed(metrics, "d", &["act=\"CreatePod\""]), None);
    }
}
