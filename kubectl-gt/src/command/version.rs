//! `kubectl gt version`.

use serde_json::{Value, json};

use crate::command::doctor::operator_version;
use crate::error::Error;
use crate::output::OutputArgs;
use crate::output::detail::Detail;
use crate::session::Session;

/// Flags of `version`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print only the plugin's version; needs no cluster.
    #[arg(long)]
    client: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Prints the versions.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let mut value = json!({
            "plugin": env!("CARGO_PKG_VERSION"),
            "edition": gastown_crypto::EDITION,
            "crypto": gastown_crypto::module_version(),
            "api": format!("{}/{}", gastown_api::GROUP, gastown_api::VERSION),
        });
        let mut unknown = None;
        if !self.client {
            match session.cluster().await {
                Ok(cluster) => match cluster.read("/version", "the cluster's version").await {
                    Ok(version) => {
                        value["kubernetes"] = version["gitVersion"].clone();
                        value["operator"] = json!(operator_version(&cluster).await.ok().flatten());
                    }
                    Err(error) => unknown = Some(Error::from(error)),
                },
                Err(error) => unknown = Some(error.into()),
            }
        }
        let name = env!("CARGO_PKG_VERSION");
        session.out.object(&self.output.output, &value, name, |out, _| {
            detail(&value, self.client).print(out)
        })?;
        unknown.map_or(Ok(()), Err)
    }
}

fn detail(value: &Value, client_only: bool) -> Detail {
    let text = |field: &str| value[field].as_str();
    let mut detail = Detail::default();
    detail
        .field("Plugin", text("plugin").unwrap_or_default())
        .field("Edition", text("edition").unwrap_or_default())
        .field("Crypto", text("crypto").unwrap_or_default())
        .field("API", text("api").unwrap_or_default());
    if !client_only {
        detail
            .field("Kubernetes", text("kubernetes").unwrap_or("unknown"))
            .field(
                "Operator",
                text("operator").unwrap_or("unknown (no deployment that you may see)"),
            );
    }
    detail
}
