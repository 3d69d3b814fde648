//! The git host and the model of a world: `tests/testbed/testbed.yaml`, with the image and the keys put in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{PATIENCE, Remote, World, node, polecats, within};

/// The names of the objects that hold polecats' credentials; see [`World::credentials`].
const GIT_SECRET: &str = "git-ssh-key";
const HTTPS_SECRET: &str = "git-token";
const MODEL_SECRET: &str = "claude-creds";

impl World {
    /// Starts the git host and the model, without hooks.
    pub async fn testbed(&self) -> Remote {
        self.testbed_with_hook(None).await
    }

    /// Starts the git host and the model; `pre_receive` is a script that git runs before it takes a push.
    pub async fn testbed_with_hook(&self, pre_receive: Option<&str>) -> Remote {
        let hooks: Vec<_> = pre_receive
            .map(|script| ("pre-receive", script))
            .into_iter()
            .collect();
        self.testbed_with_hooks(&hooks).await
    }

    /// Starts the git host, with hooks by name, and the model.
    pub async fn testbed_with_hooks(&self, hooks: &[(&str, &str)]) -> Remote {
        let keys = &self.keys;
        let htpasswd = format!("git:{}\n", keys.token);
        self.secret(
            "testbed-keys",
            &[
                ("ssh_host_ed25519_key", &keys.ssh_host),
                ("authorized_keys", &keys.ssh_public),
                ("tls.crt", &keys.certificate),
                ("tls.key", &keys.certificate_key),
                ("htpasswd", &htpasswd),
                ("model-key", &keys.model),
            ],
        )
        .await;
        self.config_map("testbed-project", files("project")).await;
        self.config_map("testbed-scripts", files("scripts")).await;
        if !hooks.is_empty() {
            let owned = |(name, script): &(&str, &str)| ((*name).to_owned(), (*script).to_owned());
            let hooks = hooks.iter().map(owned).collect();
            self.config_map("testbed-hooks", hooks).await;
        }
        self.apply_manifest().await;
        let ready = |pod: Option<&Pod>| pod.is_some_and(|pod| polecats::pod_condition(pod, "Ready"));
        self.until("testbed", PATIENCE, "the testbed is ready", ready)
            .await;
        self.service_leads_to_testbed().await;
        Remote::open(self).await
    }

    /// Waits until the node sends what goes to the Service to the pod, which a busy node learns seconds after the API
    /// server. Until then packets to the Service leave the cluster, and where a network answers for every address, a
    /// stranger's certificate comes back.
    async fn service_leads_to_testbed(&self) {
        let service = self.api::<Service>().get("testbed").await;
        let service = service.unwrap_or_else(|error| panic!("failed to get the Service testbed: {error}"));
        let address = service.spec.and_then(|spec| spec.cluster_ip).unwrap();
        let ask = format!("curl --silent --max-time 2 http://{address}:8080/requests || true");
        within(PATIENCE, "the Service leads to the testbed", async || {
            let answer = node::run(&ask).await;
            let requests: Result<Vec<Value>, _> = serde_json::from_str(&answer);
            requests.map(drop).map_err(|error| format!("{error}: {answer:?}"))
        })
        .await;
    }

    /// Makes the three secrets with which a polecat reaches the testbed: `git-ssh-key`, `git-token`, `claude-creds`.
    pub async fn credentials(&self) {
        let keys = &self.keys;
        self.secret(
            GIT_SECRET,
            &[("ssh-privatekey", &keys.ssh), ("known_hosts", &keys.known_hosts)],
        )
        .await;
        self.secret(
            HTTPS_SECRET,
            &[
                ("username", "git"),
                ("password", &keys.token),
                ("ca.crt", &keys.authority),
                ("hosts", "testbed\n"),
            ],
        )
        .await;
        self.secret(MODEL_SECRET, &[("ANTHROPIC_API_KEY", &keys.model)])
            .await;
    }

    async fn apply_manifest(&self) {
        let image = std::env::var("GASTOWN_TESTBED_IMAGE").unwrap_or_else(|_| {
            panic!("GASTOWN_TESTBED_IMAGE is not set: run `cargo xtask test e2e`, which builds and loads the image")
        });
        let manifest = include_str!("../../testbed/testbed.yaml").replace("TESTBED_IMAGE", &image);
        for document in serde_yaml_ng::Deserializer::from_str(&manifest) {
            let object = Value::deserialize(document).unwrap();
            match object["kind"].as_str() {
                Some("ConfigMap") => drop(self.create::<ConfigMap>(object).await),
                Some("Service") => drop(self.create::<Service>(object).await),
                Some("Pod") => drop(self.create::<Pod>(object).await),
                kind => panic!("testbed.yaml has a {kind:?}, which the harness does not know"),
            }
        }
    }

    async fn config_map(&self, name: &str, data: BTreeMap<String, String>) {
        let object = json!({"metadata": {"name": name}, "data": data});
        self.create::<ConfigMap>(object).await;
    }
}

/// The texts in a folder of `tests/`.
fn files(folder: &str) -> BTreeMap<String, String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), text)
        })
        .collect()
}
