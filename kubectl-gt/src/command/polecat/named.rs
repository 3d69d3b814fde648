//! The argument of every command on one polecat.

use clap_complete::ArgValueCompleter;
use serde_json::Value;

use super::Target;
use crate::cluster::Cluster;
use crate::complete;
use crate::error::Error;
use crate::session::Session;
use crate::view::Polecat;

/// The argument.
#[derive(Clone, Debug, clap::Args)]
pub struct Named {
    /// The polecat.
    #[arg(value_name = "RIG/NAME", add = ArgValueCompleter::new(complete::polecats))]
    polecat: String,
}

/// The polecat that was named, as it is now.
pub struct Found {
    /// Where it is.
    pub cluster: Cluster,
    /// The object.
    pub object: Value,
    /// What is read of it.
    pub polecat: Polecat,
}

impl Named {
    /// Reads it.
    pub async fn find(&self, session: &Session) -> Result<Found, Error> {
        let target: Target = self.polecat.parse()?;
        let cluster = session.cluster().await?;
        let (object, polecat) = target.get(&cluster).await?;
        Ok(Found {
            cluster,
            object,
            polecat,
        })
    }
}
