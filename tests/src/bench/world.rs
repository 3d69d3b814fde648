//! Everything a measurement looks at.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::audit::Log;
use super::cluster::{self, Cluster};
use super::eyes::Eyes;
use super::operator::{Launch, Operator};
use super::process::Process;

/// The API server, the one watcher of its objects, and the operator's program.
pub struct World {
    /// The API server.
    pub cluster: Cluster,
    /// What is seen there.
    pub eyes: Eyes,
    /// What it is asked for.
    pub audit: Log,
    /// Its process.
    pub api_server: Process,
    /// How the operator is started.
    pub launch: Launch,
}

impl World {
    /// Connects to an empty API server and furnishes it.
    pub async fn enter(kubeconfig: PathBuf, audit: PathBuf, api_server: u32, launch: Launch) -> Result<Self> {
        let cluster = Cluster::connect(&kubeconfig).await?;
        cluster.furnish().await?;
        Ok(Self {
            eyes: Eyes::open(&cluster.client()),
            cluster,
            audit: Log::open(audit)?,
            api_server: Process { id: api_server },
            launch,
        })
    }

    /// Starts the operator and waits until it is ready.
    pub async fn start_operator(&self) -> Result<Operator> {
        let mut operator = Operator::start(&self.launch)?;
        operator.ready().await?;
        Ok(operator)
    }

    /// Removes every polecat and pod, and waits until they are gone.
    pub async fn empty(&self) -> Result<()> {
        self.cluster.clear().await?;
        let limit = Duration::from_mins(2);
        self.eyes
            .wait("the end of all polecats and pods", limit, |seen| {
                seen.pods.is_empty() && seen.polecats.is_empty()
            })
            .await?;
        cluster::settle().await;
        Ok(())
    }

    /// Says what is measured next, on standard error.
    #[expect(clippy::print_stderr, reason = "progress of a program that people run")]
    pub fn say(&self, what: &str) {
        eprintln!("· {what}");
    }

    /// Shows a result as soon as it is there, on standard error.
    #[expect(clippy::print_stderr, reason = "progress of a program that people run")]
    pub fn tell(&self, result: impl Serialize) {
        if let Ok(json) = serde_json::to_string(&result) {
            eprintln!("  {json}");
        }
    }
}
