//! What is known of an attempt's pod when a step is planned.

use std::sync::Arc;

use jiff::Timestamp;

use crate::pod_view::PodView;
use crate::types::Refusal;

/// What is known of an attempt's pod when a step is planned.
#[derive(Clone, Debug)]
pub struct Observed<E> {
    /// The pod of the owner's name.
    pub pod: PodLookup,
    /// What the broker's log said since readiness turned False.
    pub report: Option<BrokerReport<E>>,
    /// Why the API server refused the pod, just now.
    pub refusal: Option<Refusal>,
    /// The attempt that this reconcile has claimed and made no pod for yet.
    pub claimed: Option<i32>,
    /// Whether this reconcile has put back what others took off.
    pub restored: bool,
}

/// The pod of the owner's name.
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
    /// The pod, if it exists.
    #[must_use]
    pub fn found(&self) -> Option<&PodView> {
        match self {
            Self::Found(pod) => Some(pod),
            Self::NotCached | Self::NotFound => None,
        }
    }

    /// Whether it exists and someone asked for its deletion.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.found().is_some_and(PodView::is_deleting)
    }
}

/// What the broker's log said.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerReport<E> {
    /// The pod it is of.
    pub pod_uid: String,
    /// The last evidence in it, if there was any.
    pub evidence: Option<E>,
    /// When it was read.
    pub read_at: Timestamp,
}
