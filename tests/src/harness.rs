//! A world for one test: a namespace that enforces Pod Security `restricted`, a git host with a small project, a
//! scripted model, and polecats. When the test fails it tells what it looked like, and then it is gone.
//!
//! Everything here panics when it cannot go on, as a test does, with what it saw.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "this is the ground that tests stand on: what cannot go on fails the test and says why"
)]

pub mod audit;
mod dump;
mod keys;
pub mod node;
pub mod operator;
mod own_image;
mod polecats;
mod remote;
pub mod shell;
mod stand_in;
mod testbed;

use std::any::Any;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::RwLock;

pub use keys::Keys;
pub use own_image::own_image;
pub use polecats::{PATIENCE, condition, polecat, reason};
pub use remote::{Entry, Remote};
pub use shell::Shell;
pub use stand_in::stand_in;

use crate::client;

/// The name under which the harness applies objects.
pub const MANAGER: &str = "gastown-tests";

/// Namespaces of tests carry this label, so that a test that needs quiet can wait until they are gone.
pub const LABEL: &str = "gastown-tests";

/// Most tests live beside others; those that disturb the operator, the API server or the node run alone.
static ALONE: RwLock<()> = RwLock::const_new(());

/// A world.
pub struct World {
    /// A client with every right.
    pub client: Client,
    /// The namespace of everything in it.
    pub namespace: String,
    /// The keys of its git hosts and its model.
    pub keys: Keys,
}

/// How a world differs from the usual one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// Pod Security `restricted`, and nothing else.
    #[default]
    Restricted,
    /// As on OpenShift, also: pods that set no UID are given one of the namespace's range.
    InjectedUid,
}

/// Runs `test` in a world of its own.
pub async fn with_world(name: &str, test: impl AsyncFnOnce(&World)) {
    with_world_of(name, Admission::Restricted, test).await;
}

/// Runs `test` in a world of its own with that admission.
pub async fn with_world_of(name: &str, admission: Admission, test: impl AsyncFnOnce(&World)) {
    let _beside_others = ALONE.read().await;
    in_world(name, admission, test).await;
}

/// Runs `test` in a world of its own while no other test of this program runs: for tests that disturb the operator, the
/// API server or the node. The worlds of tests that have ended may still be going.
pub async fn with_world_alone(name: &str, test: impl AsyncFnOnce(&World)) {
    let _alone = ALONE.write().await;
    in_world(name, Admission::Restricted, test).await;
}

/// Like [`with_world_alone`], but waits first until the worlds of all other tests are gone: for tests that count what
/// there is on the whole node or cluster, or take the operator away.
pub async fn with_quiet_world(name: &str, test: impl AsyncFnOnce(&World)) {
    let _alone = ALONE.write().await;
    let begun = Instant::now();
    let client = client::from_kubeconfig()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    others_are_gone(&client).await;
    eprintln!(
        "waited {:.1} s for the worlds of other tests",
        begun.elapsed().as_secs_f64()
    );
    in_world(name, Admission::Restricted, test).await;
}

async fn in_world(name: &str, admission: Admission, test: impl AsyncFnOnce(&World)) {
    let begun = Instant::now();
    let world = World::make(name, admission).await;
    let outcome = AssertUnwindSafe(test(&world)).catch_unwind().await;
    note_time(begun.elapsed());
    if let Err(panic) = outcome {
        eprintln!("{}", dump::of(&world).await);
        // What is long is cut in the middle by who shows it: why it failed stands at both ends.
        eprintln!("---- {:?} failed: {}", world.namespace, words_of(panic.as_ref()));
        world.end().await;
        resume_unwind(panic);
    }
    world.end().await;
}

/// Tells `cargo xtask test` how long this test took, without what it waited for others.
fn note_time(took: Duration) {
    let Some(file) = std::env::var_os("GASTOWN_TEST_TIMES") else {
        return;
    };
    // Cargo's harness names the thread of a test by it.
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unknown");
    let file = std::fs::OpenOptions::new().append(true).open(file);
    let written = file.and_then(|mut file| writeln!(file, "{:.1} {name}", took.as_secs_f64()));
    written.unwrap_or_else(|error| panic!("failed to write the time of {name}: {error}"));
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
}

