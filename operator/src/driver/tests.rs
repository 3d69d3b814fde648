//! The driver with a kind of its own: an object has as many steps to go as its label says, and no call is made.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use gastown_api::rig::Rig;
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use tokio::time::timeout;

use super::*;

/// What the controller was asked to do, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// How the acts of the kind end.
#[derive(Clone, Copy)]
enum Acts {
    Succeed,
    Conflict,
    /// They succeed, and the watch is to show this version.
    Write(&'static str),
}

struct Counts {
    log: Log,
    acts: Acts,
}

impl Counts {
    fn note(&self, words: String) {
        self.log.lock().unwrap().push(words);
    }
}

impl Controller for Counts {
    type Stored = Rig;
    type Observed = (Key, usize);
    type Act = ();
    type Flaw = Infallible;

    const KIND: &'static str = "Rig";

    fn observe(&self, rig: Arc<Rig>) -> Result<Self::Observed, Unreadable> {
        let steps = rig.labels().get("steps").map_or("0", String::as_str);
        self.note(format!("observes {}", rig.name_any()));
        Ok((Key::of(&*rig), steps.parse().unwrap()))
    }

    fn next(&self, (_, left): &Self::Observed, _now: Timestamp) -> Result<Step<()>, Infallible> {
        Ok(if *left == 0 {
            Step::Wait(None)
        } else {
            Step::Act(())
        })
    }

    fn name_of((): &()) -> &'static str {
        "Count"
    }

    async fn carry_out(
        &self,
        (): (),
        (key, left): &mut Self::Observed,
        writes: &Writes,
    ) -> Result<Then, Call> {
        self.note(format!("acts on {key}"));
        *left -= 1;
        match self.acts {
            Acts::Succeed => {}
            Acts::Conflict => {
                let object = key.to_string();
                return Err(Call::Conflict { act: "count", object });
            }
            Acts::Write(version) => writes.wrote(key, &meta(version)),
        }
        Ok(Then::Next)
    }

    async fn gone(&self, key: &Key, _writes: &Writes) {
        self.note(format!("forgets {key}"));
    }
}

fn meta(version: &str) -> ObjectMeta {
    ObjectMeta {
        resource_version: Some(version.to_owned()),
        ..ObjectMeta::default()
    }
}

struct World {
    log: Log,
    metrics: Arc<Metrics>,
    rigs: Arc<Reflected<Rig>>,
    triggers: Arc<ReconcileTriggers>,
    driver: Arc<dyn Drive>,
}

impl World {
    fn new(acts: Acts) -> Self {
        // Another test of this process may have installed it.
        drop(gastown_crypto::install());
        let nowhere = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let cluster = Cluster {
            client: kube::Client::try_from(nowhere).unwrap(),
            identity: "me".to_owned(),
        };
        let metrics = Arc::new(Metrics::new());
        let mut roster = Roster::new(cluster, metrics.clone(), &[]);
        let (rigs, log) = (roster.of_the_cluster(), Log::default());
        let counts = Counts {
            log: log.clone(),
            acts,
        };
        let triggers = roster.drive(&rigs, counts);
        let driver = roster.drivers.remove(0);
        // Nothing is driven before the first list is there.
        rigs.deliver(&rigs.scopes()[0], Event::Init);
        rigs.deliver(&rigs.scopes()[0], Event::InitDone);
        Self {
            log,
            metrics,
            rigs,
            triggers,
            driver,
        }
    }

    fn deliver(&self, event: Event<Rig>) {
        self.rigs.deliver(&self.rigs.scopes()[0], event);
    }

    /// Whether the log becomes this, and stays so for a moment.
    async fn sees(&self, expected: &[&str]) {
        let same = async {
            while *self.log.lock().unwrap() != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = timeout(Duration::from_secs(20), same).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let log = self.log.lock().unwrap();
        assert!(seen.is_ok() && *log == expected, "{log:?}");
    }

    fn counted(&self, line: &str) {
        let text = self.metrics.encode().unwrap();
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

fn rig(name: &str, steps: usize, version: &str) -> Rig {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig",
        "metadata": {"name": name, "labels": {"steps": steps.to_string()}, "resourceVersion": version},
        "spec": {"gitURL": "git@h:o/r", "beadsPrefix": "mp"},
    }))
    .unwrap()
}

