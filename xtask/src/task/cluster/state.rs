//! What a checkout remembers of its cluster, in `target/cluster`.

use std::path::{Path, PathBuf};
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
    workspace::root().join(FOLDER)
}

const FOLDER: &str = "target/cluster";

/// Which cluster of this checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// The one that people use, the demo, and most tests.
    Shared,
    /// A second one of a test run, for tests that need a cluster for themselves.
    Second,
}

impl Site {
    /// Every site.
    pub const ALL: [Self; 2] = [Self::Shared, Self::Second];

    /// Its folder, relative to the checkout.
    fn relative(self) -> PathBuf {
        match self {
            Self::Shared => PathBuf::from(FOLDER),
            Self::Second => Path::new(FOLDER).join("second"),
        }
    }

    /// The folder with everything that is remembered of it.
    pub fn folder(self) -> PathBuf {
        workspace::root().join(self.relative())
    }

    /// The kubeconfig of the cluster.
    pub fn kubeconfig(self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// Where the API server of the kind cluster logs requests, as JSON lines.
    pub fn audit_folder(self) -> PathBuf {
        self.folder().join("audit")
    }

    /// The same, relative to the checkout, as a configuration of kind names it.
    pub fn relative_audit_folder(self) -> PathBuf {
        self.relative().join("audit")
    }

    /// The name of the kind cluster; another checkout's is another.
    pub fn cluster_name(self) -> String {
        let key = tools::key(&[workspace::root().to_string_lossy().as_bytes()]);
        let suffix = match self {
            Self::Shared => "",
            Self::Second => "-second",
        };
        format!("{CLUSTER_PREFIX}{}{suffix}", &key[..8])
    }

    fn state(self) -> PathBuf {
        self.folder().join("cluster.json")
    }
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
    /// What is remembered of the cluster of `site`, if anything.
    pub fn read(site: Site) -> Result<Option<Self>> {
        let file = site.state();
        match std::fs::read(&file) {
            Ok(json) => serde_json::from_slice(&json)
                .with_context(|| format!("{file:?} is no cluster's state"))
                .map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {file:?}")),
        }
    }

    /// Remembers this.
    pub fn write(&self, site: Site) -> Result<()> {
        workspace::write_whole(&site.state(), &serde_json::to_vec_pretty(self)?)
    }

    /// Forgets the cluster of `site` and its kubeconfig.
    pub fn forget(site: Site) -> Result<()> {
        for file in [site.state(), site.kubeconfig()] {
            if file.exists() {
                fs_err::remove_file(file)?;
            }
        }
        if site.audit_folder().exists() {
            fs_err::remove_dir_all(site.audit_folder())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_a_name_that_kind_accepts_and_that_stays() {
        let name = Site::Shared.cluster_name();
        assert!(name.starts_with("gastown-") && name.len() == 16, "{name}");
        assert_eq!(name, Site::Shared.cluster_name());
        assert_eq!(Site::Second.cluster_name(), format!("{name}-second"));
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
