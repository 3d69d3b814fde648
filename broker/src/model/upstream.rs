//! The one connection out: the model endpoint of the work order, with the key that only this container has.

use std::path::Path;

use bytes::Bytes;
use gastown_api::text::chain;
use gastown_api::work_order::{ModelApi, ModelOrder, ProxyOrder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;

use super::credential::{Credential, Paths};
use super::endpoint::Endpoint;
use super::headers;
use crate::egress::Egress;
use crate::tls;

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
}

/// Why a call was not answered.
#[derive(Debug)]
pub(super) struct Unreached {
    /// Whether nothing can have been asked: no connection came about.
    pub unconnected: bool,
    /// Whom it failed with, and not what was sent.
    pub message: String,
}

impl Upstream {
    pub(super) fn open(
        order: &ModelOrder,
        paths: &Paths,
        proxy: Option<&ProxyOrder>,
        system_roots: &Path,
    ) -> Result<Self, OpenUpstream> {
        let endpoint = base(&order.endpoint).to_owned();
        let uri: Uri = endpoint.parse().map_err(|_| OpenUpstream::ReadEndpoint {
            endpoint: endpoint.clone(),
        })?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
            return Err(OpenUpstream::ReadEndpoint { endpoint });
        }
        let system = std::fs::read(system_roots).unwrap_or_default();
        let extra = std::fs::read(paths.secret.join("ca.crt")).ok();
        let shown = std::fs::read_to_string(paths.secret.join("proxy")).ok();
        let shown = shown.as_deref().map(str::trim).filter(|shown| !shown.is_empty());
        let egress = Egress::new(proxy, shown).map_err(tls::OpenClient::from)?;
        Ok(Self {
            client: tls::client(tls::roots(&system, extra.as_deref())?, egress)?,
            endpoint,
        })
    }

    /// Sends one call.
    pub(super) async fn send(&self, call: Outgoing<'_>) -> Result<Response<Incoming>, Unreached> {
        let request = self.request(call).map_err(|message| Unreached {
            unconnected: false,
            message,
        })?;
        self.client.request(request).await.map_err(|error| Unreached {
            unconnected: error.is_connect(),
            message: format!(
                "the model endpoint {} cannot be reached: {}",
                self.endpoint,
                chain(&error)
            ),
        })
    }

    fn request(&self, call: Outgoing<'_>) -> Result<Request<Full<Bytes>>, String> {
        let uri = format!("{}{}", self.endpoint, call.endpoint.path(call.beta));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .body(Full::new(call.body))
            .map_err(|error| error.to_string())?;
        *request.headers_mut() = call.headers;
        authorise(request.headers_mut(), call.credential, call.endpoint.api())?;
        Ok(request)
    }
}

/// Without a trailing slash or version: the version is a part of each call's path.
fn base(endpoint: &str) -> &str {
    let endpoint = endpoint.trim_end_matches('/');
    endpoint.strip_suffix("/v1").unwrap_or(endpoint)
}

/// An API key goes where its API looks for one; a subscription's token is a bearer token and wants a beta named.
fn authorise(headers: &mut HeaderMap, credential: &Credential, api: ModelApi) -> Result<(), String> {
    let (name, value) = match (credential, api) {
        (Credential::None, _) => return Ok(()),
        (Credential::ApiKey(key), ModelApi::Messages) => (HeaderName::from_static("x-api-key"), key.clone()),
        (Credential::ApiKey(token), ModelApi::Responses) => {
            (header::AUTHORIZATION, format!("Bearer {token}"))
        }
        (Credential::Oauth(token), _) => {
            headers::add_beta(headers, headers::OAUTH_BETA);
            (header::AUTHORIZATION, format!("Bearer {token}"))
        }
    };
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| "the credential has characters that no header may have".to_owned())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
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
    /// What it is authorised with.
    pub credential: &'a Credential,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorised(credential: &Credential, api: ModelApi) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-beta", HeaderValue::from_static("effort-2025-11-24"));
        authorise(&mut headers, credential, api).unwrap();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    #[test]
    fn each_api_gets_its_credential_where_it_looks_for_it() {
        let beta = |betas: &str| ("anthropic-beta".to_owned(), betas.to_owned());
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let key = Credential::ApiKey("k".to_owned());
        let token = Credential::Oauth("t".to_owned());
        let unchanged = beta("effort-2025-11-24");
        let expected = [unchanged.clone(), header("x-api-key", "k")];
        assert_eq!(authorised(&key, ModelApi::Messages), expected);
        let expected = [unchanged.clone(), header("authorization", "Bearer k")];
        assert_eq!(authorised(&key, ModelApi::Responses), expected);
        let expected = [
            beta("effort-2025-11-24,oauth-2025-04-20"),
            header("authorization", "Bearer t"),
        ];
        assert_eq!(authorised(&token, ModelApi::Messages), expected);
        assert_eq!(authorised(&Credential::None, ModelApi::Messages), [unchanged]);
        let odd = Credential::ApiKey("k\n".to_owned());
        assert!(authorise(&mut HeaderMap::new(), &odd, ModelApi::Messages).is_err());
    }

    #[test]
    fn a_version_in_the_endpoint_is_not_written_twice() {
        assert_eq!(base("https://llm.example/v1/"), "https://llm.example");
        assert_eq!(base("https://llm.example/team"), "https://llm.example/team");
    }
}
