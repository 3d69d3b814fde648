//! Asks the API server, with field validation as strict as it can be.

use gastown_api::kinds::Kind;
use gastown_tests::{chart, client};
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const GROUP: &str = "/apis/gastown.gastown.io/v1alpha1";

/// An API server that serves the definitions of this checkout.
pub struct Server {
    client: Client,
}

/// Someone else than the administrator.
pub struct Person<'a> {
    pub user: &'a str,
    pub groups: &'a [&'a str],
}

/// What the API server said.
pub type Answer = Result<Value, String>;

/// Whether an accepted object stays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It does.
    Yes,
    /// It is only checked.
    No,
}

impl Server {
    /// Connects, and makes the server serve the definitions of this checkout.
    pub async fn connect() -> Self {
        let server = Self {
            client: client::from_kubeconfig()
                .await
                .unwrap_or_else(|error| panic!("{error}")),
        };
        for yaml in chart::definitions().unwrap() {
            server.define(&parse(&yaml)).await;
        }
        server
    }

    async fn define(&self, definition: &Value) {
        let name = definition["metadata"]["name"].as_str().unwrap();
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        let apply = format!("{path}?fieldManager=admission-tests&force=true&fieldValidation=Strict");
        self.send("PATCH", &apply, "application/apply-patch+yaml", definition)
            .await
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let now = self
                .send("GET", &path, "application/json", &Value::Null)
                .await
                .unwrap();
            let conditions = now["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let holds = |wanted: &str| {
                conditions
                    .iter()
                    .any(|c| c["type"] == wanted && c["status"] == "True")
            };
            if holds("Established") && !holds("NonStructuralSchema") {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{name} is not established: {conditions:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value, keep: Keep) -> Answer {
        let dry_run = if keep == Keep::No { "&dryRun=All" } else { "" };
        let path = format!("{}?fieldValidation=Strict{dry_run}", collection(object));
        self.send("POST", &path, "application/json", object).await
    }

    /// Creates an object at `collection` unless it is there from an earlier run.
    pub async fn ensure(&self, collection: &str, object: &Value) {
        if let Err(message) = self.send("POST", collection, "application/json", object).await {
            assert!(message.contains("already exists"), "{message}");
        }
    }

    /// Asks whether an object at `collection` would be created.
    pub async fn would_create(&self, collection: &str, object: &Value) -> Answer {
        let path = format!("{collection}?fieldValidation=Strict&dryRun=All");
        self.send("POST", &path, "application/json", object).await
    }

    /// Replaces an object; `object` carries the resource version.
    pub async fn replace(&self, object: &Value, subresource: &str) -> Answer {
        let path = format!("{}{subresource}?fieldValidation=Strict", item(object));
        self.send("PUT", &path, "application/json", object).await
    }

    /// Applies `object` on the server's side as `manager`.
    pub async fn apply(&self, object: &Value, subresource: &str, manager: &str) -> Answer {
        let path = format!(
            "{}{subresource}?fieldValidation=Strict&force=true&fieldManager={manager}",
            item(object)
        );
        self.send("PATCH", &path, "application/apply-patch+yaml", object)
            .await
    }

    /// Deletes an object that a test kept, or an earlier run left; that there is none is no error.
    pub async fn forget(&self, object: &Value) {
        let strip = json!({"metadata": {"finalizers": null}});
        let _ = self
            .send("PATCH", &item(object), "application/merge-patch+json", &strip)
            .await;
        let _ = self
            .send("DELETE", &item(object), "application/json", &json!({}))
            .await;
    }

    /// Creates or replaces whatever stands at `path`.
    pub async fn put(&self, path: &str, object: &Value) -> Answer {
        let path = format!("{path}?force=true&fieldManager=admission-tests&fieldValidation=Strict");
        self.send("PATCH", &path, "application/apply-patch+yaml", object)
            .await
    }

    /// Sends a strategic merge patch in someone else's name.
    pub async fn patch_as(&self, person: &Person<'_>, url: &str, patch: &Value) -> Answer {
        let kind = "application/strategic-merge-patch+json";
        self.send_as(Some(person), "PATCH", url, kind, patch).await
    }

    /// Reads in someone else's name.
    pub async fn get_as(&self, person: &Person<'_>, path: &str) -> Answer {
        self.send_as(Some(person), "GET", path, "application/json", &Value::Null)
            .await
    }

    async fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Answer {
        self.send_as(None, method, path, content_type, body).await
    }

    async fn send_as(
        &self,
        person: Option<&Person<'_>>,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Answer {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).unwrap()
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type);
        if let Some(person) = person {
            request = request.header("impersonate-user", person.user);
            for group in person.groups {
                request = request.header("impersonate-group", *group);
            }
        }
        let request = request.body(bytes).unwrap();
        self.client.request(request).await.map_err(|error| match error {
            kube::Error::Api(status) => status.message,
            other => panic!("{method} {path}: {other}"),
        })
    }
}

/// One YAML document as JSON.
pub fn parse(yaml: &str) -> Value {
    serde_yaml_ng::from_str(yaml).unwrap()
}

fn collection(object: &Value) -> String {
    let name = object["kind"].as_str().unwrap();
    let kind = Kind::named(name).unwrap_or_else(|| panic!("there is no kind {name:?}"));
    if kind.is_namespaced {
        format!("{GROUP}/namespaces/{}/{}", namespace(object), kind.plural)
    } else {
        format!("{GROUP}/{}", kind.plural)
    }
}

fn item(object: &Value) -> String {
    format!(
        "{}/{}",
        collection(object),
        object["metadata"]["name"].as_str().unwrap()
    )
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or("default")
}
