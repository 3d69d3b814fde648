//! When a failed attempt of a polecat is repeated by itself: a new attempt on the same branch.

use gastown_api::polecat::{Attempt, AttemptOutcome, Polecat, PolecatStatus};
use gastown_api::reason::Reason;
use gastown_api::rig::Rig;

use crate::attempt::retry::{self, Coming, Failed, reason_named};
use crate::config::Config;

/// How often a failed attempt is repeated: Polecat, Rig, configuration.
#[must_use]
pub fn backoff_limit(polecat: &Polecat, rig: Option<&Rig>, config: &Config) -> i32 {
    let of_rig = rig.and_then(|r| r.spec.polecat_defaults.as_ref()?.backoff_limit);
    let limit = polecat.spec.backoff_limit.or(of_rig);
    limit.unwrap_or_else(|| i32::try_from(config.backoff_limit).unwrap_or(i32::MAX))
}

/// The attempt that follows the last one of `status`, if that failed and a repetition can help.
#[must_use]
pub fn coming(status: &PolecatStatus, uid: &str, limit: i32) -> Option<Coming> {
    let last = status.attempts.last()?;
    if last.outcome != Some(AttemptOutcome::Failed) {
        return None;
    }
    let failed = Failed {
        number: last.number,
        retry: last.retry.unwrap_or(0),
        reason: reason_of(last)?,
        ended: last.finished_at.as_ref()?.0,
    };
    retry::coming(&failed, uid, limit)
}

/// Why the attempt ended, as far as this version knows the reason.
#[must_use]
pub fn reason_of(attempt: &Attempt) -> Option<Reason> {
    reason_named(attempt.reason.as_deref()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{at, polecat, rig, settings};

    fn failed(reason: &str, retry: i32) -> PolecatStatus {
        serde_json::from_value(json!({"attempts": [{
            "number": 7, "retry": retry, "outcome": "Failed", "reason": reason, "finishedAt": "1970-01-01T00:00:00Z",
        }]}))
        .unwrap()
    }

    #[test]
    fn the_pause_doubles_up_to_six_minutes() {
        let moments: Vec<_> = (0..8)
            .map(|retry| coming(&failed("Evicted", retry), "", 1000).unwrap().at)
            .collect();
        assert_eq!(moments, [10, 20, 40, 80, 160, 320, 360, 360].map(at));
        let last = coming(&failed("Evicted", 999), "", 1000).unwrap();
        assert_eq!(last.at, at(360));
    }

    #[test]
    fn each_polecat_has_up_to_a_quarter_of_the_pause_to_itself() {
        let moment = |uid: &str| coming(&failed("Evicted", 3), uid, 9).unwrap().at;
        assert_ne!(moment("a"), moment("q"));
        for uid in ["a", "q", "c0ffee", "\u{7f}"] {
            assert!(moment(uid) >= at(80) && moment(uid) <= at(100), "{uid}");
        }
    }

    #[test]
    fn retries_end_at_the_limit_but_not_those_that_wait_for_room() {
        let of = |reason, before| coming(&failed(reason, before), "", 2).map(|c| (c.number, c.retry, c.of));
        assert_eq!(of("Evicted", 0), Some((8, 1, Some(2))));
        assert_eq!(of("Evicted", 1), Some((8, 2, Some(2))));
        assert_eq!(of("Evicted", 2), None);
        assert_eq!(of("QuotaExceeded", 50), Some((8, 51, None)));
        assert_eq!(of("NothingChanged", 0), None);
        assert_eq!(of("AReasonOfANewerVersion", 0), None);
        assert_eq!(coming(&failed("Evicted", 0), "", 0), None, "a limit of 0 is none");
    }

    #[test]
    fn only_a_failed_attempt_is_repeated() {
        for outcome in ["Delivered", "Stopped"] {
            let mut status = failed("Evicted", 0);
            status.attempts[0].outcome = serde_json::from_value(json!(outcome)).unwrap();
            assert_eq!(coming(&status, "", 9), None);
        }
        assert_eq!(coming(&PolecatStatus::default(), "", 9), None);
    }

    #[test]
    fn the_limit_is_the_polecats_then_the_rigs_then_the_configurations() {
        let config = settings().config;
        let mut of_rig = (*rig()).clone();
        assert_eq!(backoff_limit(&polecat(json!({})), Some(&of_rig), &config), 2);
        of_rig.spec.polecat_defaults = serde_json::from_value(json!({"backoffLimit": 5})).unwrap();
        assert_eq!(backoff_limit(&polecat(json!({})), Some(&of_rig), &config), 5);
        let own = polecat(json!({"spec": {"backoffLimit": 0}}));
        assert_eq!(backoff_limit(&own, Some(&of_rig), &config), 0);
    }
}
