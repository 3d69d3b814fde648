//! The next step of a rig: a pure function of its spec, its counts and the time.

use std::sync::Arc;
use std::time::Duration;

use gastown_api::condition::{self, Assertion};
use gastown_api::exposed::key_in_rig;
use gastown_api::git::BranchName;
use gastown_api::labels::PREDECESSOR_RIG_FINALIZER;
use gastown_api::pod_metadata::flaw_of;
use gastown_api::polecat::PolecatPhase;
use gastown_api::reason::Reason;
use gastown_api::repository::RepositoryUrl;
use gastown_api::rig::{Rig, RigOperator, RigPhase, RigReason, RigStatus};
use gastown_signatures::Policy;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use crate::types::{OperatorIdentity, Step, later, whole_seconds};

/// What is known of a rig.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The rig.
    pub rig: Arc<Rig>,
    /// Its polecats.
    pub count: Count,
    /// How long its status must not be written yet.
    pub pause: Duration,
    /// This operator.
    pub operator: Arc<OperatorIdentity>,
    /// How long this operator has known of this generation of the rig.
    pub known_for: Duration,
}

/// How long the first operator of a rig may take to write its conditions, before another one does.
const FIRST_WRITES_WITHIN: Duration = Duration::from_secs(10);

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
    let (status, later_for) = status(observed, now);
    if rig.status.as_ref() == Some(&status) {
        let wake = later_for.map(|pause| later(now, SignedDuration::try_from(pause).unwrap_or_default()));
        return Step::Wait(wake);
    }
    if observed.pause.is_zero() {
        Step::Act(Act::WriteStatus(Box::new(status)))
    } else {
        let pause = SignedDuration::try_from(observed.pause).unwrap_or_default();
        Step::Wait(Some(later(now, pause)))
    }
}

/// What the rig's status says, and after how long it may say more.
///
/// Each operator of the cluster writes the counts of its own polecats, and the sums. Only the first of them, by name, writes
/// the rest: two versions may have different words for the same thing, and would else write for ever. If the first one is
/// gone, another one writes.
fn status(observed: &Observed, now: Timestamp) -> (RigStatus, Option<Duration>) {
    let rig = &observed.rig;
    let mut status = rig.status.clone().unwrap_or_default();
    count(&mut status, observed);
    let is_first = status
        .operators
        .first()
        .is_none_or(|first| first.name == observed.operator.name);
    let is_current = status.observed_generation == rig.metadata.generation;
    let patience = FIRST_WRITES_WITHIN.saturating_sub(observed.known_for);
    if is_first || (!is_current && patience.is_zero()) {
        (describe(status, rig, now), None)
    } else {
        (status, Some(patience).filter(|_| !is_current))
    }
}

/// Sets the counts of this operator; entries of others stay as they are.
fn count(status: &mut RigStatus, observed: &Observed) {
    let OperatorIdentity { name, namespaces } = &*observed.operator;
    let own = RigOperator {
        name: name.clone(),
        namespaces: namespaces.clone(),
        polecat_count: observed.count.polecats,
        working_polecats: observed.count.working,
    };
    status.operators.retain(|operator| operator.name != *name);
    status.operators.push(own);
    status.operators.sort_by(|a, b| a.name.cmp(&b.name));
    let sum = |of: fn(&RigOperator) -> i32| status.operators.iter().map(of).fold(0, i32::saturating_add);
    let sums = (sum(|o| o.polecat_count), sum(|o| o.working_polecats));
    (status.polecat_count, status.working_polecats) = sums;
}

