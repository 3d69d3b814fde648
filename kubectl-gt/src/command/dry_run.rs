//! The flag `--dry-run`, as kubectl has it.

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::cluster::DryRun;
use crate::error::CommandError;
use crate::validate::{Verdict, check as rules};

/// The flag.
#[derive(Clone, Copy, Debug, Args)]
pub struct DryRunArgs {
    /// Change nothing: client (or no value) prints what would be sent; server has the API server check it.
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    dry_run: Option<Where>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Where {
    /// Send nothing.
    Client,
    /// Send it; the API server checks it and stores nothing.
    Server,
    /// Make the change.
    None,
}

impl DryRunArgs {
    /// Whether nothing is to be sent.
    pub fn is_client(self) -> bool {
        self.dry_run == Some(Where::Client)
    }

    /// Whether anything is left as it is.
    pub fn is_on(self) -> bool {
        matches!(self.dry_run, Some(Where::Client | Where::Server))
    }

    /// What the API server is told.
    pub fn mode(self) -> DryRun {
        match self.dry_run {
            Some(Where::Server | Where::Client) => DryRun::Server,
            Some(Where::None) | None => DryRun::No,
        }
    }
}

/// Checks what a dry run of the client only prints, by the rules of the API server.
pub fn check(object: &Value) -> Result<(), CommandError> {
    let Verdict::Invalid(problems) = rules(object) else {
        return Ok(());
    };
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Err(CommandError::Invalid(format!(
        "the cluster would refuse {} {:?}: {}",
        object["kind"].as_str().unwrap_or("the object").to_lowercase(),
        object["metadata"]["name"].as_str().unwrap_or_default(),
        problems.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_would_refuse_is_refused_before() {
        let polecat = |name: &str, spec: Value| {
            check(&json!({
                "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
                "metadata": {"name": name}, "spec": spec,
            }))
        };
        assert!(polecat("nux", json!({"rig": "demo"})).is_ok());
        for (name, spec, part) in [
            ("Nux_1", json!({"rig": "demo"}), "Nux_1"),
            (&"n".repeat(56), json!({"rig": "demo"}), "55"),
            ("nux", json!({"rig": "demo", "beadID": "a..b"}), "spec.beadID"),
            (
                "nux",
                json!({"rig": "demo", "kubernetes": {"workBranch": "a b"}}),
                "workBranch",
            ),
            (
                "nux",
                json!({"rig": "demo", "budget": {"usd": 2_000_000}}),
                "spec.budget.usd",
            ),
            ("nux", json!({"rig": "demo", "agent": "nobody"}), "spec.agent"),
        ] {
            let error = polecat(name, spec).unwrap_err().to_string();
            assert!(error.contains(part), "{part} not in {error}");
        }
    }
}
