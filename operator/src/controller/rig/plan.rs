//! The next step of a rig: a pure function of its spec, its counts and the time.

use std::sync::Arc;
use std::time::Duration;

use gastown_api::condition::{self, Assertion};
use gastown_api::git::BranchName;
use gastown_api::labels::PREDECESSOR_RIG_FINALIZER;
use gastown_api::polecat::PolecatPhase;
use gastown_api::reason::Reason;
use gastown_api::repository::RepositoryUrl;
use gastown_api::rig::{Rig, RigPhase, RigStatus};
use gastown_signatures::Policy;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use crate::types::{Step, later, whole_seconds};

/// What is known of a rig.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The rig.
    pub rig: Arc<Rig>,
    /// Its polecats.
    pub count: Count,
    /// How long its status must not be written yet.
    pub pause: Duration,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Takes the predecessor's finalizer off the rig.
    Release,
    /// Writes the status.
    WriteStatus(Box<RigStatus>),
}

/// How many polecats a rig has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that are not Terminated.
    pub polecats: i32,
    /// Those that are Working.
    pub working: i32,
}

impl Count {
    /// Counts polecats, given how many are in each phase.
    pub fn of(phases: impl IntoIterator<Item = (Option<PolecatPhase>, i64)>) -> Self {
        let mut count = Self::default();
        for (phase, many) in phases {
            let many = i32::try_from(many).unwrap_or(i32::MAX);
            if phase != Some(PolecatPhase::Terminated) {
                count.polecats = count.polecats.saturating_add(many);
            }
            if phase == Some(PolecatPhase::Working) {
                count.working = many;
            }
        }
        count
    }
}

/// The next step.
#[must_use]
pub fn next(observed: &Observed, now: Timestamp) -> Step<Act> {
    let rig = &observed.rig;
    if rig.finalizers().iter().any(|f| f == PREDECESSOR_RIG_FINALIZER) {
        return Step::Act(Act::Release);
    }
    if rig.metadata.deletion_timestamp.is_some() {
        return Step::Wait(None);
    }
    let status = status(rig, observed.count, now);
    if rig.status.as_ref() == Some(&status) {
        return Step::Wait(None);
    }
    if observed.pause.is_zero() {
        Step::Act(Act::WriteStatus(Box::new(status)))
    } else {
        let pause = SignedDuration::try_from(observed.pause).unwrap_or_default();
        Step::Wait(Some(later(now, pause)))
    }
}

/// What the rig's status says.
#[must_use]
fn status(rig: &Rig, count: Count, now: Timestamp) -> RigStatus {
    let mut status = rig.status.clone().unwrap_or_default();
    let flaw = flaw(rig);
    let (phase, reason, message) = match &flaw {
        None => (RigPhase::Ready, Reason::RigReady, Reason::RigReady.sentence()),
        Some(flaw) => (RigPhase::Degraded, Reason::SpecIncomplete, flaw.as_str()),
    };
    let degraded = Assertion::new(condition::DEGRADED, flaw.is_some(), reason, "");
    let wanted = [
        Assertion::new(condition::READY, flaw.is_none(), reason, message),
        degraded,
    ];
    let generation = rig.metadata.generation;
    let now = Time(whole_seconds(now));
    status.conditions = condition::merge(&status.conditions, &wanted, generation, &now);
    status.phase = Some(phase);
    status.observed_generation = generation;
    status.polecat_count = count.polecats;
    status.working_polecats = count.working;
    status
}

