//! Labels, annotations and finalizers; the labels are those of the seed page.

/// The polecat a pod belongs to.
pub const POLECAT: &str = "gastown.io/polecat";
/// The rig a polecat or pod belongs to.
pub const RIG: &str = "gastown.io/rig";
/// The bead a polecat works on.
pub const BEAD: &str = "gastown.io/bead";
/// The number of the pod's attempt.
pub const ATTEMPT: &str = "gastown.io/attempt";

/// On a pod: its [`crate::work_order::WorkOrder`] as JSON.
pub const WORK_ORDER: &str = "gastown.io/work-order";
/// On a pod with a budget: the [`crate::work_order::Control`] of its attempt as JSON. It starts with the first quarter;
/// more is told once a status has recorded it.
pub const CONTROL: &str = "gastown.io/control";
/// On a polecat that is Stuck: any new value starts a new attempt on the same branch.
pub const RETRY_REQUESTED_AT: &str = "gastown.io/retry-requested-at";

/// On a pod: keeps it until its evidence is in the polecat's status.
pub const EVIDENCE_FINALIZER: &str = "gastown.io/evidence";
/// On a polecat: keeps it until its pod has ended; the predecessor's name, so that its objects stay deletable.
pub const POLECAT_FINALIZER: &str = "gastown.io/polecat-cleanup";
/// The predecessor's finalizer on a Rig. The operator removes it, because a Rig needs no clean-up.
pub const PREDECESSOR_RIG_FINALIZER: &str = "gastown.io/rig-cleanup";

/// Whether `value` may stand in a label: at most 63 characters of letters, digits, `-`, `_` and `.`, with a letter
/// or digit at both ends. What does not fit goes to an annotation of the same key.
#[must_use]
pub fn fits_label(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    value.len() <= 63 && edge(value.bytes().next()) && edge(value.bytes().last()) && value.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_kubernetes_accepts_fits_a_label() {
        assert!(fits_label("gt-a1b2.1"));
        for value in ["", "-a", "a-", "a b", "a/b", &"a".repeat(64)] {
            assert!(!fits_label(value), "{value:?}");
        }
    }
}
