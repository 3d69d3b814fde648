//! `kubectl gt rig delete`.

use clap_complete::ArgValueCompleter;
use serde_json::json;

use crate::cluster::{Resource, Selection};
use crate::complete;
use crate::error::{CommandError, Error};
use crate::output::{OutputArgs, name_of};
use crate::session::Session;
use crate::view::Polecat;

/// Flags of `rig delete`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rig.
    #[arg(value_name = "RIG", add = ArgValueCompleter::new(complete::rigs))]
    name: String,
    /// Delete it even if it has polecats that have not ended.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Deletes the rig, unless polecats still need it.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let object = cluster.get_named(Resource::RIGS, &self.name).await?;
        if !self.force {
            let selection = Selection {
                fields: Some(format!("spec.rig={}", self.name)),
                all_namespaces: true,
            };
            let polecats = cluster.list(Resource::POLECATS, &selection).await?;
            let polecats: Vec<_> = polecats.iter().map(Polecat::read).collect();
            let busy: Vec<_> = polecats.iter().filter(|polecat| !polecat.is_settled()).collect();
            if let Some(first) = busy.first() {
                return Err(CommandError::Refused(format!(
                    "rig {:?} has polecats that have not ended: {} (such as {:?}); end them with `kubectl gt polecat nuke`, or delete the rig with --force",
                    self.name,
                    busy.len(),
                    first.address(),
                ))
                .into());
            }
        }
        cluster.delete(Resource::RIGS, &self.name).await?;
        let name = name_of(Resource::RIGS, &object);
        let format = &self.output.output;
        let answer = json!({"deleted": name});
        Ok(session.out.object(format, &answer, &name, |out, _| {
            out.line(&format!("{name} deleted"))
        })?)
    }
}