/// What a polecat could not take from the rig. The schema refuses most of it too; objects of the predecessor came past
/// that, and whether a key is one the schema cannot tell.
fn flaw(rig: &Rig) -> Option<String> {
    if let Err(error) = rig.spec.git_url.parse::<RepositoryUrl>() {
        return Some(format!("spec.gitURL: {error}"));
    }
    let branch = rig.spec.git_branch.as_deref().map(str::parse::<BranchName>);
    if let Some(Err(error)) = branch {
        return Some(format!("spec.gitBranch: {error}"));
    }
    let policy = rig.spec.image_policy.as_ref();
    let error = Policy::read("spec.imagePolicy", policy?).err()?;
    Some(format!("spec.imagePolicy.{error}"))
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
    fn an_image_policy_whose_key_is_none_degrades_the_rig() {
        let spec = json!({"gitURL": "git@h:o/r", "beadsPrefix": "mp",
            "imagePolicy": {"keys": ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]}});
        let status = status(&rig(&spec), Count::default(), at(1));
        assert_eq!(status.phase, Some(RigPhase::Degraded));
        assert!(
            has(&status, "Ready", "False", "spec.imagePolicy.keys[0]"),
            "{status:?}"
        );
    }

    fn observed(rig: Rig) -> Observed {
        Observed {
            rig: Arc::new(rig),
            count: Count::default(),
            pause: Duration::ZERO,
        }
    }

    #[test]
    fn counts_that_change_at_every_moment_are_written_once_a_pause() {
        let spec = json!({"gitURL": "git@h:o/r", "beadsPrefix": "mp"});
        let mut observed = observed(rig(&spec));
        let Step::Act(Act::WriteStatus(written)) = next(&observed, at(10)) else {
            panic!("nothing is written");
        };
        observed.pause = Duration::from_millis(300);
        let wake = later(at(10), SignedDuration::from_millis(300));
        assert_eq!(next(&observed, at(10)), Step::Wait(Some(wake)));
        let mut rig = rig(&spec);
        rig.status = Some(*written);
        observed.rig = Arc::new(rig);
        assert_eq!(next(&observed, at(99)), Step::Wait(None));
    }

    #[test]
    fn the_predecessors_finalizer_goes_first_and_what_is_deleted_is_left_alone() {
        let mut rig = rig(&json!({"gitURL": "git@h:o/r", "beadsPrefix": "mp"}));
        rig.metadata.deletion_timestamp = Some(Time(at(5)));
        rig.metadata.finalizers = Some(vec![PREDECESSOR_RIG_FINALIZER.to_owned()]);
        let mut observed = observed(rig.clone());
        assert_eq!(next(&observed, at(10)), Step::Act(Act::Release));
        rig.metadata.finalizers = None;
        observed.rig = Arc::new(rig);
        assert_eq!(next(&observed, at(10)), Step::Wait(None));
    }

    mod counts {
        use gastown_api::polecat::Polecat;
        use kube::runtime::watcher::Event;

        use super::super::Count;
        use crate::cache::{Indexer, Packed, Reflected};

        type Polecats = Reflected<Packed<Polecat>>;

        fn polecat(name: &str, rig: &str, phase: &str) -> Polecat {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
                "metadata": {"name": name, "namespace": "n"},
                "spec": {"rig": rig, "task": {"description": "x"}},
                "status": {"phase": phase, "podActive": false, "conditions": []},
            }))
            .unwrap()
        }

        /// What was delivered; the index; the rigs that it told of.
        fn indexed() -> (
            Polecats,
            std::sync::Arc<Indexer<Polecat>>,
            std::sync::mpsc::Receiver<String>,
        ) {
            let polecats = Polecats::new(&[Some("n".to_owned()), Some("other".to_owned())]);
            let index = Indexer::of(&polecats);
            let (changed, rigs) = std::sync::mpsc::channel();
            index.listen(move |rig| changed.send(rig.to_owned()).unwrap());
            (polecats, index, rigs)
        }

        fn deliver(polecats: &Polecats, event: Event<Polecat>) {
            polecats.deliver(&polecats.scopes()[0], event);
        }

        #[test]
        fn counts_follow_phase_changes_and_deletions() {
            let (polecats, index, rigs) = indexed();
            let of = |rig: &str| Count::of(index.phases_of(rig));
            let note = |polecat| deliver(&polecats, Event::Apply(polecat));
            let count = |polecats, working| Count { polecats, working };
            note(polecat("a", "r", "Working"));
            assert_eq!(rigs.try_recv().as_deref(), Ok("r"));
            note(polecat("b", "r", "Working"));
            assert_eq!(rigs.try_recv().as_deref(), Ok("r"));
            assert_eq!(of("r"), count(2, 2));
            note(polecat("a", "r", "Working"));
            assert!(rigs.try_recv().is_err());
            note(polecat("a", "r", "Done"));
            assert_eq!(of("r"), count(2, 1));
            note(polecat("a", "r", "Terminated"));
            assert_eq!(of("r"), count(1, 1));
            deliver(&polecats, Event::Delete(polecat("b", "r", "Working")));
            assert_eq!(of("r"), count(0, 0));
        }

        #[test]
        fn a_new_list_drops_what_it_does_not_hold() {
            let (polecats, index, rigs) = indexed();
            let of = |rig: &str| Count::of(index.phases_of(rig));
            deliver(&polecats, Event::Apply(polecat("a", "r", "Working")));
            deliver(&polecats, Event::Apply(polecat("b", "s", "Working")));
            assert_eq!(rigs.try_iter().collect::<Vec<_>>(), ["r", "s"]);
            // A list of another namespace says nothing of this one.
            polecats.deliver(&polecats.scopes()[1], Event::Init);
            polecats.deliver(&polecats.scopes()[1], Event::InitDone);
            assert_eq!(rigs.try_iter().count(), 0);
            deliver(&polecats, Event::Init);
            deliver(&polecats, Event::InitApply(polecat("b", "s", "Working")));
            deliver(&polecats, Event::InitDone);
            assert_eq!(rigs.try_iter().collect::<Vec<_>>(), ["r"]);
            assert_eq!(of("r"), Count::default());
            assert_eq!(of("s").working, 1);
        }

        #[test]
        fn the_polecats_of_a_rig_are_found_by_their_phase() {
            let (polecats, index, _rigs) = indexed();
            for (name, rig, phase) in [("a", "r", "Working"), ("b", "r", "Done"), ("c", "s", "Working")] {
                deliver(&polecats, Event::Apply(polecat(name, rig, phase)));
            }
            let found = |rig: &str| {
                let keys = index.of_rig(rig, |phase| phase != Some(super::PolecatPhase::Done));
                keys.into_iter().map(|key| key.to_string()).collect::<Vec<_>>()
            };
            assert_eq!(found("r"), ["n/a"]);
            assert_eq!(found("s"), ["n/c"]);
            assert!(found("t").is_empty());
        }
    }
}
