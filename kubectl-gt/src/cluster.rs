//! The API server: every request of the plugin goes through here, and every failure gets its remedy here.

mod call;
mod list;
mod resource;
mod suggest;

use std::time::Duration;

use http::{Request, request};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use serde_json::Value;

pub use self::call::{Call, words};
pub use self::list::Selection;
pub use self::resource::Resource;

/// The field manager of the plugin's writes.
pub const FIELD_MANAGER: &str = "kubectl-gt";

/// Whether a write is a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    /// The write is stored.
    No,
    /// The API server only checks it.
    Server,
}

/// A cluster and the current namespace.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
    address: String,
    timeout: Option<Duration>,
    /// ` -n NAMESPACE`, where the user gave one.
    flag: String,
}

impl Cluster {
    /// A cluster behind `client`; `flag` is ` -n NAMESPACE`, where the user gave one.
    pub fn new(
        client: Client,
        namespace: String,
        address: String,
        timeout: Option<Duration>,
        flag: String,
    ) -> Self {
        let timeout = timeout.filter(|timeout| !timeout.is_zero());
        Self {
            client,
            namespace,
            address,
            timeout,
            flag,
        }
    }

    /// `words` of a command as they must be typed to mean this namespace again.
    pub fn typed(&self, words: &str) -> String {
        format!("{words}{}", self.flag)
    }

    /// The current namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same cluster with another namespace.
    pub fn within_namespace(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    /// The address of the API server.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// kube's client, for watches and logs.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The object of that name.
    pub async fn get(&self, resource: Resource, name: &str) -> Result<Value, Call> {
        let request = Request::get(self.path_of("get", resource, name)?);
        self.send("get", resource, name, request, Vec::new()).await
    }

    /// The object of that name; `None` if it does not exist.
    pub async fn find(&self, resource: Resource, name: &str) -> Result<Option<Value>, Call> {
        match self.get(resource, name).await {
            Ok(object) => Ok(Some(object)),
            Err(Call::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object. Unknown fields are refused, not dropped: a field that the cluster does not know would
    /// otherwise be lost in silence.
    pub async fn create(&self, resource: Resource, object: &Value, dry_run: DryRun) -> Result<Value, Call> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let url = format!(
            "{}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict{}",
            resource.path(&self.namespace, None),
            dry_run.query()
        );
        let request = Request::post(url).header("content-type", "application/json");
        self.send("create", resource, name, request, body(object)).await
    }

    /// Changes fields of an object.
    pub async fn merge(
        &self,
        resource: Resource,
        name: &str,
        patch: &Value,
        dry_run: DryRun,
    ) -> Result<Value, Call> {
        let url = format!(
            "{}?fieldManager={FIELD_MANAGER}{}",
            self.path_of("change", resource, name)?,
            dry_run.query()
        );
        let request = Request::patch(url).header("content-type", "application/merge-patch+json");
        self.send("change", resource, name, request, body(patch)).await
    }

    /// Applies an object server-side; `force` takes fields over from other field managers.
    pub async fn apply(
        &self,
        resource: Resource,
        name: &str,
        object: &Value,
        force: bool,
        dry_run: DryRun,
    ) -> Result<Value, Call> {
        let url = format!(
            "{}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict&force={force}{}",
            self.path_of("apply", resource, name)?,
            dry_run.query()
        );
        let request = Request::patch(url).header("content-type", "application/apply-patch+yaml");
        self.send("apply", resource, name, request, body(object)).await
    }

    /// Deletes an object.
    pub async fn delete(&self, resource: Resource, name: &str) -> Result<Value, Call> {
        let request = Request::delete(self.path_of("delete", resource, name)?);
        self.send("delete", resource, name, request, Vec::new()).await
    }

    /// The API server's answer at `path`; `what` names it in errors.
    pub async fn read(&self, path: &str, what: &'static str) -> Result<Value, Call> {
        let resource = Resource::named(what);
        self.send("read", resource, "", Request::get(path), Vec::new())
            .await
    }

    /// Posts a review to `path` and takes the answer.
    pub async fn review(&self, path: &str, what: &'static str, object: &Value) -> Result<Value, Call> {
        let request = Request::post(path).header("content-type", "application/json");
        self.send("ask for", Resource::named(what), "", request, body(object))
            .await
    }

    /// The log of a container as it grows.
    pub async fn log(
        &self,
        pod: &str,
        parameters: &LogParams,
    ) -> Result<impl futures::AsyncBufRead + use<>, Call> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let answer = self.within(api.log_stream(pod, parameters)).await;
        let refused = |error| Call::from_kube("read the log of", Resource::PODS, pod, self, error);
        match answer {
            Some(answer) => answer.map_err(refused),
            None => Err(self.too_slow("read the log of", &format!("pod {pod:?}"))),
        }
    }

    /// The path of the object of that name. An empty name is an error, because the path without a name addresses all
    /// objects: `delete "$UNSET"` would delete every one.
    fn path_of(&self, act: &'static str, resource: Resource, name: &str) -> Result<String, Call> {
        if name.is_empty() {
            let kind = resource.singular;
            return Err(Call::NoName { act, kind });
        }
        Ok(resource.path(&self.namespace, Some(name)))
    }

    async fn send(
        &self,
        act: &'static str,
        resource: Resource,
        name: &str,
        request: request::Builder,
        body: Vec<u8>,
    ) -> Result<Value, Call> {
        let object = resource.describe(name);
        let request = request.body(body).map_err(|source| Call::Build {
            act,
            object: object.clone(),
            source,
        })?;
        match self.within(self.client.request::<Value>(request)).await {
            Some(answer) => answer.map_err(|error| Call::from_kube(act, resource, name, self, error)),
            None => Err(self.too_slow(act, &object)),
        }
    }

    /// The result of `request`, unless it takes longer than `--request-timeout`.
    async fn within<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        match self.timeout {
            Some(timeout) => tokio::time::timeout(timeout, request).await.ok(),
            None => Some(request.await),
        }
    }

    fn too_slow(&self, act: &'static str, object: &str) -> Call {
        Call::TooSlow {
            act,
            object: object.to_owned(),
            seconds: self.timeout.unwrap_or_default().as_secs_f64(),
        }
    }
}

impl DryRun {
    fn query(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Server => "&dryRun=All",
        }
    }
}

