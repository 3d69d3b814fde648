//! The plugin's list of many polecats: what it takes beside the API server's own time, and beside a client that only
//! reads the same pages.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Request;
use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::audit::{Log, Request as Answered};
use super::cluster::{NAMESPACE, polecats};
use super::figures::{Spread, spread};
use super::process::Process;
use super::world::World;

/// How many objects a page has, as the plugin asks for them.
const PAGE: usize = 500;

/// `kubectl gt polecat list` in one format.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// How many polecats there are.
    pub polecats: usize,
    /// The value of `-o`.
    pub format: &'static str,
    /// Until a client that shows nothing had the last page.
    pub bare: Spread,
    /// Until the plugin's process had ended.
    pub plugin: Spread,
    /// What each run of the plugin took longer than the API server for its requests, by the log of that server.
    pub added: Spread,
    /// What each run of the plugin took longer than the bare one just before; not below 0.
    pub over_bare: Spread,
    /// Until the first row stood on the plugin's standard output.
    pub first_row: Spread,
    /// The most memory that a run of the plugin ever had, in bytes.
    pub peak: u64,
}

/// Lists all `polecats` that many times in each format.
pub async fn measure(world: &mut World, plugin: &Path, polecats: usize, runs: usize) -> Result<Vec<Listing>> {
    let mut measured = Vec::new();
    for format in ["table", "json"] {
        let listing = in_turn(world, plugin, polecats, format, runs).await?;
        world.tell(&listing);
        measured.push(listing);
    }
    Ok(measured)
}

async fn in_turn(
    world: &mut World,
    plugin: &Path,
    polecats: usize,
    format: &'static str,
    runs: usize,
) -> Result<Listing> {
    let pages = polecats.div_ceil(PAGE).max(1);
    // Programs and objects are read once before, so that both find them in memory.
    bare(world, format, pages).await?;
    run(world, plugin, format).await?;
    served(&mut world.audit, pages).await?;
    let (mut alone, mut shown, mut added, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..runs {
        alone.push(bare(world, format, pages).await?);
        let ran = run(world, plugin, format).await?;
        added.push(ran.end.saturating_sub(served(&mut world.audit, pages).await?));
        let found = if format == "table" {
            ran.lines - 1
        } else {
            polecats
        };
        ensure!(
            found == polecats,
            "the plugin listed {found} of {polecats} polecats"
        );
        peak = peak.max(ran.peak);
        shown.push(ran);
    }
    let over_bare = alone
        .iter()
        .zip(&shown)
        .map(|(alone, ran)| ran.end.saturating_sub(*alone));
    let all = |times: Vec<Duration>| spread(times).context("nothing was listed");
    Ok(Listing {
        polecats,
        format,
        added: all(added)?,
        over_bare: all(over_bare.collect())?,
        plugin: all(shown.iter().map(|ran| ran.end).collect())?,
        first_row: all(shown.iter().map(|ran| ran.first).collect())?,
        bare: all(alone)?,
        peak,
    })
}

/// Reads every page as the plugin asks for it, and looks only for where the next one starts.
async fn bare(world: &World, format: &str, pages: usize) -> Result<Duration> {
    let client = world.cluster.client();
    let (accept, more) = if format == "table" {
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            "&includeObject=None",
        )
    } else {
        ("application/json", "")
    };
    let start = Instant::now();
    let (mut token, mut read) = (String::new(), 0);
    loop {
        let path = format!("{}?limit={PAGE}{more}{token}", polecats());
        let request = Request::get(path).header("accept", accept).body(Vec::new())?;
        let page = client
            .request_text(request)
            .await
            .context("failed to read a page")?;
        read += 1;
        match continued(&page) {
            Some(next) => token = format!("&continue={next}"),
            None => break,
        }
    }
    let took = start.elapsed();
    ensure!(read == pages, "the bare client read {read} of {pages} pages");
    Ok(took)
}

/// The token of the next page: a table has it in its head, a list of objects in its tail.
fn continued(page: &str) -> Option<&str> {
    const ENDS: usize = 2000;
    let head = page.get(..ENDS).unwrap_or(page);
    let tail = page.len().checked_sub(ENDS).and_then(|start| page.get(start..));
    [Some(head), tail].into_iter().flatten().find_map(|end| {
        let (_, rest) = end.split_once("\"continue\":\"")?;
        let (token, _) = rest.split_once('"')?;
        Some(token).filter(|token| !token.is_empty())
    })
}

/// How long the API server took for the pages that the plugin asked it for, one after another.
async fn served(log: &mut Log, pages: usize) -> Result<Duration> {
    let limit = Instant::now() + Duration::from_secs(10);
    let mut answered: Vec<Answered> = Vec::new();
    loop {
        let requests = log.read()?.into_iter();
        answered.extend(
            requests
                .filter(|request| !request.own && request.verb == "list" && request.resource == "polecats"),
        );
        if answered.len() >= pages {
            break;
        }
        ensure!(
            Instant::now() < limit,
            "the API server logged {} of {pages} pages that the plugin read",
            answered.len()
        );
        // The server writes its log after the answer.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ensure!(
        answered.len() == pages,
        "the plugin read {} pages instead of {pages}",
        answered.len()
    );
    Ok(answered.iter().map(Answered::took).sum())
}

/// One run of the plugin.
struct Ran {
    end: Duration,
    first: Duration,
    lines: usize,
    peak: u64,
}

async fn run(world: &World, plugin: &Path, format: &str) -> Result<Ran> {
    let start = Instant::now();
    let mut child = Command::new(plugin)
        .args(["polecat", "list", "--namespace", NAMESPACE, "--output", format])
        .env("KUBECONFIG", &world.launch.kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("failed to start {:?}", plugin.display()))?;
    let process = Process {
        id: child.id().context("a process that was started has an id")?,
    };
    let mut stdout = child.stdout.take().context("standard output is a pipe")?;
    let mut buffer = vec![0; 1 << 20];
    let (mut first, mut lines, mut peak) = (None, 0, 0);
    loop {
        let count = stdout
            .read(&mut buffer)
            .await
            .context("failed to read the list")?;
        if count == 0 {
            break;
        }
        lines += buffer[..count].split(|byte| *byte == b'\n').count() - 1;
        // The first line is the heading.
        if lines > 1 {
            first.get_or_insert_with(|| start.elapsed());
        }
        // A process that has just ended tells nothing any more; it told all before.
        peak = peak.max(process.peak().unwrap_or_default());
    }
    let status = child.wait().await.context("failed to wait for the plugin")?;
    ensure!(status.success(), "the plugin ended with {status}");
    Ok(Ran {
        end: start.elapsed(),
        first: first.context("the plugin printed no row")?,
        lines,
        peak,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_the_metadata_of_tables_and_lists() {
        let list = format!(
            r#"{{"apiVersion":"v1","items":["{}"],"kind":"List","metadata":{{"continue":"abc"}}}}"#,
            "x".repeat(3000)
        );
        assert_eq!(continued(&list), Some("abc"));
        let page = r#"{"kind":"Table","metadata":{"resourceVersion":"7","continue":"abc"},"rows":[]}"#;
        assert_eq!(continued(page), Some("abc"));
        assert_eq!(continued(r#"{"metadata":{"continue":""}}"#), None);
        assert_eq!(continued(r#"{"metadata":{}}"#), None);
    }
}
