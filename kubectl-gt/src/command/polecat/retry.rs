//! `kubectl gt polecat retry`.

use std::time::Duration;

use gastown_api::labels::RETRY_REQUESTED_AT;
use jiff::Timestamp;
use serde_json::json;

use super::named::{Found, Named};
use crate::cluster::Resource;
use crate::command::doctor::warn_if_none_runs;
use crate::error::{CommandError, Error};
use crate::flags::duration;
use crate::output::{OutputArgs, name_of};
use crate::session::Session;
use crate::wait::{Goal, wait_for};

/// Flags of `polecat retry`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    polecat: Named,
    /// Wait for the given state; without a value, until Working.
    #[arg(long, value_enum, value_name = "GOAL", num_args = 0..=1, require_equals = true, default_missing_value = "working")]
    wait: Option<Goal>,
    /// How long to wait; 0 means no limit. By default 2m, and no limit for --wait=done.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Asks for another attempt.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let Found { cluster, polecat, .. } = self.polecat.find(session).await?;
        let address = polecat.address();
        let typed = cluster.typed(&address);
        let now = Timestamp::now().to_string();
        let refuse = |why: String| Err(CommandError::Refused(why).into());
        let patch = match polecat.phase() {
            "Stuck" => {
                json!({"metadata": {"annotations": {RETRY_REQUESTED_AT: now}}, "spec": {"desiredState": "Working"}})
            }
            "Idle" => json!({"spec": {"desiredState": "Working"}}),
            "Done" => {
                return refuse(format!(
                    "polecat {address:?} is Done: its work is on branch {:?}; dispatch what is left with `kubectl gt sling`",
                    polecat.status.branch
                ));
            }
            "Terminated" => {
                return refuse(format!(
                    "polecat {address:?} is Terminated for good; dispatch its work again with `kubectl gt sling`"
                ));
            }
            phase => {
                return refuse(nothing_to_retry(&address, phase, &typed));
            }
        };
        let mut object = cluster
            .merge(
                Resource::POLECATS,
                &polecat.metadata.name,
                &patch,
                crate::cluster::DryRun::No,
            )
            .await?;
        warn_if_none_runs(session.reporter, &cluster).await;
        let mut outcome = Ok(());
        if let Some(goal) = self.wait {
            let timeout = crate::command::sling::timeout(goal, self.timeout);
            let waited = wait_for(&cluster, session.reporter, &address, goal, timeout).await;
            object = waited.object.unwrap_or(object);
            outcome = waited.outcome;
        }
        let name = name_of(Resource::POLECATS, &object);
        let format = &self.output.output;
        session.out.object(format, &object, &name, |out, _| {
            out.line(&format!("{name} retry requested"))
        })?;
        Ok(outcome?)
    }
}

/// A pod keeps the settings that it began with: for others, such as another endpoint, it has to be stopped and started.
/// One that was refused before an attempt goes on by itself, so it may be at work by the time that someone types this.
fn nothing_to_retry(address: &str, phase: &str, typed: &str) -> String {
    format!(
        "polecat {address:?} is {phase} and has nothing to retry; `kubectl gt polecat logs {typed} -f` shows what it does; only if its pod began with old settings (of the chart or its rig) stop it and begin anew: `kubectl gt polecat idle {typed}`, then `kubectl gt polecat resume {typed}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_give_a_working_polecat_other_settings_is_said_as_it_is_typed() {
        let words = nothing_to_retry("demo/a", "Working", "demo/a -n town");
        for command in [
            "idle demo/a -n town`",
            "resume demo/a -n town`",
            "logs demo/a -n town -f`",
        ] {
            assert!(words.contains(command), "{words}");
        }
    }
}
