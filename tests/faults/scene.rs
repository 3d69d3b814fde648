//! A namespace with a polecat, an operator that may be killed, what kubelets would say, and every pod there ever was.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt as _;
use gastown_api::labels;
use gastown_api::pod::pod_name;
use gastown_api::polecat::{AttemptOutcome, Polecat, PolecatPhase};
use gastown_operator::embedded;
use gastown_tests::bench::kubelet::{self, Stage};
use gastown_tests::{chart, client};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinSet;

use crate::proxy::{Proxy, Trap};

/// The name of every scene's polecat.
pub const NAME: &str = "furiosa";
/// How long an operator may take to get over a fault: its pauses are seconds long, and a thousand polecats of another test
/// are made beside it.
pub const PATIENCE: Duration = Duration::from_mins(5);
/// The digest of nothing that exists: no kubelet runs here that would pull it.
const IMAGE: &str = "registry.example.com/polecat-agent@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static DEFINED: OnceCell<()> = OnceCell::const_new();

/// A namespace of its own.
pub struct Scene {
    pub client: Client,
    pub namespace: String,
    /// The attempt of every pod that was ever seen, by its UID.
    pods: Arc<Mutex<BTreeMap<String, i32>>>,
    _watching: JoinSet<()>,
}

/// An operator of one scene; dropped, it is as good as killed.
pub struct Operator {
    pub proxy: Proxy,
    stop: Arc<Notify>,
    running: JoinSet<()>,
    _config: tempfile::NamedTempFile,
}

impl Scene {
    pub async fn open(name: &str) -> Self {
        let client = client::from_kubeconfig()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        DEFINED.get_or_init(|| define(&client)).await;
        let namespace = format!("{name}-{:06x}", RandomState::new().hash_one(()) & 0xff_ffff);
        let mut object = Namespace::default();
        object.metadata.name = Some(namespace.clone());
        let enforce = "pod-security.kubernetes.io/enforce".to_owned();
        object.metadata.labels = Some(BTreeMap::from([(enforce, "restricted".to_owned())]));
        Api::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        let pods = Arc::new(Mutex::new(BTreeMap::new()));
        let mut watching = JoinSet::new();
        watching.spawn(note_pods(
            Api::namespaced(client.clone(), &namespace),
            pods.clone(),
        ));
        Self {
            client,
            namespace,
            pods,
            _watching: watching,
        }
    }

    /// Starts the operator `identity` of this namespace, and sets a trap on its way.
    pub async fn operator(&self, identity: &str, trap: Option<Trap>) -> Operator {
        self.operator_with(identity, trap, &json!({})).await
    }

