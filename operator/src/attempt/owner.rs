//! What the machine has to know of the object that an attempt belongs to.

use std::borrow::Cow;

use gastown_api::reason::Reason;
use jiff::SignedDuration;

use crate::pod_view::{PodView, Shape};
use crate::types::Refusal;

/// The attempt that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its number.
    pub number: i32,
    /// The UID of its pod, once a status names it.
    pub pod_uid: Option<String>,
}

/// Whether a pod is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is.
    Work,
    /// It is to stop, for this reason: `Idle`, `Terminated` or `RigSuspended`.
    Stop(Reason),
}

/// The object that attempts belong to, as its kind tells of it.
pub trait Owner {
    /// The acts of the kind.
    type Act;

    /// The kind, as the pod's controller reference has it.
    fn kind(&self) -> Cow<'_, str>;

    /// The UID of the object.
    fn uid(&self) -> Option<&str>;

    /// The containers of its pods.
    fn shape(&self) -> Shape;

    /// The grace period of its pods, in seconds.
    fn grace_seconds(&self) -> i64;

    /// How long a pod may wait for a node.
    fn longest_wait_for_a_node(&self) -> SignedDuration;

    /// Whether the main container runs an image that is not the operator's.
    fn has_own_image(&self) -> bool;

    /// The attempt whose pod the status says this UID is.
    fn named_attempt(&self, pod_uid: &str) -> Option<i32>;

    /// What is wanted of a pod at work.
    fn wanted(&self) -> Wanted;

    /// Why the operator deletes or deleted the pod of the attempt, as the status says.
    fn stopped_for(&self, open: &Open) -> Option<Refusal>;

    /// Puts back finalizers and labels that others took off the object, or off its pod. It is asked for once a
    /// reconcile: an admission policy may take them off again at once.
    fn restore_marks(&self, number: i32, pod: &PodView) -> Option<Self::Act>;

    /// Whether the object controls the pod.
    fn owns(&self, pod: &PodView) -> bool {
        let kind = self.kind();
        let controller = pod.owner(&kind);
        controller.is_some() && controller == self.uid()
    }

    /// The attempt that a pod is: by its UID, if the status names it; labels can be changed by others.
    fn attempt_of(&self, pod: &PodView) -> Option<i32> {
        self.named_attempt(pod.uid()).or_else(|| pod.attempt())
    }

    /// The request that a pod which goes follows: the one it was deleted for, or, where someone else deleted it, one that
    /// wants the same.
    fn request(&self, stopped_for: Option<&Refusal>, is_going: bool) -> Wanted {
        match stopped_for.map(|why| why.reason) {
            Some(reason @ (Reason::Idle | Reason::Terminated | Reason::RigSuspended)) => Wanted::Stop(reason),
            None if is_going => self.wanted(),
            Some(_) | None => Wanted::Work,
        }
    }
}

/// What a request of this reason is called in an attempt.
#[must_use]
pub fn on_request(reason: Reason) -> Refusal {
    Refusal::new(reason, "the pod was stopped on request")
}
