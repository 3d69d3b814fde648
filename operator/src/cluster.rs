//! The API server: every write of the operator is in this module, and every watch.

mod events;
pub mod lease;
mod objects;
mod pods;
mod refusal;
mod scope;
mod status;
pub mod watch;

use kube::core::Resource;
use kube::{Api, Client};

pub use self::pods::Created;
pub use self::scope::ApiScope;
use crate::types::Key;

/// The name under which the operator owns fields, for writes that follow from an object's own spec.
pub const FIELD_MANAGER: &str = "gastown-operator";

/// The API server and who speaks to it.
#[derive(Clone)]
pub struct Cluster {
    /// The connection.
    pub client: Client,
    /// This replica.
    pub identity: String,
}

impl Cluster {
    /// The API of a kind in that namespace; an empty one is that of an object of the cluster.
    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope: ApiScope>,
    {
        K::Scope::api(self.client.clone(), Some(namespace))
    }
}

/// What messages call an object.
fn name_of<K: Resource<DynamicType = ()>>(key: &Key) -> String {
    format!("{} {key}", K::kind(&()).to_lowercase())
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Call {
    /// Someone changed the object first: the watch brings the newer one.
    #[error("failed to {act} {object}: someone changed it first")]
    Conflict {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
    },
    /// The object is gone.
    #[error("failed to {act} {object}: it is gone")]
    Gone {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
    },
    /// The API server did not answer, or refused.
    #[error("failed to {act} {object}")]
    Api {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// The object cannot be written down.
    #[error("failed to write {object} as JSON")]
    Encode {
        /// The object.
        object: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The request cannot be built.
    #[error("failed to build the request to {act} {object}")]
    Build {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// Why.
        source: Box<kube::core::request::Error>,
    },
}

impl Call {
    /// The result of a look that ended with this, in the figures.
    pub fn result(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::Gone { .. } => "gone",
            Self::Api { .. } | Self::Encode { .. } | Self::Build { .. } => "error",
        }
    }

    pub(crate) fn from_kube(act: &'static str, object: &str, error: kube::Error) -> Self {
        let object = object.to_owned();
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict { act, object },
            kube::Error::Api(status) if status.code == 404 => Self::Gone { act, object },
            _ => Self::Api {
                act,
                object,
                source: Box::new(error),
            },
        }
    }
}
