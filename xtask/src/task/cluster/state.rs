//! What a checkout remembers of its cluster, in `target/cluster`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::tools;
use crate::workspace;

/// The cluster that `up` brought up, or was told to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "provider", rename_all = "kebab-case")]
pub enum State {
    /// A kind cluster of our own.
    Kind {
        /// Identifies the node image and configuration that it was made from.
        recipe: String,
        /// Whether kind's network was made for it, in an engine that is not ours.
        #[serde(default)]
        made_network: bool,
        /// When it was ready, in seconds since 1970.
        since: u64,
    },
    /// The cluster of the kubeconfig's current context when `up --use-current` ran.
    Current {
        /// The name of that context.
        context: String,
        /// Where the cluster pulls images from, as `HOST/PATH`.
        registry: String,
    },
}

/// `target/cluster` of this checkout.
pub fn folder() -> PathBuf {
    workspace::root().join("target/cluster")
}

/// The kubeconfig of this checkout's cluster.
pub fn kubeconfig() -> PathBuf {
    folder().join("kubeconfig")
}

/// Where the API server of the kind cluster logs requests, as JSON lines.
pub fn audit_folder() -> PathBuf {
    folder().join("audit")
}

/// The name of this checkout's kind cluster; another checkout's is another.
pub fn cluster_name() -> String {
    format!(
        "{CLUSTER_PREFIX}{}",
        &tools::key(&[workspace::root().to_string_lossy().as_bytes()])[..8]
    )
}

/// What the names of all our clusters start with.
pub const CLUSTER_PREFIX: &str = "gastown-";

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl State {
    /// What is remembered, if anything.
    pub fn read() -> Result<Option<Self>> {
        match std::fs::read(file()) {
            Ok(json) => serde_json::from_slice(&json)
                .with_context(|| format!("{:?} is no cluster's state", file()))
                .map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {:?}", file())),
        }
    }

    /// Remembers this.
    pub fn write(&self) -> Result<()> {
        workspace::write_whole(&file(), &serde_json::to_vec_pretty(self)?)
    }

    /// Forgets the cluster and its kubeconfig.
    pub fn forget() -> Result<()> {
        for file in [file(), kubeconfig()] {
            if file.exists() {
                fs_err::remove_file(file)?;
            }
        }
        if audit_folder().exists() {
            fs_err::remove_dir_all(audit_folder())?;
        }
        Ok(())
    }
}

fn file() -> PathBuf {
    folder().join("cluster.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_a_name_that_kind_accepts_and_that_stays() {
        assert!(
            cluster_name().starts_with("gastown-") && cluster_name().len() == 16,
            "{}",
            cluster_name()
        );
        assert_eq!(cluster_name(), cluster_name());
    }

    #[test]
    fn state_is_read_as_it_was_written() {
        let state = State::Current {
            context: "c".to_owned(),
            registry: "r.example/x".to_owned(),
        };
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(
            json,
            r#"{"provider":"current","context":"c","registry":"r.example/x"}"#
        );
        assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
    }
}
