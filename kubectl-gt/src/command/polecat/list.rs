//! `kubectl gt polecat list`.

use clap_complete::ArgValueCompleter;

use crate::cluster::{Resource, Selection};
use crate::command::listing::{check_rig, list, no_polecats};
use crate::complete;
use crate::error::Error;
use crate::output::OutputArgs;
use crate::session::Session;

/// Flags of `polecat list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only polecats of this rig.
    #[arg(value_name = "RIG", add = ArgValueCompleter::new(complete::rigs))]
    rig: Option<String>,
    /// Include polecats of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Prints the polecats.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let selection = Selection {
            fields: self.rig.as_ref().map(|rig| format!("spec.rig={rig}")),
            all_namespaces: self.all_namespaces,
        };
        let nothing = no_polecats(cluster.namespace(), &selection, self.rig.as_deref());
        if let Some(rig) = &self.rig {
            check_rig(&cluster, rig, &selection).await?;
        }
        list(
            session,
            &cluster,
            Resource::POLECATS,
            &selection,
            &self.output.output,
            &nothing,
        )
        .await
    }
}
