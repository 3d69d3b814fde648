//! The status of a rig: a pure function of its spec and its counts.

use gastown_api::condition::{self, Assertion};
use gastown_api::git::BranchName;
use gastown_api::reason::Reason;
use gastown_api::repository::RepositoryUrl;
use gastown_api::rig::{Rig, RigPhase, RigStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::cache::Count;
use crate::types::{fields_that_are_set, ignored_fields, whole_seconds};

/// What the rig's status says.
#[must_use]
pub fn status(rig: &Rig, count: Count, now: Timestamp) -> RigStatus {
    let mut status = rig.status.clone().unwrap_or_default();
    let flaw = flaw(rig);
    let (phase, reason, message) = match &flaw {
        None => (RigPhase::Ready, Reason::RigReady, Reason::RigReady.sentence()),
        Some(flaw) => (RigPhase::Degraded, Reason::SpecIncomplete, flaw.as_str()),
    };
    let degraded = Assertion::new(condition::DEGRADED, flaw.is_some(), reason, "");
    let mut wanted = vec![
        Assertion::new(condition::READY, flaw.is_none(), reason, message),
        degraded,
    ];
    wanted.extend(ignored_fields(&fields_ignored(rig)));
    let generation = rig.metadata.generation;
    let now = Time(whole_seconds(now));
    status.conditions = condition::merge(&status.conditions, &wanted, generation, &now);
    status.phase = Some(phase);
    status.observed_generation = generation;
    status.polecat_count = count.polecats;
    status.working_polecats = count.working;
    status
}

/// What a polecat could not take from the rig. The schema refuses it too; objects of the predecessor came past that.
fn flaw(rig: &Rig) -> Option<String> {
    if let Err(error) = rig.spec.git_url.parse::<RepositoryUrl>() {
        return Some(format!("spec.gitURL: {error}"));
    }
    let branch = rig.spec.git_branch.as_deref().map(str::parse::<BranchName>);
    let error = branch.and_then(Result::err)?;
    Some(format!("spec.gitBranch: {error}"))
}

/// Fields that the schema takes and nothing reads, as far as they are set.
fn fields_ignored(rig: &Rig) -> Vec<&'static str> {
    let settings = rig.spec.settings.as_ref();
    // `namepoolTheme` is read by `kubectl gt sling`.
    let table = [(
        "spec.settings.maxPolecats",
        settings.is_some_and(|s| s.max_polecats.is_some()),
    )];
    fields_that_are_set(table)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rig(spec: &serde_json::Value) -> Rig {
        serde_json::from_value(json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig",
            "metadata": {"name": "r", "generation": 3}, "spec": spec,
        }))
        .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn has(status: &RigStatus, type_: &str, value: &str, words: &str) -> bool {
        let fits = |c: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            c.type_ == type_ && c.status == value && c.message.contains(words)
        };
        status.conditions.iter().any(|c| fits(&c))
    }

    #[test]
    fn a_rig_is_ready_from_its_own_spec_and_settles() {
        let mut rig = rig(&json!({"gitURL": "git@github.com:org/repo.git", "beadsPrefix": "mp"}));
        let count = Count {
            polecats: 3,
            working: 2,
        };
        let first = status(&rig, count, at(10));
        assert!(has(&first, "Ready", "True", "can be used"), "{first:?}");
        assert_eq!((first.polecat_count, first.working_polecats), (3, 2));
        rig.status = Some(first.clone());
        assert_eq!(status(&rig, count, at(99)), first);
    }

    #[test]
    fn a_repository_that_cannot_be_used_degrades_the_rig() {
        let status = status(
            &rig(&json!({"gitURL": "file:///etc", "beadsPrefix": "mp"})),
            Count::default(),
            at(1),
        );
        assert_eq!(status.phase, Some(RigPhase::Degraded));
        assert!(has(&status, "Ready", "False", "file:///etc"), "{status:?}");
    }

    #[test]
    fn settings_without_effect_are_named() {
        let spec = json!({"gitURL": "git@h:o/r", "beadsPrefix": "mp",
            "settings": {"namepoolTheme": "mad-max", "maxPolecats": 8}});
        let status = status(&rig(&spec), Count::default(), at(1));
        let words = "spec.settings.maxPolecats";
        assert!(has(&status, "FieldsIgnored", "True", words), "{status:?}");
    }
}
