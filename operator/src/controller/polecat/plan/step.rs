//! What a plan is given, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use gastown_api::evidence::Evidence;
use gastown_api::polecat::{Polecat, PolecatStatus};
use gastown_api::rig::Rig;
use jiff::Timestamp;

use crate::attempt::{self, PodAct};
use crate::images::{Answer, Question};
use crate::slots::Bound;
use crate::types::{self, EndedAttempt, Transition};

/// What is known when a step is planned.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The polecat.
    pub polecat: Arc<Polecat>,
    /// Its Rig, if it exists.
    pub rig: Option<Arc<Rig>>,
    /// What is known of its pod.
    pub attempt: attempt::Observed<Evidence>,
    /// What is known of the image, just asked.
    pub image: Option<(Question, Answer)>,
    /// Why no slot is free for it; none: it has one, or has not asked.
    pub bound: Option<Bound>,
    /// When the slot of a parked polecat is lent.
    pub lends_at: Option<Timestamp>,
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
    /// A call about the pod.
    Pod(PodAct),
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
            Self::AskForImage(_) => "AskForImage",
            Self::Pod(act) => act.name(),
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