/// Phase and conditions.
fn describe(mut status: RigStatus, rig: &Rig, now: Timestamp) -> RigStatus {
    let flaw = flaw(rig);
    let (phase, reason, message) = match &flaw {
        None => (
            RigPhase::Ready,
            RigReason::RigReady.explained(),
            RigReason::RigReady.sentence(),
        ),
        Some(flaw) => (
            RigPhase::Degraded,
            Reason::SpecIncomplete.explained(),
            flaw.as_str(),
        ),
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
    let policy = policy.and_then(|policy| Policy::read("spec.imagePolicy", policy).err());
    if let Some(error) = policy {
        return Some(format!("spec.imagePolicy.{error}"));
    }
    if let Some(path) = key_in_rig(rig) {
        return Some(format!(
            "{path} holds what looks like a key: revoke it, and take it out"
        ));
    }
    let pod = &rig.spec.polecat_defaults.as_ref()?.kubernetes.as_ref()?.pod;
    flaw_of(pod).map(|flaw| format!("spec.polecatDefaults.kubernetes.{flaw}"))
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
            operator: Arc::default(),
            known_for: Duration::ZERO,
        }
    }

    fn status(rig: &Rig, count: Count, now: Timestamp) -> RigStatus {
        let observed = Observed {
            count,
            ..observed(rig.clone())
        };
        super::status(&observed, now).0
    }

    /// What an operator of that name sees of the rig.
    fn seen_by(name: &str, rig: &Rig, polecats: i32) -> Observed {
        Observed {
            operator: Arc::new(OperatorIdentity {
                name: name.to_owned(),
                namespaces: vec![name.to_owned()],
            }),
            count: Count { polecats, working: 1 },
            ..observed(rig.clone())
        }
    }

    /// Lets operators take turns until none writes; gives how often something was written.
    fn settle(rig: &mut Rig, operators: &[(&str, i32)]) -> usize {
        let mut writes = 0;
        for _ in 0..10 {
            let before = writes;
            for (name, polecats) in operators {
                if let Step::Act(Act::WriteStatus(status)) = next(&seen_by(name, rig, *polecats), at(10)) {
                    rig.status = Some(*status);
                    writes += 1;
                }
            }
            if writes == before {
                return writes;
            }
        }
        panic!("they write for ever: {:?}", rig.status)
    }

    #[test]
    fn two_operators_come_to_rest_and_the_counts_say_whose_they_are() {
        let mut rig = rig(&json!({"gitURL": "git@h:o/r", "beadsPrefix": "mp"}));
        assert_eq!(settle(&mut rig, &[("b/gt", 3), ("a/gt", 2)]), 2);
        let status = rig.status.clone().unwrap();
        let whose: Vec<_> = status
            .operators
            .iter()
            .map(|o| (o.name.as_str(), o.polecat_count))
            .collect();
        assert_eq!(whose, [("a/gt", 2), ("b/gt", 3)]);
        assert_eq!((status.polecat_count, status.working_polecats), (5, 2));
        assert_eq!(status.operators[1].namespaces, ["b/gt"]);
        // One of them sees another polecat: one write, and again rest.
        assert_eq!(settle(&mut rig, &[("b/gt", 4), ("a/gt", 2)]), 1);
        assert_eq!(rig.status.unwrap().polecat_count, 6);
    }

    #[test]
    fn an_operator_of_another_version_leaves_the_first_ones_words_alone() {
        let mut rig = rig(&json!({"gitURL": "git@h:o/r", "beadsPrefix": "mp"}));
        settle(&mut rig, &[("a/gt", 0), ("b/gt", 0)]);
        rig.status.as_mut().unwrap().conditions[0].message = "in other words".to_owned();
        assert_eq!(next(&seen_by("b/gt", &rig, 0), at(20)), Step::Wait(None));
        let Step::Act(Act::WriteStatus(first)) = next(&seen_by("a/gt", &rig, 0), at(20)) else {
            panic!("the first one writes nothing");
        };
        assert!(has(&first, "Ready", "True", "can be used"), "{first:?}");
    }

    #[test]
    fn where_the_first_operator_is_gone_another_one_writes() {
        let mut rig = rig(&json!({"gitURL": "git@h:o/r", "beadsPrefix": "mp"}));
        settle(&mut rig, &[("a/gt", 0), ("b/gt", 0)]);
        rig.metadata.generation = Some(4);
        let mut seen = seen_by("b/gt", &rig, 0);
        let wake = later(at(20), SignedDuration::from_secs(10));
        assert_eq!(next(&seen, at(20)), Step::Wait(Some(wake)));
        seen.known_for = Duration::from_secs(10);
        let Step::Act(Act::WriteStatus(written)) = next(&seen, at(30)) else {
            panic!("nobody writes");
        };
        assert_eq!(written.observed_generation, Some(4));
    }

    #[test]
    fn keys_and_labels_that_no_pod_may_have_degrade_the_rig() {
        let key = format!("ghp_{}", "a".repeat(36));
        for (pod, words) in [
            (
                json!({"podAnnotations": {"note": key}}),
                "podAnnotations \"note\" holds what looks like a key",
            ),
            (
                json!({"podLabels": {"gastown.io/polecat": "x"}}),
                "operator's own",
            ),
            (json!({"podLabels": {"team": "a b"}}), "63 letters"),
        ] {
            let spec =
                json!({"gitURL": "git@h:o/r", "beadsPrefix": "mp", "polecatDefaults": {"kubernetes": pod}});
            let status = status(&rig(&spec), Count::default(), at(1));
            assert!(has(&status, "Ready", "False", words), "{status:?}");
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