    /// The same with a configuration of its own.
    pub async fn operator_with(&self, identity: &str, trap: Option<Trap>, config: &Value) -> Operator {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config.to_string()).unwrap();
        let proxy = Proxy::open(self.client.clone(), trap).await;
        let arguments = [
            "--agent-image",
            IMAGE,
            "--config",
            file.path().to_str().unwrap(),
            "--namespaces",
            &self.namespace,
            "--leader-election-namespace",
            &self.namespace,
            "--identity",
            identity,
            "--listen",
            "127.0.0.1:0",
        ]
        .map(str::to_owned);
        let way = proxy.client();
        let stop = Arc::new(Notify::new());
        let told_to_stop = stop.clone();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let ended = embedded::run(&arguments, way, told_to_stop.notified()).await;
            assert_eq!(ended, Ok(()), "the operator ended");
        });
        Operator {
            proxy,
            stop,
            running,
            _config: file,
        }
    }

    pub fn polecats(&self) -> Api<Polecat> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates the polecat, with `changes` of its spec.
    pub async fn sling(&self, changes: Value) {
        self.sling_named(NAME, changes).await;
    }

    /// Creates a polecat, with `changes` of its spec.
    pub async fn sling_named(&self, name: &str, changes: Value) {
        let mut object = json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat", "metadata": {"name": name},
            "spec": {
                "rig": "no-such-rig",
                "desiredState": "Working",
                "task": {"description": "Fix the test."},
                "kubernetes": {
                    "gitRepository": "https://git.example.com/town/project.git",
                    "gitSecretRef": {"name": "git-credentials"},
                    "claudeCredsSecretRef": {"name": "claude-creds"},
                },
            },
        });
        for (field, value) in changes.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        let polecat = serde_json::from_value(object).unwrap();
        self.polecats()
            .create(&PostParams::default(), &polecat)
            .await
            .unwrap();
    }

    /// Waits until `holds` of the polecat.
    pub async fn until(&self, what: &str, holds: impl Fn(&Polecat) -> bool) -> Polecat {
        let seen = await_condition(self.polecats(), NAME, |polecat: Option<&Polecat>| {
            polecat.is_some_and(&holds)
        });
        let Ok(polecat) = tokio::time::timeout(PATIENCE, seen).await else {
            panic!("{}: not in time: {what}; {}", self.namespace, self.story().await)
        };
        polecat.unwrap().unwrap()
    }

    /// Waits until `holds` of the polecat's pod; none: there is none.
    pub async fn until_pod(&self, what: &str, holds: impl Fn(Option<&Pod>) -> bool) -> Option<Pod> {
        let name = pod_name(NAME);
        let seen = await_condition(self.pods(), &name, holds);
        let Ok(pod) = tokio::time::timeout(PATIENCE, seen).await else {
            panic!("{}: not in time: {what}; {}", self.namespace, self.story().await)
        };
        pod.unwrap()
    }

    async fn story(&self) -> String {
        let polecat = self.polecats().get_opt(NAME).await;
        let pod = self.pods().get_opt(&pod_name(NAME)).await;
        format!(
            "polecat {:#?}\npod {:#?}",
            polecat.map(|p| p.and_then(|p| p.status)),
            pod.map(|pod| pod.map(|pod| (pod.metadata, pod.status)))
        )
    }

    /// The kubelet says of the pod that it is at `stage`.
    pub async fn report(&self, stage: Stage) {
        let pod = self.until_pod("it has a pod", |pod| pod.is_some()).await.unwrap();
        let attempt = u32::try_from(attempt_of(&pod)).unwrap();
        let status = kubelet::status(stage, attempt, Timestamp::now()).unwrap();
        self.report_status(status).await;
    }

    /// The kubelet says that of the pod.
    pub async fn report_status(&self, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.pods()
            .patch_status(&pod_name(NAME), &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// The operator says that an attempt begins. Without this a slow one may write of the begin and of the work at once.
    pub async fn begins(&self) {
        let phase = |polecat: &Polecat| polecat.status.as_ref().and_then(|status| status.phase);
        let begun = |polecat: &Polecat| phase(polecat) == Some(PolecatPhase::Working);
        self.until("its attempt begins", begun).await;
    }

    /// The agent comes to work, and the operator says so.
    pub async fn works(&self) {
        self.report(Stage::Running).await;
        self.until("its agent is at work", |polecat| {
            polecat.status.as_ref().is_some_and(|status| status.pod_active)
        })
        .await;
    }

    /// The agent delivers, and the operator says so and lets the pod go.
    pub async fn delivers(&self) {
        self.report(Stage::Ended).await;
        self.is_done().await;
    }

    /// Waits until the polecat is Done, and nothing is left to do.
    pub async fn is_done(&self) -> Polecat {
        let done = |polecat: &Polecat| {
            polecat.status.as_ref().and_then(|status| status.phase) == Some(PolecatPhase::Done)
        };
        let polecat = self.until("it is Done", done).await;
        let released = |pod: Option<&Pod>| pod.is_none_or(|pod| pod.finalizers().is_empty());
        self.until_pod("its pod is released", released).await;
        polecat
    }

    /// The outcome of an ordinary life: Done, by one attempt in one pod.
    pub async fn was_done_once(&self) {
        let polecat = self.is_done().await;
        let attempts = polecat.status.unwrap().attempts;
        let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome).collect();
        assert_eq!(outcomes, [Some(AttemptOutcome::Delivered)], "{attempts:?}");
        let pods = self.pods_ever();
        assert_eq!(pods.len(), 1, "{}: {pods:?}", self.namespace);
        let pod = self.pods().get(&pod_name(NAME)).await.unwrap();
        assert_eq!(attempts[0].pod_uid, pod.metadata.uid);
        assert_eq!(attempts[0].number, attempt_of(&pod));
    }

    /// The attempts of all pods that ever were.
    pub fn pods_ever(&self) -> BTreeMap<String, i32> {
        self.pods.lock().unwrap().clone()
    }
}

impl Operator {
    /// Tells it to stop, lets pass what was held, and waits until it has ended.
    pub async fn stops(mut self) {
        self.stop.notify_one();
        // It begins to stop while the request is still under way.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.proxy.open_gate();
        let ended = tokio::time::timeout(PATIENCE, self.running.join_next()).await;
        ended.unwrap().unwrap().unwrap();
    }

    /// Waits until it leads, and has seen what there is.
    pub async fn leads(&self, scene: &Scene) {
        let leases = Api::<Lease>::namespaced(scene.client.clone(), &scene.namespace);
        let is_held = |lease: Option<&Lease>| {
            let spec = lease.and_then(|lease| lease.spec.as_ref());
            spec.is_some_and(|spec| spec.holder_identity.is_some())
        };
        let held = await_condition(leases, "gastown-operator", is_held);
        tokio::time::timeout(PATIENCE, held).await.unwrap().unwrap();
        self.proxy.watched().await;
    }
}

pub fn attempt_of(pod: &Pod) -> i32 {
    pod.labels()[labels::ATTEMPT].parse().unwrap()
}

async fn note_pods(api: Api<Pod>, pods: Arc<Mutex<BTreeMap<String, i32>>>) {
    let watch = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let noted = watch.try_for_each(|pod| {
        // Somebody may take its labels off.
        if pod.labels().contains_key(labels::ATTEMPT) {
            pods.lock().unwrap().insert(pod.uid().unwrap(), attempt_of(&pod));
        }
        std::future::ready(Ok(()))
    });
    noted.await.unwrap();
}

async fn define(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for yaml in chart::definitions().unwrap() {
        let definition: CustomResourceDefinition = serde_yaml_ng::from_str(&yaml).unwrap();
        let name = definition.name_any();
        let apply = PatchParams::apply("gastown-tests").force();
        definitions
            .patch(&name, &apply, &Patch::Apply(&definition))
            .await
            .unwrap();
        await_condition(definitions.clone(), &name, conditions::is_crd_established())
            .await
            .unwrap();
    }
}
