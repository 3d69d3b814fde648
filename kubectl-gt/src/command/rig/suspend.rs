//! `kubectl gt rig suspend` and `resume`.

use clap_complete::ArgValueCompleter;
use gastown_api::rig::Suspend as Rests;
use serde_json::json;

use crate::cluster::Resource;
use crate::command::doctor::warn_if_none_runs;
use crate::command::dry_run::DryRunArgs;
use crate::complete;
use crate::error::Error;
use crate::output::{OutputArgs, name_of};
use crate::session::Session;

/// Flags of both.
#[derive(Debug, clap::Args)]
struct Flags {
    /// The rig.
    #[arg(value_name = "RIG", add = ArgValueCompleter::new(complete::rigs))]
    rig: String,
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Flags of `rig suspend`.
#[derive(Debug, clap::Args)]
pub struct Suspend {
    #[command(flatten)]
    flags: Flags,
    /// Also save and stop the polecats that are working; they start again when the rig is resumed.
    #[arg(long)]
    all: bool,
}

/// Flags of `rig resume`.
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    flags: Flags,
}

impl Suspend {
    /// Suspends the rig.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let (rests, verb) = if self.all {
            (Rests::All, "suspended; its polecats are saved and stopped")
        } else {
            (Rests::Dispatch, "suspended; those at work go on")
        };
        self.flags.set(session, rests, verb).await
    }
}

impl Resume {
    /// Resumes the rig.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        self.flags.set(session, Rests::None, "resumed").await
    }
}

impl Flags {
    async fn set(self, session: &mut Session, rests: Rests, verb: &str) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        // Asked first, so that a wrong name is answered with those that are near.
        cluster.get_named(Resource::RIGS, &self.rig).await?;
        let patch = json!({"spec": {"suspend": rests}});
        let mode = self.dry_run.mode();
        let rig = cluster.merge(Resource::RIGS, &self.rig, &patch, mode).await?;
        let name = name_of(Resource::RIGS, &rig);
        let dry = if self.dry_run.is_on() { " (dry run)" } else { "" };
        session.out.object(&self.output.output, &rig, &name, |out, _| {
            out.line(&format!("{name} {verb}{dry}"))
        })?;
        if !self.dry_run.is_on() {
            warn_if_none_runs(session.reporter, &cluster).await;
        }
        Ok(())
    }
}
