//! A rig whose limit holds, however often the operator is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::join_all;
use gastown_api::labels;
use gastown_api::polecat::PolecatPhase;
use gastown_api::rig::Rig;
use gastown_tests::bench::kubelet::{self, Stage};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::scene::{PATIENCE, Scene, attempt_of};

const POLECATS: usize = 8;
const MOST: usize = 2;

/// Says of every pod that it runs and, a while later, that it has delivered; counts how many were at work at once.
async fn kubelets(pods: Api<Pod>, most_at_once: Arc<AtomicUsize>) {
    let mut agents = JoinSet::new();
    let mut at_work = BTreeSet::new();
    let mut known = BTreeSet::new();
    let mut events = std::pin::pin!(watcher(pods.clone(), watcher::Config::default()).default_backoff());
    while let Some(event) = events.try_next().await.unwrap() {
        let (watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) | watcher::Event::Delete(pod)) =
            event
        else {
            continue;
        };
        if !pod.labels().contains_key(labels::ATTEMPT) {
            continue;
        }
        let uid = pod.uid().unwrap();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase == Some("Succeeded") {
            at_work.remove(&uid);
        } else {
            at_work.insert(uid.clone());
            most_at_once.fetch_max(at_work.len(), Ordering::Relaxed);
        }
        if known.insert(uid) {
            agents.spawn(live(pods.clone(), pod));
        }
    }
}

async fn live(pods: Api<Pod>, pod: Pod) {
    let random = RandomState::new().hash_one(pod.name_any()) % 300;
    for (stage, pause) in [(Stage::Running, 10), (Stage::Ended, random)] {
        sleep(Duration::from_millis(pause)).await;
        let attempt = u32::try_from(attempt_of(&pod)).unwrap();
        let status = kubelet::status(stage, attempt, Timestamp::now()).unwrap();
        let patch = Patch::Merge(json!({"status": status}));
        let name = pod.name_any();
        pods.patch_status(&name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

/// A rig of this name, which belongs to the cluster.
async fn create_rig(scene: &Scene) -> String {
    let name = scene.namespace.clone();
    let rig: Rig = serde_json::from_value(json!({
        "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig", "metadata": {"name": name},
        "spec": {"gitURL": "https://git.example.com/town/project.git", "beadsPrefix": "mp", "settings": {"maxPolecats": MOST}},
    }))
    .unwrap();
    let rigs = Api::<Rig>::all(scene.client.clone());
    rigs.create(&PostParams::default(), &rig).await.unwrap();
    name
}

async fn phases(scene: &Scene) -> BTreeMap<String, Option<PolecatPhase>> {
    let polecats = scene.polecats().list(&ListParams::default()).await.unwrap();
    let phase =
        |polecat: &gastown_api::polecat::Polecat| polecat.status.as_ref().and_then(|status| status.phase);
    polecats
        .iter()
        .map(|polecat| (polecat.name_any(), phase(polecat)))
        .collect()
}

/// Kills the operator again and again until all are Done; answers how often.
async fn one_rig(number: usize) -> u64 {
    let scene = Scene::open(&format!("slots-{number}")).await;
    let rig = create_rig(&scene).await;
    let most_at_once = Arc::new(AtomicUsize::new(0));
    let mut watching = JoinSet::new();
    watching.spawn(kubelets(scene.pods(), most_at_once.clone()));
    for polecat in 0..POLECATS {
        scene
            .sling_named(&format!("p{polecat}"), json!({"rig": rig}))
            .await;
    }
    let started = Instant::now();
    let mut kills = 0;
    loop {
        let operator = scene.operator("first", None).await;
        // Each may live a little longer, so that on a busy machine, too, one comes to the end of something.
        let life = RandomState::new().hash_one(kills) % 1500 + 25 * kills;
        sleep(Duration::from_millis(300 + life)).await;
        let phases = phases(&scene).await;
        if phases.values().all(|phase| *phase == Some(PolecatPhase::Done)) {
            break;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{}: not in time: {phases:?}",
            scene.namespace
        );
        drop(operator);
        kills += 1;
    }
    let most = most_at_once.load(Ordering::Relaxed);
    assert!(
        most <= MOST,
        "{}: {most} polecats were at work at once",
        scene.namespace
    );
    let pods = scene.pods_ever();
    assert_eq!(pods.len(), POLECATS, "{}: {pods:?}", scene.namespace);
    Api::<Rig>::all(scene.client.clone())
        .delete(&rig, &DeleteParams::default())
        .await
        .unwrap();
    kills
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rigs_limit_holds_however_often_the_operator_is_killed() {
    let kills = join_all((0..5).map(|number| Box::pin(one_rig(number)))).await;
    assert!(kills.iter().sum::<u64>() >= 10, "hardly killed: {kills:?}");
}