impl World {
    async fn make(name: &str, admission: Admission) -> Self {
        let client = client::from_kubeconfig()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let namespace = format!("e2e-{name}-{:06x}", random() & 0xff_ffff);
        let mut labels = BTreeMap::from([
            (
                "pod-security.kubernetes.io/enforce".to_owned(),
                "restricted".to_owned(),
            ),
            (LABEL.to_owned(), "world".to_owned()),
        ]);
        if admission == Admission::InjectedUid {
            operator::inject_uids(&client).await;
            labels.insert(operator::INJECT_LABEL.to_owned(), "true".to_owned());
        }
        let mut object = Namespace::default();
        object.metadata.name = Some(namespace.clone());
        object.metadata.labels = Some(labels);
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .unwrap_or_else(|error| panic!("failed to create namespace {namespace:?}: {error}"));
        let world = Self {
            client,
            keys: Keys::make(&namespace).await,
            namespace,
        };
        // Without it no pod is admitted that a test makes itself.
        let is_there = |account: Option<&ServiceAccount>| account.is_some();
        world
            .until("default", PATIENCE, "the namespace has its account", is_there)
            .await;
        world
    }

    /// The objects of one kind in this world.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        <K as Resource>::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object written as JSON.
    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Serialize
            + DeserializeOwned
            + std::fmt::Debug,
        <K as Resource>::DynamicType: Default,
    {
        let parsed: K =
            serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error} in {object}"));
        self.api::<K>()
            .create(&PostParams::default(), &parsed)
            .await
            .unwrap_or_else(|error| panic!("failed to create {object}: {error}"))
    }

    /// Merges `patch` into an object.
    pub async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        <K as Resource>::DynamicType: Default,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap_or_else(|error| panic!("failed to patch {name:?} with {patch}: {error}"))
    }

    /// Creates a secret of texts, or replaces it: keys that are not given go.
    pub async fn secret(&self, name: &str, texts: &[(&str, &str)]) {
        let bytes = |text: &&str| ByteString(text.as_bytes().to_vec());
        let data: BTreeMap<_, _> = texts.iter().map(|(key, text)| (*key, bytes(text))).collect();
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
        self.api::<Secret>()
            .patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object))
            .await
            .unwrap_or_else(|error| panic!("failed to apply secret {name:?}: {error}"));
    }

    async fn end(self) {
        if std::env::var_os("GASTOWN_KEEP_WORLDS").is_some() {
            eprintln!("kept: kubectl --namespace {} get polecats,pods", self.namespace);
            return;
        }
        let namespaces = Api::<Namespace>::all(self.client.clone());
        if let Err(error) = namespaces.delete(&self.namespace, &DeleteParams::default()).await {
            eprintln!("failed to delete namespace {:?}: {error}", self.namespace);
        }
    }
}

/// Waits until no namespace of a test is left; they go by themselves once their polecats have ended.
async fn others_are_gone(client: &Client) {
    let namespaces = Api::<Namespace>::all(client.clone());
    let ours = kube::api::ListParams::default().labels(LABEL);
    within(
        Duration::from_mins(5),
        "the worlds of other tests are gone",
        async || {
            let left = namespaces
                .list(&ours)
                .await
                .unwrap_or_else(|error| panic!("{error}"));
            let names: Vec<_> = left.into_iter().filter_map(|n| n.metadata.name).collect();
            if names.is_empty() {
                Ok(())
            } else {
                Err(format!("left: {names:?}"))
            }
        },
    )
    .await;
}

/// Tries until `attempt` succeeds, at most for `limit`; for what no watch tells.
pub async fn within<T>(limit: Duration, what: &str, attempt: impl AsyncFn() -> Result<T, String>) -> T {
    let end = tokio::time::Instant::now() + limit;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(why) if tokio::time::Instant::now() > end => {
                panic!("not within {} s: {what}; {why}", limit.as_secs())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// A number nobody guesses; the operating system seeds each hasher.
fn random() -> u64 {
    RandomState::new().hash_one(())
}