/// A JSON value always serialises.
fn body(object: &Value) -> Vec<u8> {
    object.to_string().into_bytes()
}

#[cfg(test)]
pub mod testing {
    use http::Response;
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// A cluster without a network: `answer` has the code and the object for each request. Its namespace is `town`.
    pub fn answering(answer: impl Fn(&Request<Value>) -> (u16, Value) + Clone + Send + 'static) -> Cluster {
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = answer.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, object) = answer(&Request::from_parts(parts, body));
                let mut response = Response::new(Body::from(object.to_string().into_bytes()));
                *response.status_mut() = code.try_into().unwrap();
                Ok::<_, kube::Error>(response)
            }
        });
        let address = "https://town.example".to_owned();
        let client = Client::new(service, "town");
        Cluster::new(client, "town".to_owned(), address, None, String::new())
    }

    /// What the API server answers instead of the object of that name.
    pub fn refusal(code: u16, reason: &str, name: &str) -> (u16, Value) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": format!("the words of {reason}"), "details": {"name": name},
        });
        (code, status)
    }

    /// A cluster without a server.
    pub fn nowhere() -> Cluster {
        let _already_installed = gastown_crypto::install();
        let address = "http://127.0.0.1:1".to_owned();
        let client = Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap();
        Cluster::new(client, "town".to_owned(), address, None, String::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::exit::Exit;

    #[tokio::test]
    async fn an_object_without_a_name_is_never_taken_for_all_of_them() {
        let cluster = testing::nowhere();
        let (rigs, nothing) = (Resource::RIGS, json!({}));
        for refused in [
            cluster.get(rigs, "").await,
            cluster.merge(rigs, "", &nothing, DryRun::No).await,
            cluster.apply(rigs, "", &nothing, false, DryRun::No).await,
            cluster.delete(rigs, "").await,
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{error}");
            assert!(error.to_string().contains("its name is empty"), "{error}");
        }
    }
}
