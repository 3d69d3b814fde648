//! The API server of the tests, and objects as an operator would have left them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gastown_api::kinds::kinds;
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

const GROUP: &str = "/apis/gastown.gastown.io/v1alpha1";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Rigs and definitions belong to the whole cluster: one scenario at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// An API server with the definitions of this checkout and nothing else of ours.
pub struct World {
    runtime: tokio::runtime::Runtime,
    client: Client,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    /// An empty world with the namespace `town`.
    pub fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _already_installed = gastown_crypto::install();
        let client = runtime.block_on(async {
            let kubeconfig =
                Kubeconfig::read().expect("KUBECONFIG names no API server: run `cargo xtask test plugin`");
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .unwrap();
            Client::try_from(config).unwrap()
        });
        let world = Self {
            runtime,
            client,
            _alone: alone,
        };
        for kind in kinds() {
            world.define(&kind.definition().unwrap());
        }
        let _exists = world.send(
            "POST",
            "/api/v1/namespaces",
            &json!({"metadata": {"name": "town"}}),
        );
        for kind in kinds() {
            for object in world.all(kind.plural) {
                world.remove(&object);
            }
        }
        for secret in ["git-creds", "git-creds-beside", "claude-creds", "other"] {
            let _was_there = world.send(
                "DELETE",
                &format!("/api/v1/namespaces/town/secrets/{secret}"),
                &Value::Null,
            );
        }
        world
    }

    fn all(&self, plural: &str) -> Vec<String> {
        let list = self
            .send("GET", &format!("{GROUP}/{plural}"), &Value::Null)
            .unwrap();
        let path = |object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap();
            match object["metadata"]["namespace"].as_str() {
                Some(namespace) => format!("{GROUP}/namespaces/{namespace}/{plural}/{name}"),
                None => format!("{GROUP}/{plural}/{name}"),
            }
        };
        list["items"].as_array().unwrap().iter().map(path).collect()
    }

    fn remove(&self, path: &str) {
        let _gone = self.send("PATCH", path, &json!({"metadata": {"finalizers": null}}));
        let _gone = self.send("DELETE", path, &Value::Null);
    }

    /// Makes the server serve a definition, and waits until it does.
    pub fn define(&self, definition: &Value) {
        let name = definition["metadata"]["name"].as_str().unwrap();
        let path = format!("{DEFINITIONS}/{name}");
        let apply = format!("{path}?fieldManager=transcripts&force=true");
        let applied = self
            .send_as("PATCH", &apply, "application/apply-patch+yaml", definition)
            .unwrap();
        let plural = definition["spec"]["names"]["plural"].as_str().unwrap();
        let wanted = applied["metadata"]["generation"].clone();
        Self::until(|| {
            let now = self.send("GET", &path, &Value::Null).unwrap();
            let conditions = now["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let established = conditions
                .iter()
                .any(|c| c["type"] == "Established" && c["status"] == "True");
            established
                && now["metadata"]["generation"] == wanted
                && self
                    .send("GET", &format!("{GROUP}/{plural}"), &Value::Null)
                    .is_ok()
        });
    }

    /// Takes the definitions away, with every object.
    pub fn undefine(&self) {
        for name in kinds().iter().map(|kind| kind.plural) {
            let path = format!("{DEFINITIONS}/{name}.gastown.gastown.io");
            self.send("DELETE", &path, &Value::Null).unwrap();
            Self::until(|| {
                self.send("GET", &path, &Value::Null).is_err()
                    && self
                        .send("GET", &format!("{GROUP}/{name}"), &Value::Null)
                        .is_err()
            });
        }
    }

    fn until(mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !holds() {
            assert!(Instant::now() < deadline, "the API server does not come round");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A rig that the operator has looked at.
    pub fn rig(&self, name: &str) {
        self.rig_of(name, "git@git.example.com:org/repo.git");
    }

    /// The same, of that repository.
    pub fn rig_of(&self, name: &str, url: &str) {
        let rig = json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig", "metadata": {"name": name},
            "spec": {"gitURL": url, "beadsPrefix": "mp"},
        });
        self.send("POST", &format!("{GROUP}/rigs"), &rig).unwrap();
        let status = json!({"status": {"phase": "Ready", "polecatCount": 1, "conditions": [
            {"type": "Ready", "status": "True", "reason": "RigReady", "message": "the Rig can be used", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]}});
        self.send("PATCH", &format!("{GROUP}/rigs/{name}/status"), &status)
            .unwrap();
    }

    /// A polecat of the rig in `town`.
    pub fn polecat(&self, rig: &str, name: &str, status: &Value) {
        let polecat = json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat", "metadata": {"name": name, "namespace": "town"},
            "spec": {"rig": rig, "desiredState": "Working", "beadID": "mp-1", "task": {"description": "Do it.\nWell."}},
        });
        self.send("POST", &format!("{GROUP}/namespaces/town/polecats"), &polecat)
            .unwrap();
        if !status.is_null() {
            self.status(name, status);
        }
    }

    /// Gives the polecat these finalizers.
    pub fn hold(&self, name: &str, finalizers: &[&str]) {
        let path = format!("{GROUP}/namespaces/town/polecats/{name}");
        self.send("PATCH", &path, &json!({"metadata": {"finalizers": finalizers}}))
            .unwrap();
    }

    /// What an operator would have written.
    pub fn status(&self, name: &str, status: &Value) {
        let path = format!("{GROUP}/namespaces/town/polecats/{name}/status");
        self.send("PATCH", &path, &json!({"status": status})).unwrap();
    }

    /// The polecat, if it exists.
    pub fn find(&self, name: &str) -> Option<Value> {
        self.send(
            "GET",
            &format!("{GROUP}/namespaces/town/polecats/{name}"),
            &Value::Null,
        )
        .ok()
    }

    /// A secret of `town`.
    pub fn secret(&self, name: &str) -> Value {
        self.find_secret(name).unwrap()
    }

    /// The secret, if it exists.
    pub fn find_secret(&self, name: &str) -> Option<Value> {
        let path = format!("/api/v1/namespaces/town/secrets/{name}");
        self.send("GET", &path, &Value::Null).ok()
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let content = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        self.send_as(method, path, content, body)
    }

    fn send_as(&self, method: &str, path: &str, content: &str, body: &Value) -> Result<Value, String> {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).unwrap()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content);
        let answer = self
            .runtime
            .block_on(self.client.request(request.body(bytes).unwrap()));
        answer.map_err(|error: kube::Error| error.to_string())
    }
}

/// The status of a polecat of that phase.
pub fn phase(phase: &str, reason: &str, message: &str) -> Value {
    json!({
        "phase": phase, "observedGeneration": 1, "branch": "polecat/furiosa/mp-1@mh3k",
        "head": "0123456789abcdef0123456789abcdef01234567", "podName": "polecat-furiosa", "cost": "$0.1234", "costMicros": 123_400,
        "agent": "claude-code", "agentModel": "claude-x", "usage": {"inputTokens": 12_000, "outputTokens": 399, "cacheWriteTokens": 0, "cacheReadTokens": 0, "requests": 7},
        "lastActivity": "2026-01-01T00:00:00Z",
        "attempts": [
            {"number": 1, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:10:00Z", "outcome": "Failed", "reason": "OutOfMemory", "message": "the container claude used more than 4Gi"},
        ],
        "conditions": [
            {"type": "Ready", "status": if phase == "Done" { "True" } else { "False" }, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ],
    })
}
