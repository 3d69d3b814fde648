//! How a polecat is named: `RIG/NAME`, as Gas Town does, or by its name alone.

use std::str::FromStr;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;

use crate::cluster::{Cluster, Resource};
use crate::error::{CommandError, Error};
use crate::reporter::Reporter;
use crate::view::Polecat;
use crate::wait::{Wait, describe, watch};

/// A polecat that was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its rig, where that was written.
    pub rig: Option<String>,
    /// Its name.
    pub name: String,
}

impl FromStr for Target {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let wrong = || CommandError::NoAddress {
            text: text.to_owned(),
        };
        let mut parts: Vec<&str> = text.split('/').collect();
        // Gas Town's long form: RIG/polecats/NAME.
        if parts.len() == 3 && parts[1] == "polecats" {
            parts.remove(1);
        }
        match parts.as_slice() {
            _ if parts.iter().any(|part| part.is_empty()) => Err(wrong()),
            [name] => Ok(Self {
                rig: None,
                name: (*name).to_owned(),
            }),
            [rig, name] => Ok(Self {
                rig: Some((*rig).to_owned()),
                name: (*name).to_owned(),
            }),
            _ => Err(wrong()),
        }
    }
}

impl Target {
    /// The polecat, if it exists and belongs to the rig that was named.
    pub async fn get(&self, cluster: &Cluster) -> Result<(Value, Polecat), Error> {
        let object = cluster.get_named(Resource::POLECATS, &self.name).await?;
        let polecat = Polecat::read(&object);
        match &self.rig {
            Some(asked) if *asked != polecat.spec.rig => Err(CommandError::WrongRig {
                name: self.name.clone(),
                found: polecat.spec.rig,
                asked: asked.clone(),
            }
            .into()),
            _ => Ok((object, polecat)),
        }
    }
}

/// Waits until the polecat is Terminated or deleted.
pub async fn until_gone(
    cluster: &Cluster,
    reporter: Reporter,
    name: &str,
    timeout: Duration,
) -> Result<(), Error> {
    let mut last = Polecat::default();
    name.clone_into(&mut last.metadata.name);
    let gone = async {
        let mut changes = std::pin::pin!(watch(cluster, name));
        while let Some(change) = changes.next().await {
            let Some(object) = change.map_err(Wait::from)? else {
                return Ok(());
            };
            let polecat = Polecat::read(&object);
            if polecat.phase() == "Terminated" && polecat.metadata.deletion_timestamp.is_none() {
                return Ok(());
            }
            if describe(&polecat) != describe(&last) {
                reporter.note(&reporter.style.faint(&describe(&polecat)));
            }
            last = polecat;
        }
        Ok(())
    };
    let limit = if timeout.is_zero() { Duration::MAX } else { timeout };
    let outcome = tokio::select! {
        result = tokio::time::timeout(limit, gone) => result.ok(),
        pressed = tokio::signal::ctrl_c() => {
            pressed.map_err(Wait::Listen)?;
            return Err(Wait::interrupted(cluster, name).into());
        }
    };
    outcome.unwrap_or_else(|| {
        Err(Wait::TooLong {
            address: last.address(),
            typed: cluster.typed(&last.address()),
            phase: last.phase().to_owned(),
            why: String::new(),
            seconds: timeout.as_secs(),
        }
        .into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polecats_are_named_as_in_gas_town() {
        let target = |text: &str| text.parse::<Target>().map(|t| (t.rig, t.name));
        assert_eq!(
            target("demo/furiosa").unwrap(),
            (Some("demo".into()), "furiosa".into())
        );
        assert_eq!(
            target("demo/polecats/nux").unwrap(),
            (Some("demo".into()), "nux".into())
        );
        assert_eq!(target("nux").unwrap(), (None, "nux".into()));
        for text in ["", "/", "a/", "/b", "a/b/c"] {
            assert!(
                target(text).unwrap_err().to_string().contains("RIG/NAME"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_polecat_that_was_never_seen_is_named_when_the_time_is_over() {
        let session = crate::session::Session::new(crate::flags::ClusterFlags::default());
        let cluster = crate::cluster::testing::nowhere();
        let waited = until_gone(&cluster, session.reporter, "furiosa", Duration::from_millis(10)).await;
        let error = waited.unwrap_err().to_string();
        assert!(error.starts_with("polecat \"furiosa\" is still"), "{error}");
        assert!(error.contains("polecat status furiosa`"), "{error}");
    }
}
