//! The one connection out: the model endpoint of the work order, with the key that only this container has.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use gastown_api::work_order::ModelOrder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;

use super::endpoint::Endpoint;
use crate::broker::outward::Outward;
use crate::broker::tls;

/// Why the endpoint cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenUpstream {
    /// The work order's endpoint is no base URL.
    #[error("failed to read model endpoint {endpoint:?}; write https://HOST[:PORT][/PATH]")]
    ReadEndpoint {
        /// What the work order says.
        endpoint: String,
    },
    /// The trusted certificates cannot be used.
    #[error("failed to prepare TLS for the model endpoint")]
    PrepareTls(#[from] tls::OpenClient),
}

/// The endpoint and how to reach it.
pub(super) struct Upstream {
    client: tls::Outbound<Full<Bytes>>,
    endpoint: String,
    key_file: PathBuf,
}

/// The API key; its text is only for the header.
pub(super) struct Key(String);

impl Upstream {
    pub(super) fn open(
        order: &ModelOrder,
        secret_dir: &Path,
        system_roots: &Path,
    ) -> Result<Self, OpenUpstream> {
        let endpoint = order.endpoint.trim_end_matches('/').to_owned();
        let uri: Uri = endpoint.parse().map_err(|_| OpenUpstream::ReadEndpoint {
            endpoint: endpoint.clone(),
        })?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
            return Err(OpenUpstream::ReadEndpoint { endpoint });
        }
        let system = std::fs::read(system_roots).unwrap_or_default();
        let extra = std::fs::read(secret_dir.join("ca.crt")).ok();
        let outward = Outward::new(None, None).map_err(tls::OpenClient::from)?;
        Ok(Self {
            client: tls::client(tls::roots(&system, extra.as_deref())?, outward)?,
            endpoint,
            key_file: secret_dir.join(&order.secret_key),
        })
    }

    /// The key, read anew: the kubelet brings a changed secret into the file.
    pub(super) fn key(&self) -> Option<Key> {
        let key = std::fs::read_to_string(&self.key_file).ok()?;
        let key = key.trim();
        (!key.is_empty()).then(|| Key(key.to_owned()))
    }

    /// Sends one call. An error says whom it failed with and not what was sent.
    pub(super) async fn send(&self, call: Outgoing<'_>) -> Result<Response<Incoming>, String> {
        let request = self.request(call)?;
        self.client.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("the model endpoint cannot be reached: {error}: {cause}")
        })
    }

    fn request(&self, call: Outgoing<'_>) -> Result<Request<Full<Bytes>>, String> {
        let mut key = HeaderValue::try_from(&call.key.0)
            .map_err(|_| "the API key has characters that no header may have".to_owned())?;
        key.set_sensitive(true);
        let uri = format!("{}{}", self.endpoint, call.endpoint.path(call.beta));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .body(Full::new(call.body))
            .map_err(|error| error.to_string())?;
        *request.headers_mut() = call.headers;
        request
            .headers_mut()
            .insert(HeaderName::from_static("x-api-key"), key);
        Ok(request)
    }
}

/// A call as it goes out.
pub(super) struct Outgoing<'a> {
    /// Which.
    pub endpoint: Endpoint,
    /// Whether the query `beta=true` was there.
    pub beta: bool,
    /// Headers that may pass.
    pub headers: HeaderMap,
    /// The checked body.
    pub body: Bytes,
    /// The key.
    pub key: &'a Key,
}

impl Key {
    /// For making sure that it is not in a text.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}
