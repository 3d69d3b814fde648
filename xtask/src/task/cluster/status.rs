//! `cargo xtask cluster status`.

use anyhow::Result;

use super::api_tier;
use super::engine::Engine;
use super::kind;
use super::state::{self, Site, State};

/// Prints what runs, in which version, and for how long.
pub fn show() -> Result<()> {
    println!("engine   {}", engine()?);
    println!("cluster  {}", cluster(Site::Shared)?);
    println!("second   {}", cluster(Site::Second)?);
    println!("api      {}", api()?);
    Ok(())
}

fn engine() -> Result<String> {
    let Some(engine) = Engine::running()? else {
        return Ok("none".to_owned());
    };
    let version = engine.version()?;
    let clusters = engine.kind().args(["get", "clusters"]).text()?;
    let count = clusters
        .lines()
        .filter(|name| name.starts_with(state::CLUSTER_PREFIX))
        .count();
    Ok(match engine.own_pid() {
        Some(pid) => format!("Docker {version}, ours, process {pid}, {count} cluster(s) of ours"),
        None => format!("Docker {version}, not ours, {count} cluster(s) of ours"),
    })
}

fn cluster(site: Site) -> Result<String> {
    let (Some(state), Some(cluster)) = (State::read(site)?, kind::remembered(site)?) else {
        return Ok("none".to_owned());
    };
    let what = match state {
        State::Kind { since, .. } => {
            format!(
                "kind {}, up for {}",
                site.cluster_name(),
                age(state::now().saturating_sub(since))
            )
        }
        State::Current { context, registry } => format!("context {context:?}, images from {registry}"),
    };
    if !cluster.is_ready()? {
        return Ok(format!(
            "{what}, does not answer; `cargo xtask cluster up` makes it anew"
        ));
    }
    let columns = "custom-columns=:metadata.name,:status.nodeInfo.kubeletVersion,:status.conditions[-1].type";
    let nodes = cluster
        .kubectl()?
        .args(["get", "nodes", "--no-headers", "--output", columns])
        .text()?;
    let nodes: Vec<String> = nodes
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    Ok(format!(
        "{what}\n         {}\n         {}",
        nodes.join("\n         "),
        cluster.kubeconfig.display()
    ))
}

fn api() -> Result<String> {
    let Some(tier) = api_tier::remembered(api_tier::Site::SHARED)? else {
        return Ok("none".to_owned());
    };
    let running: Vec<String> = tier
        .running()
        .iter()
        .map(|(name, pid)| format!("{name} {pid}"))
        .collect();
    Ok(format!(
        "{}, {}\n         {}",
        tier.server,
        running.join(", "),
        tier.kubeconfig.display()
    ))
}

/// A duration in its two largest units.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_the_two_largest_units() {
        assert_eq!(age(59), "59 s");
        assert_eq!(age(3599), "59 min 59 s");
        assert_eq!(age(90_000), "1 d 1 h");
    }
}