#[tokio::test]
async fn what_was_there_and_what_changes_is_driven_step_by_step_until_nobody_leads() {
    let world = World::new(Acts::Succeed);
    world.deliver(Event::Apply(rig("a", 2, "1")));
    let leading = tokio::spawn(world.driver.clone().lead());
    world.sees(&["observes a", "acts on a", "acts on a"]).await;
    world.counted("gastown_act_duration_seconds_count{kind=\"Rig\",act=\"Count\"} 2");
    world.counted("gastown_queue_duration_seconds_count{kind=\"Rig\"} 1");
    world.log.lock().unwrap().clear();
    world.deliver(Event::Apply(rig("b", 0, "2")));
    world.sees(&["observes b"]).await;
    world.driver.close();
    leading.await.unwrap();
    world.deliver(Event::Apply(rig("a", 1, "3")));
    world.sees(&["observes b"]).await;
}

#[tokio::test]
async fn an_object_that_is_gone_is_forgotten() {
    let world = World::new(Acts::Succeed);
    world.deliver(Event::Apply(rig("a", 0, "1")));
    let _leading = tokio::spawn(world.driver.clone().lead());
    world.sees(&["observes a"]).await;
    world.deliver(Event::Delete(rig("a", 0, "2")));
    world.sees(&["observes a", "forgets a"]).await;
}

#[tokio::test]
async fn steps_without_end_are_given_up_and_tried_again_later() {
    let world = World::new(Acts::Succeed);
    world.deliver(Event::Apply(rig("a", 1000, "1")));
    let _leading = tokio::spawn(world.driver.clone().lead());
    let mut expected = vec!["acts on a"; 12];
    expected.insert(0, "observes a");
    world.sees(&expected).await;
    world.counted("gastown_reconcile_total{kind=\"Rig\",result=\"error\"} 1");
}

#[tokio::test]
async fn a_conflict_ends_the_reconcile_and_is_counted_as_one() {
    let world = World::new(Acts::Conflict);
    world.deliver(Event::Apply(rig("a", 3, "1")));
    let _leading = tokio::spawn(world.driver.clone().lead());
    world.sees(&["observes a", "acts on a"]).await;
    world.counted("gastown_reconcile_total{kind=\"Rig\",result=\"conflict\"} 1");
}

#[tokio::test]
async fn an_object_is_not_reconciled_before_the_watch_shows_what_was_written() {
    let world = World::new(Acts::Write("7"));
    world.deliver(Event::Apply(rig("a", 1, "1")));
    let _leading = tokio::spawn(world.driver.clone().lead());
    world.sees(&["observes a", "acts on a"]).await;
    world.triggers.send(Key::cluster("a"));
    world.sees(&["observes a", "acts on a"]).await;
    world.deliver(Event::Apply(rig("a", 0, "7")));
    world.sees(&["observes a", "acts on a", "observes a"]).await;
}

#[tokio::test]
async fn a_change_that_only_a_new_list_shows_is_driven_once_the_list_is_complete() {
    let world = World::new(Acts::Succeed);
    world.deliver(Event::Apply(rig("a", 0, "1")));
    world.deliver(Event::Apply(rig("b", 0, "1")));
    let _leading = tokio::spawn(world.driver.clone().lead());
    let both = async {
        while world.log.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), both).await.unwrap();
    world.log.lock().unwrap().clear();
    world.deliver(Event::Init);
    world.deliver(Event::InitApply(rig("a", 1, "5")));
    world.sees(&[]).await;
    world.deliver(Event::InitDone);
    let both = async {
        while world.log.lock().unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), both).await.unwrap();
    let mut log = world.log.lock().unwrap().clone();
    log.sort();
    assert_eq!(log, ["acts on a", "forgets b", "observes a"]);
}
