//! How long things may take: the polecat's word, else its Rig's, else the configuration's.

use gastown_api::polecat::{KubernetesSpec, Polecat};
use gastown_api::rig::Rig;
use gastown_api::timing::Timing;
use gastown_api::work_order::{Limits, PaceOrder};

use super::options::pod_defaults;
use crate::config::Config;

/// How long an attempt may take.
#[must_use]
pub fn limits(polecat: &Polecat, rig: Option<&Rig>, config: &Config) -> Limits {
    let none = KubernetesSpec::default();
    let kubernetes = polecat.spec.kubernetes.as_ref().unwrap_or(&none);
    let deadline = kubernetes
        .pod
        .active_deadline_seconds
        .or(pod_defaults(rig).and_then(|d| d.pod.active_deadline_seconds));
    let deadline = deadline.and_then(|s| u64::try_from(s).ok());
    Limits {
        deadline_seconds: deadline.unwrap_or_else(|| u64::from(config.deadline_seconds)),
        parking_seconds: first(polecat, rig, |t| t.parking_seconds, config.parking_seconds),
        grace_seconds: u64::from(config.grace_seconds),
    }
}

/// When its work is saved, and when its agent counts as hung.
#[must_use]
pub fn pace(polecat: &Polecat, rig: Option<&Rig>, config: &Config) -> PaceOrder {
    PaceOrder {
        checkpoint_seconds: first(polecat, rig, |t| t.checkpoint_seconds, config.checkpoint_seconds),
        checkpoint_turns: first(polecat, rig, |t| t.checkpoint_turns, config.checkpoint_turns),
        silence_seconds: first(polecat, rig, |t| t.silence_seconds, config.silence_seconds),
    }
}

fn first(polecat: &Polecat, rig: Option<&Rig>, field: fn(&Timing) -> Option<i32>, last: u32) -> u64 {
    let own = polecat.spec.timing.unwrap_or_default();
    let of_rig = rig.and_then(|r| r.spec.polecat_defaults.as_ref()?.timing);
    let given = field(&own).or_else(|| field(&of_rig.unwrap_or_default()));
    given
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or_else(|| u64::from(last))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{polecat, rig, settings};

    #[test]
    fn each_time_is_the_polecats_then_the_rigs_then_the_charts() {
        let config = settings().config;
        let mut of_rig = (*rig()).clone();
        let bare = polecat(json!({}));
        let limits = |polecat: &Polecat, rig: &Rig| super::limits(polecat, Some(rig), &config);
        let pace = |polecat: &Polecat, rig: &Rig| super::pace(polecat, Some(rig), &config);
        let chart = limits(&bare, &of_rig);
        assert_eq!((chart.deadline_seconds, chart.parking_seconds), (3600, 21_600));
        of_rig.spec.polecat_defaults = serde_json::from_value(json!({
            "timing": {"parkingSeconds": 20, "checkpointSeconds": 30, "checkpointTurns": 40, "silenceSeconds": 50}, "kubernetes": {"activeDeadlineSeconds": 10},
        }))
        .unwrap();
        let rigs = limits(&bare, &of_rig);
        assert_eq!((rigs.deadline_seconds, rigs.parking_seconds), (10, 20));
        let rigs = pace(&bare, &of_rig);
        assert_eq!(
            (
                rigs.checkpoint_seconds,
                rigs.checkpoint_turns,
                rigs.silence_seconds
            ),
            (30, 40, 50)
        );
        let own = polecat(json!({"spec": {
            "timing": {"parkingSeconds": 2, "checkpointTurns": 4}, "kubernetes": {"activeDeadlineSeconds": 1},
        }}));
        let owns = limits(&own, &of_rig);
        assert_eq!((owns.deadline_seconds, owns.parking_seconds), (1, 2));
        let owns = pace(&own, &of_rig);
        assert_eq!((owns.checkpoint_turns, owns.silence_seconds), (4, 50));
    }
}
