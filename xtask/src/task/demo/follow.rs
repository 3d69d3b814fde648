//! Live progress of the polecat on the terminal.

use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::scene::{POLECAT, Scene};
use crate::progress;

/// Shows each change of phase and the agent's log until the polecat has ended, and returns it as it is then.
pub fn to_the_end(scene: &Scene<'_>, patience: Duration) -> Result<Value> {
    let start = Instant::now();
    let mut shown = String::new();
    let mut log: Option<Child> = None;
    loop {
        let polecat = get(scene)?;
        let now = headline(&polecat);
        if now != shown {
            progress::say(format!("{:5.1} s  {now}", start.elapsed().as_secs_f64()));
            shown = now;
        }
        if log.is_none() && polecat["status"]["podActive"] == true {
            log = Some(stream_log(scene)?);
        }
        if matches!(phase(&polecat), "Done" | "Stuck" | "Terminated") {
            if let Some(mut log) = log {
                log.wait().context("failed to wait for kubectl logs")?;
            }
            return Ok(polecat);
        }
        if start.elapsed() > patience {
            bail!(
                "the polecat did not end within {} s: {}",
                patience.as_secs(),
                polecat["status"]
            );
        }
        thread::sleep(Duration::from_millis(300));
    }
}

fn get(scene: &Scene<'_>) -> Result<Value> {
    let json = scene
        .kubectl()?
        .args(["get", "polecat", POLECAT, "--output", "json"])
        .output()?;
    serde_json::from_slice(&json).context("failed to parse what kubectl printed of the polecat")
}

fn phase(polecat: &Value) -> &str {
    polecat["status"]["phase"].as_str().unwrap_or("Created")
}

fn headline(polecat: &Value) -> String {
    let conditions = polecat["status"]["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    let word = |key| ready.and_then(|ready| ready[key].as_str()).unwrap_or_default();
    format!("{} {}  {}", phase(polecat), word("reason"), word("message"))
        .trim_end()
        .to_owned()
}

fn stream_log(scene: &Scene<'_>) -> Result<Child> {
    let logs = scene.kubectl()?.args([
        "logs",
        "--follow",
        &format!("polecat-{POLECAT}"),
        "--container",
        "claude",
    ]);
    let shown = logs.to_string();
    let mut logs = logs.into_inner();
    logs.stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to start `{shown}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_polecat_nobody_has_looked_at_yet_has_a_headline() {
        assert_eq!(headline(&json!({})), "Created");
    }

    #[test]
    fn the_headline_is_phase_reason_and_message() {
        let ready = json!({"type": "Ready", "reason": "Delivered", "message": "it is there"});
        let polecat = json!({"status": {"phase": "Done", "conditions": [ready]}});
        assert_eq!(headline(&polecat), "Done Delivered  it is there");
    }
}
