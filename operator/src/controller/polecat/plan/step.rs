//! What a plan is given, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use gastown_api::budget::Share;
use gastown_api::evidence::Evidence;
use gastown_api::polecat::{Polecat, PolecatStatus};
use gastown_api::rig::Rig;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::images::{Answer, Question};
use crate::pod_view::PodView;
use crate::slots::Bound;
use crate::types::{self, EndedAttempt, Refusal, Transition};

/// The number of the first attempt, which [`Act::Claim`] claims.
pub const FIRST_ATTEMPT: i32 = 1;

/// What is known when a step is planned.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The polecat.
    pub polecat: Arc<Polecat>,
    /// Its Rig, if it exists.
    pub rig: Option<Arc<Rig>>,
    /// The pod of its name.
    pub pod: PodLookup,
    /// What the broker's log said since the doorbell rang.
    pub report: Option<BrokerReport>,
    /// Why the API server refused the pod, just now.
    pub refusal: Option<Refusal>,
    /// What is known of the image, just asked.
    pub image: Option<(Question, Answer)>,
    /// The attempt that this look has claimed and made no pod for yet.
    pub claimed: Option<i32>,
    /// Whether this look has put back what others took off.
    pub restored: bool,
    /// Why no slot is free for it; none: it has one, or has not asked.
    pub bound: Option<Bound>,
    /// When the slot of a parked polecat is lent.
    pub lends_at: Option<Timestamp>,
}

/// The pod of the polecat's name.
#[derive(Clone, Debug, PartialEq)]
pub enum PodLookup {
    /// The cache holds none.
    NotCached,
    /// The API server has none.
    NotFound,
    /// It exists.
    Found(Arc<PodView>),
}

impl PodLookup {
    /// Whether it exists and someone asked for its deletion.
    pub fn is_deleting(&self) -> bool {
        matches!(self, Self::Found(pod) if pod.is_deleting())
    }
}

/// What the broker's log said.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerReport {
    /// The pod it is of.
    pub pod_uid: String,
    /// The last evidence in it, if there was any.
    pub evidence: Option<Evidence>,
    /// When it was read.
    pub read_at: Timestamp,
}

/// What to do next.
pub type Step = types::Step<Act>;

/// One call of the API server, or a question about an image.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Puts finalizer and labels on the polecat, if nobody changed it: claims the first attempt.
    Claim {
        /// All finalizers.
        finalizers: Vec<String>,
        /// The labels to set.
        labels: BTreeMap<String, String>,
    },
    /// Puts finalizer and labels back on a polecat that lost them while an attempt is under way.
    RestorePolecat {
        /// All finalizers.
        finalizers: Vec<String>,
        /// The labels to set.
        labels: BTreeMap<String, String>,
    },
    /// Asks whether the image may run; the polecat is triggered once the answer is known.
    AskForImage(Box<Question>),
    /// Creates the pod.
    CreatePod(Box<Pod>),
    /// Asks the API server whether the pod is really gone.
    LookForPod,
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
    DeletePod {
        /// The pod's UID.
        uid: String,
    },
    /// Puts the finalizer, and these labels, back on the pod of that UID.
    RestorePod {
        /// The pod's UID.
        uid: String,
        /// The labels to set.
        labels: BTreeMap<String, String>,
    },
    /// Takes the finalizer off the pod of that UID: its evidence is in the status.
    ReleasePod {
        /// The pod's UID.
        uid: String,
    },
    /// Takes our finalizer off the polecat.
    ReleasePolecat,
    /// Deletes the polecat, if nobody changed it: its time after the end is over.
    DeletePolecat,
    /// Writes the status, if nobody changed the polecat; then tells of the transition.
    WriteStatus(Box<StatusUpdate>),
}

/// A status, and what is told about it.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// The status.
    pub status: PolecatStatus,
    /// The event of a transition.
    pub transition: Option<Transition>,
    /// The attempt that ended.
    pub ended: Option<EndedAttempt>,
    /// The attempt that this write claims.
    pub claims: Option<i32>,
}

impl Act {
    /// Whether a slot is needed for it.
    #[must_use]
    pub fn starts_an_attempt(&self) -> bool {
        match self {
            Self::Claim { .. } => true,
            Self::WriteStatus(update) => update.claims.is_some(),
            _ => false,
        }
    }

    /// Its name in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "Claim",
            Self::RestorePolecat { .. } => "RestorePolecat",
            Self::RestorePod { .. } => "RestorePod",
            Self::AskForImage(_) => "AskForImage",
            Self::CreatePod(_) => "CreatePod",
            Self::LookForPod => "LookForPod",
            Self::ReadBroker { .. } => "ReadBroker",
            Self::Grant { .. } => "Grant",
            Self::DeletePod { .. } => "DeletePod",
            Self::ReleasePod { .. } => "ReleasePod",
            Self::ReleasePolecat => "ReleasePolecat",
            Self::DeletePolecat => "DeletePolecat",
            Self::WriteStatus(_) => "WriteStatus",
        }
    }
}

/// The pod cannot be written down.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the work order as JSON")]
pub struct PlanPod(#[from] serde_json::Error);
