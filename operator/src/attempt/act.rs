//! The calls that an attempt's pod needs.

use std::collections::BTreeMap;

use gastown_api::budget::Share;
use k8s_openapi::api::core::v1::Pod;

/// One call of the API server about a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum PodAct {
    /// Creates the pod.
    Create(Box<Pod>),
    /// Asks the API server whether the pod is really gone.
    Look,
    /// Reads the end of the broker's log.
    ReadBroker {
        /// The pod's UID.
        uid: String,
        /// The attempt the broker speaks of.
        attempt: i32,
    },
    /// Tells the pod of that UID what a status has set aside of the budget.
    Grant {
        /// The pod's UID.
        uid: String,
        /// All that is set aside.
        granted: Share,
    },
    /// Deletes the pod of that UID, with its grace.
    Delete {
        /// The pod's UID.
        uid: String,
    },
    /// Puts the finalizer, and these labels, back on the pod of that UID.
    Restore {
        /// The pod's UID.
        uid: String,
        /// The labels to set.
        labels: BTreeMap<String, String>,
    },
    /// Takes the finalizer off the pod of that UID: its evidence is in the owner's status.
    Release {
        /// The pod's UID.
        uid: String,
    },
}

impl PodAct {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "CreatePod",
            Self::Look => "LookForPod",
            Self::ReadBroker { .. } => "ReadBroker",
            Self::Grant { .. } => "Grant",
            Self::Delete { .. } => "DeletePod",
            Self::Restore { .. } => "RestorePod",
            Self::Release { .. } => "ReleasePod",
        }
    }
}
