//! What the demonstration ends with.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::scene::{NAMESPACE, POLECAT, RIG, Scene};
use crate::task::deploy::Deployed;

/// What the object says, beside what the git host says.
pub struct Report {
    phase: String,
    branch: String,
    base: String,
    head: String,
    remote: String,
    tokens: u64,
    calls: u64,
    cost: String,
}

impl Report {
    /// Reads the polecat's status, and its branch from the git host itself.
    pub fn gather(scene: &Scene<'_>, polecat: &Value) -> Result<Self> {
        let status = &polecat["status"];
        let text = |key: &str| status[key].as_str().unwrap_or("-").to_owned();
        let tokens = |key: &str| status["usage"][key].as_u64().unwrap_or_default();
        let kinds = [
            "inputTokens",
            "outputTokens",
            "cacheWriteTokens",
            "cacheReadTokens",
        ];
        let branch = text("branch");
        Ok(Self {
            phase: text("phase"),
            base: text("base"),
            head: text("head"),
            remote: remote_head(scene, &branch)?,
            tokens: kinds.into_iter().map(tokens).sum(),
            calls: tokens("requests"),
            cost: text("cost"),
            branch,
        })
    }

    /// Whether the object says Done and the git host agrees.
    pub fn is_delivered(&self) -> bool {
        self.phase == "Done" && self.head == self.remote && self.head != self.base
    }

    /// Prints it.
    pub fn print(&self, took: Duration) {
        println!();
        println!("phase     {}", self.phase);
        println!("branch    {}", self.branch);
        println!("commit    {}  (status.head)", self.head);
        println!("          {}  (the git host)", self.remote);
        println!("base      {}", self.base);
        println!("tokens    {} in {} model calls", self.tokens, self.calls);
        println!("cost      {}", self.cost);
        println!("duration  {:.1} s from the command to here", took.as_secs_f64());
        println!();
    }
}

/// The commit the branch points at, or `-` where there is none.
fn remote_head(scene: &Scene<'_>, branch: &str) -> Result<String> {
    let refs = [
        "exec",
        "testbed",
        "--container",
        "https",
        "--",
        "git",
        "-C",
        "/srv/git/calculator.git",
    ];
    let refs = scene
        .kubectl()?
        .args(refs)
        .args(["for-each-ref", "--format=%(objectname)"]);
    let sha = refs.arg(format!("refs/heads/{branch}")).text()?;
    Ok(if sha.is_empty() { "-".to_owned() } else { sha })
}

/// Prints what a newcomer may type next.
pub fn print_next_steps(deployed: &Deployed, keep: bool) -> Result<()> {
    println!("next:");
    if !keep {
        println!("  cargo xtask demo --keep    # leaves all of it running to look at");
        return Ok(());
    }
    println!("  export KUBECONFIG={:?}", deployed.cluster.kubeconfig);
    println!("  export PATH=\"{}:$PATH\"", deployed.programs()?);
    println!("  kubectl gt status");
    println!("  kubectl gt polecat status {RIG}/{POLECAT} -n {NAMESPACE}");
    println!("  kubectl gt polecat describe {RIG}/{POLECAT} -n {NAMESPACE}");
    println!("  kubectl gt polecat logs {RIG}/{POLECAT} -n {NAMESPACE}");
    println!("  kubectl gt sling issue-123 {RIG} --name nux --wait=done -n {NAMESPACE}");
    println!("  kubectl gt sling {RIG} -m 'Make the tests pass. [[script:fix-bug]]' -n {NAMESPACE}");
    println!("  cargo xtask cluster down");
    Ok(())
}
