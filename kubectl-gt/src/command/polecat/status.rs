//! `kubectl gt polecat status`.

use gastown_api::text::counted;
use jiff::Timestamp;

use super::named::{Found, Named};
use crate::age;
use crate::cluster::Resource;
use crate::command::doctor::warn_if_none_runs;
use crate::error::Error;
use crate::output::detail::Detail;
use crate::output::{OutputArgs, name_of};
use crate::session::Session;
use crate::view::{Polecat, facts, of_tokens, remedy};

/// Flags of `polecat status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    polecat: Named,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Prints one polecat.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let Found {
            cluster,
            object,
            polecat,
        } = self.polecat.find(session).await?;
        if self.output.output.is_for_people() && !polecat.is_settled() {
            warn_if_none_runs(session.reporter, &cluster).await;
        }
        let name = name_of(Resource::POLECATS, &object);
        let format = &self.output.output;
        Ok(session.out.object(format, &object, &name, |out, _| {
            detail(&polecat, Timestamp::now()).print(out)
        })?)
    }
}

/// The state that it is to come to; of one that has ended for good, nothing is wanted any more.
fn wanted(polecat: &Polecat) -> &str {
    match polecat.phase() {
        "Done" | "Terminated" => "",
        _ => &polecat.spec.desired_state,
    }
}

/// What a person wants to know first.
pub fn detail(polecat: &Polecat, now: Timestamp) -> Detail {
    let (status, spec) = (&polecat.status, &polecat.spec);
    let mut detail = Detail::default();
    detail
        .field("Name", &polecat.metadata.name)
        .field("Rig", &spec.rig)
        .field("Phase", polecat.phase())
        .field("Wanted", wanted(polecat))
        .field("Reason", polecat.reason());
    let message = facts(polecat.reason(), polecat.message());
    for (at, line) in message.lines().enumerate() {
        detail.field(if at == 0 { "Message" } else { " " }, line);
    }
    if let Some(remedy) = remedy(polecat.reason()) {
        detail.field("To do", remedy);
    }
    if let Some(parked) = polecat.parked() {
        let message = facts(&parked.reason, &parked.message);
        detail.field("Parked", format!("{}: {message}", parked.reason));
    }
    detail
        .field("Bead", spec.bead_id.as_deref().unwrap_or_default())
        .field("Task", polecat.task().lines().next().unwrap_or_default())
        .field("Branch", &status.branch)
        .field("Head", short(&status.head))
        .field(
            "Agent",
            [&status.agent, &status.agent_model]
                .map(String::as_str)
                .join(" ")
                .trim(),
        )
        .field("Pod", &status.pod_name);
    if let Some(wip) = &status.wip {
        detail.field("Saved", format!("{} at {}", wip.name, short(&wip.sha)));
    }
    if status.usage.requests > 0 {
        let used = format!(
            "{} in {}",
            of_tokens(status.usage.tokens()),
            counted(status.usage.requests, "call")
        );
        detail.field("Used", used);
    }
    detail
        .field("Cost", &status.cost)
        .field(
            "Attempts",
            count(polecat.status.attempts.last().map_or(0, |last| last.number)),
        )
        .field("Last activity", ago(&status.last_activity, now))
        .field("Age", age::since(&polecat.metadata.creation_timestamp, now));
    detail
}

fn count(number: i64) -> String {
    if number > 0 {
        number.to_string()
    } else {
        String::new()
    }
}

fn ago(time: &str, now: Timestamp) -> String {
    let age = age::since(time, now);
    if age.is_empty() { age } else { format!("{age} ago") }
}

/// The first twelve digits of a commit.
pub fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}
