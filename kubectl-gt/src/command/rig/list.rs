//! `kubectl gt rig list`.

use crate::cluster::{Resource, Selection};
use crate::command::listing::list;
use crate::error::Error;
use crate::output::OutputArgs;
use crate::session::Session;

/// Flags of `rig list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Prints every rig.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let nothing = "no rigs; make one: kubectl gt rig create NAME --git-url URL --prefix PREFIX";
        let all = Selection::default();
        list(
            session,
            &cluster,
            Resource::RIGS,
            &all,
            &self.output.output,
            nothing,
        )
        .await
    }
}
